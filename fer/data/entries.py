"""From a list of image files with labels to samples: shared by all datasets of image files."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fer.data.cache import cached, hash_of_list, is_cached
from fer.data.first_reading import read_images
from fer.data.headers import how_stored
from fer.data.labels import in_order
from fer.data.pixels import read_image
from fer.data.samples import Files, Samples, readable, with_readable_names
from fer.data.source_files import fingerprint
from fer.data.squares import DEFAULT_FIT, Box
from fer.data.tars import Tars, each_at_hand
from fer.errors import DatasetError, listing


class Entry(NamedTuple):
    """One sample of a dataset of image files."""

    path: str
    """Relative to the dataset's root, with ``/``."""
    split: str
    """``train``, ``val`` or ``test``."""
    emotion: str
    """The name of its class: an emotion's canonical one, or the dataset's own."""
    subject: str = ""
    """Who is in the picture; empty for all entries of a dataset where it is not known."""
    box: Box | None = None
    """The face's (left, top, right, bottom) in pixels; None for the whole picture."""
    attributes: Mapping[str, str] = {}
    """Names and values by which scores are sliced."""
    id: str = ""
    """The sample's id where one picture has several; empty for the path."""


def read_entries(
    name: str,
    root: Path,
    entries: Sequence[Entry],
    cache_dir: Path,
    image_size: int | None,
    channels: int | None,
    fit: str = DEFAULT_FIT,
    excluded: Collection[str] = (),
    key: Mapping[str, object] | None = None,
    as_files: bool = False,
    stream: bool = False,
) -> Samples:
    """Decode listed images; after the first time they come from the cache.

    Args:
        name: The dataset's name, as in ``data=<name>``.
        root: The folder that the entries' paths are relative to.
        entries: What is listed.
        cache_dir: Where decoded images are kept.
        image_size: Images are stored at this size if they differ in size or are larger; None for their own.
        channels: 1 for grey, 3 for RGB, None for what they are.
        fit: How an oblong image becomes square, one of :data:`fer.data.squares.FITS`.
        excluded: Ids of samples that are left out later: their images may be broken.
        key: What else decides the content; part of the cache's key.
        as_files: List the images' files, and decode none.
        stream: Decode images whenever they are read, and keep none.

    Returns:
        Samples whose classes are the entries' emotions, in the order of :func:`fer.data.labels.in_order`.

    Raises:
        DatasetError: If listed images are absent or cannot be read (all are named), or ``image_size`` is needed.
    """
    classes = in_order(entry.emotion for entry in entries)
    paths = [entry.path for entry in entries]
    ids = [entry.id or entry.path for entry in entries]
    boxes = [entry.box for entry in entries] if any(entry.box for entry in entries) else None

    def build() -> Samples:
        stored = how_stored(root, paths, image_size, channels, boxes, fit)
        images = read_images(root, paths, stored, fit, cache_dir, boxes, unreadable, files, stream, ids)
        return _samples(entries, classes, images)

    if as_files:
        check_present(name, root, paths)
        samples = _samples(entries, classes, np.zeros((len(entries), 0, 0), np.uint8))
        return replace(with_readable_names(samples), files=Files(root, paths, boxes))

    try:
        files = fingerprint(dict.fromkeys(paths), root)  # which looks at each file, once
    except OSError:
        check_present(name, root, paths)
        raise
    # The entries are part of the key: a corrected list or label map must not find the old cache.
    content = hash_of_list(_content(entries))
    parts = {"files": files, "entries": content, "classes": classes, "size": image_size, "channels": channels}
    whole = {**(key or {}), **parts, "fit": fit, **({"stream": True} if stream else {})}
    unreadable = frozenset[str]()
    if excluded and not is_cached(cache_dir, name, whole):
        chosen = set(excluded)
        left_out = {id_: path for id_, path in zip(ids, paths, strict=True) if readable(id_) in chosen}
        broken = unusable(root, dict.fromkeys(left_out.values()))
        unreadable = frozenset(id_ for id_, path in left_out.items() if path in broken)
    # Of a picture with several faces each is left out by itself; caches of before knew the picture alone.
    part = "unreadable ids" if ids != paths else "unreadable"
    return cached(cache_dir, name, {**whole, part: sorted(unreadable)} if unreadable else whole, build)


def _samples(entries: Sequence[Entry], classes: tuple[str, ...], images: npt.NDArray[np.uint8]) -> Samples:
    subjects = np.array([entry.subject for entry in entries])
    label = {emotion: number for number, emotion in enumerate(classes)}
    attributes = sorted({attribute for entry in entries for attribute in entry.attributes})
    return Samples(
        images=images,
        labels=np.array([label[entry.emotion] for entry in entries], dtype=np.int64),
        splits=np.array([entry.split for entry in entries]),
        ids=np.array([entry.id or entry.path for entry in entries]),
        classes=classes,
        subjects=subjects if all(subjects) else None,
        attributes={a: np.array([entry.attributes.get(a, "") for entry in entries]) for a in attributes},
    )


def _content(entries: Iterable[Entry]) -> Iterator[tuple[object, ...]]:
    """Give what the cache's key holds of each entry."""
    for path, split, emotion, subject, box, attributes, name in entries:
        yield path, split, emotion, subject, box, sorted(attributes.items()) if attributes else [], name


def unusable(root: Path | Tars, paths: Iterable[str], side: int | None = None) -> frozenset[str]:
    """Return which images cannot be decoded, or are not ``side`` by ``side`` pixels, if given."""
    broken = set()
    paths = list(paths)
    for path, file in zip(paths, each_at_hand(root / path for path in paths), strict=True):
        try:
            shape = read_image(file).shape[:2]
        except Exception:  # decoders raise anything for a broken file
            broken.add(path)
        else:
            if side is not None and shape != (side, side):
                broken.add(path)
    return frozenset(broken)


def check_present(name: str, root: Path, paths: Sequence[str]) -> None:
    """Refuse a dataset that lists images which are not there.

    Raises:
        DatasetError: With their count, and the first of them.
    """
    unique = list(dict.fromkeys(paths))
    absent = [path for path in unique if not os.path.isfile(os.path.join(root, path))]
    if absent:
        raise DatasetError(
            f"{name}: {len(absent)} of {len(unique)} listed images are not in {root}:\n{listing(absent)}\n"
            f"  The archive may be half unpacked, or a part of it missing: unpack it again, all parts."
        )


def find_path(root: Path, *candidates: str) -> Path | None:
    """Return the first of the candidate paths below ``root`` that exists, whatever its case; None if none does."""
    for candidate in candidates:
        found: Path | None = root
        for part in Path(candidate).parts:
            assert found is not None
            exact = found / part
            if not exact.exists():
                names = os.listdir(found) if found.is_dir() else []
                alike = sorted(name for name in names if name.lower() == part.lower())
                exact = found / alike[0] if alike else exact
            found = exact if exact.exists() else None
            if found is None:
                break
        if found is not None:
            return found
    return None
