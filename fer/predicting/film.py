"""An annotated video, written while it is predicted."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from fer.files.atomic import if_possible
from fer.predicting import drawing
from fer.predicting.faces import FaceEmotion
from fer.predicting.photographs import free_name
from fer.predicting.record import PICTURES

if TYPE_CHECKING:
    from fer.predicting.reading import Frame

log = logging.getLogger(__name__)

_MEASURED = 8  # frames by which a camera's rate is measured
_HIGHEST = 120.0  # frames a second of an annotated video
_LONGEST = 600.0  # seconds for which a frame is shown at most: more is a fault in the times


class Film:
    """An annotated video, opened with its first frames; it gets its name when it is whole.

    OpenCV writes even rates alone: each frame is shown until the next one is due, to the nearest frame of that rate;
    of two that fall together the first is shown.

    Args:
        folder: That of the prediction.
        name: What is filmed, by which the file is called.
        rate: Frames a second.
        live: Whether it is a camera.
    """

    def __init__(self, folder: Path, name: Path | str, rate: float, live: bool) -> None:
        self.folder, self.name, self.rate, self.live = folder / PICTURES, name, rate, live
        self._part = self.folder / ".unfinished.mp4"
        self._writer: cv2.VideoWriter | None = None
        self._first: list[tuple[float, npt.NDArray[np.uint8]]] = []
        self._size = (0, 0)
        self._written = 0
        self._zero = 0.0  # time of the first frame, moved on by what is cut out
        self._last: npt.NDArray[np.uint8] | None = None

    def write(self, frame: "Frame", faces: Sequence[FaceEmotion], tracks: Sequence[int | None]) -> None:
        """Add a frame."""
        image = drawing.annotated(frame.image, faces, tracks)
        if self._writer is not None:
            self._add(frame.seconds, image)
            return
        self._first.append((frame.seconds, image))
        if self.live and len(self._first) < _MEASURED:
            return  # a camera's own word for its rate is not to be trusted: measured
        if self.live and frame.seconds > 0:
            self.rate = (len(self._first) - 1) / frame.seconds
        self._begin(image)

    def _begin(self, image: npt.NDArray[np.uint8]) -> None:
        rate = self.rate if self.rate <= _HIGHEST else _HIGHEST / 2  # above, a clock's steps, or what no screen shows
        self.rate = round(max(rate, 1.0), 2)  # MPEG-4 knows no finer steps
        self._size = image.shape[1] // 2 * 2, image.shape[0] // 2 * 2  # which most players want even
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            log.warning("%s: %s; no annotated video is written.", str(self.folder), str(error.strerror))
        self._writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter_fourcc(*"mp4v"), self.rate, self._size)  # type: ignore[attr-defined]
        if not self._writer.isOpened():
            log.warning("%s: OpenCV cannot write this video; the table is written all the same.", str(self._part))
        for one in self._first:
            self._add(*one)
        self._first = []

    def _add(self, seconds: float, image: npt.NDArray[np.uint8]) -> None:
        assert self._writer is not None
        width, height = self._size
        if image.shape[0] < height or image.shape[1] < width:
            image = np.asarray(cv2.resize(image, self._size), np.uint8)
        if self._last is None:
            self._zero = seconds
        self._zero = max(self._zero, seconds - self._written / self.rate - _LONGEST)
        due = round((seconds - self._zero) * self.rate)
        while self._last is not None and self._written < due:
            self._writer.write(self._last)
            self._written += 1
        if self._written <= due:
            self._last = np.asarray(cv2.cvtColor(image[:height, :width], cv2.COLOR_RGB2BGR), np.uint8)
            self._writer.write(self._last)
            self._written += 1

    def close(self, whole: bool) -> None:
        """End the video.

        Args:
            whole: Whether all that is filmed was written; else it is removed.
        """
        if self._first:
            self._begin(self._first[0][1])
        if self._writer is None:
            return
        self._writer.release()
        if self._part.exists():
            with if_possible(self._part):
                if whole:
                    self._part.rename(free_name(self.folder, self.name, ".mp4"))
                else:
                    self._part.unlink()
