"""What every dataset reader returns: decoded images, labels, splits and ids, row by row."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "val", "test")


def readable(name: str) -> str:
    """Return a file's name as text that can be written anywhere: bytes that are no UTF-8 are escaped (``xe9``)."""
    try:
        return name.encode().decode()
    except UnicodeEncodeError:
        return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


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
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    splits: npt.NDArray[np.str_]
    ids: npt.NDArray[np.str_]
    classes: tuple[str, ...]
    subjects: npt.NDArray[np.str_] | None = None
    targets: npt.NDArray[np.float32] | None = None
    attributes: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)
