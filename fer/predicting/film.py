"""An annotated video, written while it is predicted."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from fer.predicting import drawing
from fer.predicting.faces import FaceEmotion
from fer.predicting.photographs import PICTURES, free_name

if TYPE_CHECKING:
    from fer.predicting.videos import Frame

log = logging.getLogger(__name__)

_MEASURED = 8  # frames by which a camera's rate is measured


class Film:
    """An annotated video, opened with its first frames.

    Args:
        folder: That of the prediction.
        name: What is filmed, by which the file is called.
        rate: Frames a second.
        live: Whether it is a camera.
    """

    def __init__(self, folder: Path, name: Path | str, rate: float, live: bool) -> None:
        self.folder, self.name, self.rate, self.live = folder / PICTURES, name, rate, live
        self._writer: cv2.VideoWriter | None = None
        self._first: list[npt.NDArray[np.uint8]] = []
        self._size = (0, 0)

    def write(self, frame: "Frame", faces: Sequence[FaceEmotion], tracks: Sequence[int | None]) -> None:
        """Add a frame."""
        image = drawing.annotated(frame.image, faces, tracks)
        if self._writer is None:
            self._first.append(image)
            if self.live and len(self._first) < _MEASURED:
                return  # a camera's own word for its rate is not to be trusted: measured
            rate = (len(self._first) - 1) / frame.seconds if self.live and frame.seconds > 0 else self.rate
            self._begin(image, rate)
            return
        self._add(image)

    def _begin(self, image: npt.NDArray[np.uint8], rate: float) -> None:
        path = free_name(self.folder, self.name, ".mp4")
        rate = round(float(np.clip(rate, 1, 120)), 2)  # MPEG-4 knows no finer steps
        self._size = image.shape[1] // 2 * 2, image.shape[0] // 2 * 2  # which most players want even
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            log.warning("%s: %s; no annotated video is written.", str(self.folder), str(error.strerror))
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, self._size)  # type: ignore[attr-defined]
        if not self._writer.isOpened():
            log.warning("%s: OpenCV cannot write this video; the table is written all the same.", str(path))
        for one in self._first:
            self._add(one)
        self._first = []

    def _add(self, image: npt.NDArray[np.uint8]) -> None:
        assert self._writer is not None
        width, height = self._size
        if image.shape[0] < height or image.shape[1] < width:
            image = np.asarray(cv2.resize(image, self._size), np.uint8)
        self._writer.write(cv2.cvtColor(image[:height, :width], cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """End the video."""
        if self._first:
            self._begin(self._first[0], self.rate)
        if self._writer is not None:
            self._writer.release()
