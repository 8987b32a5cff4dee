"""What every dataset reader returns: decoded images, labels, splits and ids, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer.data.squares import Box
from fer.data.tars import Tars

SPLITS = ("train", "val", "test")


def readable(name: str) -> str:
    """Return a file's name as text that can be written anywhere: bytes that are no UTF-8 are escaped (``xe9``)."""
    try:
        return name.encode().decode()
    except UnicodeEncodeError:
        return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


@dataclass(frozen=True)
class Files:
    """Where a dataset's images stand.

    Attributes:
        root: The folder.
        paths: The N files, relative to it.
        boxes: The part of each image that is taken; None for the whole of each.
    """

    root: Path | Tars
    paths: Sequence[str]
    boxes: Sequence[Box | None] | None = None


@dataclass(frozen=True)
class Samples:
    """A whole dataset, decoded.

    Attributes:
        images: uint8 of shape (N, H, W) for grey or (N, H, W, 3) for RGB; usually memory-mapped from the cache.
        labels: int64 of shape (N,), an index into ``classes``.
        splits: str of shape (N,), one of :data:`SPLITS`.
        ids: str of shape (N,), unique: what names the sample in predictions and reports
            (a path relative to the root, or ``<file>:<row>``).
        classes: Canonical emotion names.
        subjects: str of shape (N,), who is in the picture, where the dataset says so; None where it does not.
        targets: float32 of shape (N, C), the distribution of several raters' votes; None for one label each.
        attributes: str arrays of shape (N,) by name (``gender``, ``age``), by whose values scores are sliced;
            an empty string where nothing is known.
        files: The images' files, where they were listed alone (:attr:`fer.data.base.FERDataModule.as_files`) and not
            decoded: ``images`` then has the shape (N, 0, 0).
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    splits: npt.NDArray[np.str_]
    ids: npt.NDArray[np.str_]
    classes: tuple[str, ...]
    subjects: npt.NDArray[np.str_] | None = None
    targets: npt.NDArray[np.float32] | None = None
    attributes: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)
    files: Files | None = None

    def __len__(self) -> int:
        return len(self.labels)


def with_readable_names(samples: Samples) -> Samples:
    """Escape characters in names that cannot be encoded, so that they can be written later."""

    def escaped(values: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
        return np.array([readable(value) for value in values.tolist()], dtype=np.str_)

    return replace(
        samples,
        ids=escaped(samples.ids),
        classes=tuple(readable(name) for name in samples.classes),
        subjects=None if samples.subjects is None else escaped(samples.subjects),
        attributes={name: escaped(values) for name, values in samples.attributes.items()},
    )
