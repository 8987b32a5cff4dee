"""A dataset as tar shards: ``shards.json``, and beside each ``train-000000.tar`` a list of what stands where in it.

The shards themselves are WebDataset's: members ``<key>.jpg`` (or another image's ending), ``<key>.json`` and
``<key>.cls``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

from fer.errors import DatasetError
from fer.files.atomic import writing
from fer.files.checksum import sha256

FILE = "shards.json"
FORMAT = 1
"""Raised when the files change so that an older release would misread them."""


@dataclass(frozen=True)
class Sample:
    """An image in a shard, and what is known of it."""

    key: str
    """What the names of its members begin with."""
    image: str
    """The image's member."""
    offset: int
    """Where the image's bytes begin in the shard."""
    size: int
    """How many they are."""
    label: str
    """The name of its class."""
    id: str
    """The id that it has in the dataset that was packed."""
    subject: str = ""
    """Who is in it; empty if that is not known."""
    target: Mapping[str, float] | None = None
    """The distribution of several raters' votes by the classes' names, those without a vote left out."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """By whose values scores are sliced."""

    def __post_init__(self) -> None:
        texts = (self.key, self.image, self.label, self.id, self.subject, *self.attributes, *self.attributes.values())
        votes = dict(self.target or {})
        if not (_texts(*texts, *votes) and _counts(self.offset, self.size)):
            raise TypeError(f"a sample of wrong values: {self!r:.200}")
        if not all(isinstance(share, int | float) and isfinite(share) for share in votes.values()):
            raise TypeError(f"a target of wrong values: {votes!r:.200}")

    def known(self) -> dict[str, Any]:
        """Return what its ``.json`` member says."""
        said = {"id": self.id, "label": self.label, "subject": self.subject, "target": self.target}
        return {key: value for key, value in {**said, "attributes": dict(self.attributes)}.items() if value}


@dataclass(frozen=True)
class Shard:
    """A tar file."""

    file: str
    index: str
    """The file that lists its samples."""
    split: str
    samples: int
    bytes: int
    sha256: str
    index_sha256: str = ""
    """The checksum of that list; empty in the list itself."""

    def __post_init__(self) -> None:
        names = (self.file, self.index, self.split, self.sha256, self.index_sha256)
        if not (_texts(*names) and _counts(self.samples, self.bytes)) or "/" in self.file + self.index:
            raise TypeError(f"a shard of wrong values: {self!r:.200}")
        if self.split not in ("train", "val", "test"):
            raise TypeError(f"a shard of no split: {self.split!r:.200}")


@dataclass(frozen=True)
class Index:
    """What ``shards.json`` says."""

    name: str
    """The dataset that was packed."""
    classes: tuple[str, ...]
    """In label order."""
    fit: str
    """How its oblong images become square if the user does not say."""
    draw_targets: bool
    """Whether training draws a label from each sample's votes."""
    content: str
    """A hash of what was packed, and how: by it a repeated command knows its own shards."""
    shards: tuple[Shard, ...]
    image_size: int | None = None
    """To which side its images are brought when they are read, if the user does not say; None for their own."""
    channels: int | None = None
    """1 where they are read as grey ones, 3 as RGB, if the user does not say; None for their own."""

    def __post_init__(self) -> None:
        if self.image_size is not None and (not _counts(self.image_size) or not self.image_size):
            raise TypeError(f"no image size: {self.image_size!r:.200}")
        if self.channels not in (None, 1, 3):
            raise TypeError(f"no number of channels: {self.channels!r:.200}")
        if not _texts(self.name, self.fit, self.content, *self.classes) or not isinstance(self.draw_targets, bool):
            raise TypeError("wrong values")
        if self.fit not in ("pad", "crop", "stretch"):
            raise TypeError(f"no such fit: {self.fit!r:.200}")


def write_index(folder: Path, index: Index) -> None:
    """Write ``shards.json``, whole or not at all."""
    _write(folder / FILE, asdict(index))


def read_index(text: bytes, where: object) -> Index:
    """Read the text of a ``shards.json``.

    Args:
        text: The text.
        where: Its file, for errors.

    Raises:
        DatasetError: If it is of a newer format, or damaged.
    """
    values = _read(text, where)
    try:
        shards = tuple(Shard(**shard) for shard in values.pop("shards"))
        return Index(**{**values, "classes": tuple(values["classes"]), "shards": shards})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(where, error) from error


def write_samples(folder: Path, shard: Shard, samples: Sequence[Sample]) -> Shard:
    """Write the list beside a shard, whole or not at all; a shard that has one is complete.

    Returns:
        The shard, with the list's checksum.
    """
    _write(folder / shard.index, {"shard": asdict(shard), "samples": [asdict(sample) for sample in samples]})
    return replace(shard, index_sha256=sha256(folder / shard.index))


def read_samples(text: bytes, where: object) -> tuple[Shard, list[Sample]]:
    """Read the list beside a shard; arguments and errors are those of :func:`read_index`."""
    values = _read(text, where)
    try:
        shard = replace(Shard(**values["shard"]), index_sha256=hashlib.sha256(text).hexdigest())
        return shard, [Sample(**sample) for sample in values["samples"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(where, error) from error


def _texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _counts(*values: object) -> bool:
    return all(isinstance(value, int) and 0 <= value < 2**63 for value in values)


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with writing(path) as file:
        json.dump({"format": FORMAT, **values}, file, separators=(",", ":"))
        file.write("\n")


def _read(text: bytes, where: object) -> dict[str, Any]:
    try:
        values = json.loads(text)
        number = values.pop("format")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(where, error) from error
    if not isinstance(number, int) or number > FORMAT:
        raise DatasetError(
            f"{where} is of format {number}; this release reads formats up to {FORMAT}. Update fer, or pack the "
            f"dataset again with this release."
        )
    return dict(values)


def _damaged(where: object, error: Exception) -> DatasetError:
    return DatasetError(f"{where} is damaged ({error!r}). Pack the dataset again, or copy it anew.")
