"""Shards that others wrote: what is found by reading the tar files' headers and labels."""

import json
import logging
import math
import os
import re
import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer import progress
from fer.data.pixels import EXTENSIONS
from fer.data.samples import readable
from fer.data.split_folders import SPLIT_NAMES, split_folders
from fer.datasets.folder import classes_of
from fer.datasets.shards_packed import Placed, check_unique
from fer.errors import DatasetError, DatasetNotFoundError, listing
from fer.files.shards import FILE, Sample

log = logging.getLogger(__name__)

_LABELS = ("json", "cls", "txt")  # endings of members that may hold a label, the first that does wins
_KEYS = ("label", "class", "cls")  # of json
_LONGEST = 2**20  # bytes of a label's member

READING = 2
"""Raised whenever the same files are read otherwise; part of the cache's key."""


def find(root: Path) -> dict[str, str]:
    """Return the tar files of a folder, relative to it, and the split of each.

    Raises:
        DatasetNotFoundError: If there are none.
    """
    folders = split_folders(root)
    found = {path.name: _split_of(path.name) for path in sorted(root.glob("[!.]*.tar"))}
    found |= {f"{f}/{p.name}": split for f, split in folders.items() for p in sorted((root / f).glob("[!.]*.tar"))}
    if not found:
        expected = "shards.json of fer.pack, or shards that others wrote: train-000000.tar and so on, not compressed."
        looked = [root / FILE, root / "train-*.tar"]
        raise DatasetNotFoundError("shards", looked, expected, "python -m fer.pack writes them")
    named = {name: split for name, split in found.items() if split}
    if named and (others := [name for name in found if name not in named]):
        log.warning("%s: shards not named after a split were left out: %s.", root, ", ".join(others))
    return named or dict.fromkeys(found, "train")


def _split_of(name: str) -> str:
    """Return the split that a shard's name begins with, or else the only one among its words; empty if none."""
    words = re.findall(r"[^\W\d_]+", name.lower().removesuffix(".tar"))
    first = re.match("[a-z]*", name.lower())[0]  # type: ignore[index]
    named = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return SPLIT_NAMES.get(first) or (named.pop() if len(named) == 1 else "")


def placed(
    root: Path, label_map: Mapping[str, str | None] | None, own_classes: bool, wanted: Sequence[str] | None
) -> list[Placed]:
    """List the samples of all shards, in the shards' order.

    Args:
        root: The folder.
        label_map: What labels mean that are no names of emotions; None for those that are left out.
        own_classes: Keep the others' names, whatever they are.
        wanted: Classes that will be chosen; samples of unknown names are then left out. None for all.

    Raises:
        DatasetError: If a shard is cut off, or samples have no label, no votes for any class or are there twice.
        LabelError: If labels are numbers or unknown, and not in ``label_map``.
    """
    shards = find(root)
    found: list[Placed] = []
    with progress.bar("looking through shards", len(shards), at_least=10) as bar:
        for name, split in shards.items():
            found += [Placed(name, split, sample) for sample in _samples(root / name, split)]
            bar.update()
    if without := [one.path for one in found if not one.sample.label]:
        raise DatasetError(
            f"{root}: {len(without)} of {len(found)} images have no label:\n{listing(without)}\n"
            f"  Each needs a member of the same name that ends in .cls, .txt or .json (with a key 'label')."
        )
    names = sorted({name for one in found for name in (one.sample.label, *(one.sample.target or ()))})
    classes = classes_of(root, names, label_map or {}, own_classes, wanted, "label")
    found = [
        one._replace(sample=replace(one.sample, label=classes[one.sample.label]))
        for one in found
        if one.sample.label in classes
    ]
    check_unique(root, found)
    _tell_of_subjects(root, found)
    return _with_targets(root, found, classes)


def _tell_of_subjects(root: Path, found: Sequence[Placed]) -> None:
    """Warn where it is said of some samples alone who is in them: it is then used of none."""
    unknown = [one.path for one in found if not one.sample.subject]
    if 0 < len(unknown) < len(found):
        log.warning(
            "%s: the shards do not say who is in %d of %d images (such as %s): persons may stand in two splits.",
            root, len(unknown), len(found), readable(unknown[0]),
        )  # fmt: skip


def _with_targets(root: Path, found: Sequence[Placed], classes: Mapping[str, str]) -> list[Placed]:
    """Turn votes into shares of the classes, whose names are read as those of labels are.

    Raises:
        DatasetError: Naming all samples without a vote for any class, or with one below 0, infinite or NaN.
    """
    there = {one.sample.label for one in found}
    done, empty = [], []
    for one in found:
        votes: dict[str, float] = defaultdict(float)
        for name, count in (one.sample.target or {}).items():
            if classes.get(name) in there:
                votes[classes[name]] += count
        total = sum(votes.values())
        if one.sample.target and (total <= 0 or min(votes.values()) < 0):
            empty.append(one.path)
            continue
        shares = {name: count / total for name, count in votes.items()}
        done.append(one._replace(sample=replace(one.sample, target=shares or None)))
    if empty:
        raise DatasetError(
            f"{root}: {len(empty)} of {len(found)} images have a target without a vote for any class, or with one "
            f"that is below 0 or no finite number:\n{listing(empty)}\n"
            '  A json\'s target counts votes by the classes\' names, or gives their shares: {"happy": 7, "sad": 3}.'
        )
    return done


def _samples(path: Path, split: str) -> list[Sample]:
    """Return the samples of a shard, in the order of their images; those without a label have an empty one.

    Raises:
        DatasetError: If it is cut off or damaged, or two images have one key.
    """
    images: dict[str, tarfile.TarInfo] = {}
    dotted: list[str] = []
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                # As in WebDataset: the key ends at the first dot of the name behind the folders.
                parts = re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", member.name.removeprefix("./"))
                if not member.isfile() or parts is None:
                    continue
                key, ending = parts[1], parts[2].lower()
                if f".{ending}" in EXTENSIONS:
                    if key in images:
                        raise DatasetError(f"{path} has two images with the key '{readable(key)}'. Each needs its own.")
                    images[key] = member
                elif os.path.splitext(ending)[1] in EXTENSIONS:
                    dotted.append(member.name)
                elif ending in _LABELS and member.size < _LONGEST and (file := tar.extractfile(member)):
                    texts[key][ending] = file.read().decode(errors="replace")
            end = tar.offset
        with path.open("rb") as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes any end for the end
                raise tarfile.ReadError(f"what follows byte {end:,} is no member, and not the mark of the end")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DatasetError(f"{path} is cut off or damaged ({error}). Copy it anew.") from error
    if dotted:
        log.warning(
            "%s: %d images with a dot within their name (such as %s) are left out: WebDataset takes what follows a "
            "name's first dot for its ending.",
            path, len(dotted), readable(dotted[0]),
        )  # fmt: skip
    return [_sample(key, member, split, texts[key]) for key, member in images.items()]


def _sample(key: str, member: tarfile.TarInfo, split: str, texts: Mapping[str, str]) -> Sample:
    said: dict[str, Any] = {}
    with suppress(ValueError, TypeError):  # no mapping: it says nothing that is known here
        said = dict(json.loads(texts.get("json", "{}")))
    labels = [said.get(name) for name in _KEYS] + [texts.get("cls"), texts.get("txt")]
    label = next((label for label in labels if isinstance(label, str | int) and str(label).strip()), "")
    # Python's json reads NaN and Infinity: refused by _with_targets, with what is below 0.
    votes = {
        name: count if math.isfinite(count) else -1 for name, count in _of(float | int, said.get("target")).items()
    }
    return Sample(
        key=key,
        image=member.name,
        offset=member.offset_data,
        size=member.size,
        label=str(label).strip(),
        id=_name(said.get("id")) or f"{split}/{key}",
        subject=_name(said.get("subject")),
        target=votes or None,
        attributes=_of(str, said.get("attributes")),
    )


def _name(value: object) -> str:
    """Return an id or a subject as text; empty if there is none. The number 0 is a name as others are."""
    return str(value) if value or type(value) in (int, float) else ""


def _of(kind: Any, values: object) -> dict[str, Any]:
    """Return a mapping whose values are all of a kind; an empty one for anything else."""
    good = isinstance(values, Mapping) and all(isinstance(value, kind) for value in values.values())
    return dict(values) if good and isinstance(values, Mapping) else {}
