"""ExpW (Expression in-the-Wild): 91,793 faces in pictures found with search engines.

What it is: pictures with one or several faces each, every face with its box and the confidence of the detector that
found it. There are no official splits: validation and test splits are carved, and all faces of one picture stay on
one side. Papers carve their own, so scores are comparable between runs with the same seed only.

Classes: 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral.

Layout on disk::

    [data/]image/origin/*.jpg       (unpack all parts of origin.7z)
    [data/]label/label.lst          name face_id top left right bottom confidence label

The box's numbers stand in just that order. Boxes that the detector is less than ``min_confidence`` sure of are often
no faces and are left out.

Licence: for non-commercial research.

Citation: Z. Zhang, P. Luo, C. C. Loy, X. Tang, "From Facial Expression Recognition to Interpersonal Relation
Prediction", IJCV 2018.

Source: http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/index.html
"""

import logging
from pathlib import Path
from typing import Any

from fer.data.base import FERDataModule
from fer.data.entries import Entry, find_path, read_entries
from fer.data.rows import decode_label, parse_rows, text_rows
from fer.data.samples import Samples
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError

log = logging.getLogger(__name__)

CODES = {"0": "angry", "1": "disgust", "2": "fear", "3": "happy", "4": "sad", "5": "surprise", "6": "neutral"}
"""Label codes of ``label.lst``."""

COLUMNS = "name face_id top left right bottom confidence label"
"""What a row of ``label.lst`` holds."""


class ExpW(FERDataModule):
    """ExpW: the faces of a carved part of the pictures select, those of another are tested once.

    Args:
        root: The folder that holds ``data``, or that folder itself.
        min_confidence: Faces of a lower detector confidence, in percent, are left out; 0 keeps all.
        **loading: See :class:`fer.data.base.FERDataModule`.

    Raises:
        ConfigError: If ``min_confidence`` is no percentage.
    """

    name = "expw"
    streams = True
    source = "http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/index.html"

    def __init__(self, root: str, min_confidence: float = 60, **loading: Any) -> None:
        super().__init__(**loading)
        if not isinstance(min_confidence, int | float) or not 0 <= min_confidence <= 100:
            raise ConfigError(f"data.min_confidence={min_confidence}: must be a number from 0 to 100.")
        self.root, self.min_confidence = Path(root).expanduser(), min_confidence

    def read(self) -> Samples:
        """Read the listed faces.

        Raises:
            DatasetNotFoundError: If there is no ``label.lst``.
            DatasetError: If rows or pictures are missing or wrong, all of which are named, or no face is left.
            LabelError: If label codes are none of 0 to 6.
        """
        label_list = find_path(self.root, "data/label/label.lst", "label/label.lst")
        if label_list is None:
            looked = [self.root / "data/label/label.lst", self.root / "label/label.lst"]
            expected = "data/label/label.lst and the pictures in data/image/origin."
            raise DatasetNotFoundError(self.name, looked, expected, self.source)
        base = label_list.parent.parent
        faces = find_faces(label_list)
        entries = [entry for entry, confidence in faces if confidence >= self.min_confidence]
        if not entries:
            raise DatasetError(
                f"{label_list}: none of {len(faces)} faces has data.min_confidence={self.min_confidence}."
            )
        log.info(
            "ExpW: %d of %d faces were left out, their detector being less than %g %% sure of them.",
            len(faces) - len(entries), len(faces), self.min_confidence,
        )  # fmt: skip
        return read_entries(self.name, base, entries, **self.storage)


def find_faces(label_list: Path) -> list[tuple[Entry, float]]:
    """List all faces with the detector's confidence in percent.

    Args:
        label_list: ``label/label.lst``.
    """
    base = label_list.parent.parent
    folder = find_path(base, "image/origin")
    if folder is None:
        raise DatasetError(f"{base / 'image/origin'} is missing: unpack the pictures there, all parts.")
    below = folder.relative_to(base).as_posix()
    seen: set[str] = set()

    def parse(row: str) -> tuple[Entry, float]:
        fields = row.rsplit(maxsplit=7)  # a name may hold spaces
        if len(fields) != 8:
            raise ValueError(f"{len(fields)} fields, expected 8: {COLUMNS}")
        name, number, *edges, confidence, code = fields
        try:
            top, left, right, bottom = map(int, edges)
            sureness = float(confidence)
        except ValueError:
            raise ValueError(f"'{row[:100]}' has a wrong number; expected {COLUMNS}") from None
        if not (left < right and top < bottom):
            raise ValueError(f"an empty box: top {top}, left {left}, right {right}, bottom {bottom}")
        if not 0 <= sureness <= 100:
            raise ValueError(f"confidence {confidence} is not from 0 to 100")
        identity = f"{name}#{number}"
        if identity in seen:
            raise ValueError(f"face {number} of {name} is listed before")
        seen.add(identity)
        box = (left, top, right, bottom)
        # The picture is the subject: nothing says who is in it, but no picture may be on both sides of a carved split.
        face = Entry(f"{below}/{name}", "train", decode_label(code, CODES), subject=name, box=box, id=identity)
        return face, sureness

    return parse_rows(text_rows(label_list), parse)
