"""Which face of a frame is which of the one before. No torch."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer.errors import FERError
from fer.framing.face import Face

_MEMORY = 2.0  # seconds for which a face that is not seen is not forgotten
_LOWEST = 0.6  # of the detectors' scores, from which on a track may begin
_GRID = 5  # points of a face in each direction that are followed
_MANY = 1000  # tracks from which on old ones are forgotten


class Tracks:
    """Numbers the faces of a video, from 1, each face keeping its number (ByteTrack, https://arxiv.org/abs/2110.06864).

    Raises:
        FERError: If the package that does it is not installed.
    """

    def __init__(self) -> None:
        try:
            from edgefirst.tracker import ByteTrack
        except ImportError as error:
            raise FERError(
                "faces in videos are tracked by the package edgefirst-tracker (0.7 MB), which is not installed: "
                "pip install edgefirst-tracker"
            ) from error
        self._tracker: Any = ByteTrack(high_conf=_LOWEST, lifespan_ns=int(_MEMORY * 1e9))
        self._numbers: dict[str, tuple[int, float]] = {}
        self._next = 1

    def update(self, faces: Sequence[Face], seconds: float) -> list[int | None]:
        """Return the number of each face's track; None for a face that is too uncertain to begin one.

        Args:
            faces: The faces of a frame.
            seconds: Its time; later than that of the frame before.
        """
        boxes = np.array([face.box for face in faces], np.float32).reshape(-1, 4)
        scores = np.array([face.score for face in faces], np.float32)
        tracks = self._tracker.update(boxes, scores, np.zeros(len(faces), np.uintp), int(seconds * 1e9))
        numbers: list[int | None] = []
        for track in tracks:
            if track is None:
                numbers.append(None)
                continue
            if track.uuid not in self._numbers:
                self._numbers[track.uuid] = (self._next, seconds)
                self._next += 1
            number = self._numbers[track.uuid][0]
            self._numbers[track.uuid] = (number, seconds)
            numbers.append(number)
        if len(self._numbers) > _MANY:
            self._numbers = {key: item for key, item in self._numbers.items() if seconds - item[1] <= _MEMORY}
        return numbers


def follow(before: npt.NDArray[np.uint8], now: npt.NDArray[np.uint8], faces: Sequence[Face]) -> list[Face]:
    """Move faces with the picture between two frames, by the median motion of points in each (Lucas and Kanade).

    Args:
        before: The frame in which the faces stand, grey, uint8 of shape (H, W).
        now: The next one.
        faces: The faces.
    """
    if not faces:
        return []
    steps = (np.arange(_GRID) + 1) / (_GRID + 1)
    share = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    boxes = np.array([face.box for face in faces])
    points = (boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])).astype(np.float32)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, now, points.reshape(-1, 1, 2), np.empty(0), winSize=(15, 15))
    shifts = moved.reshape(points.shape) - points
    seen = found.reshape(points.shape[:2]).astype(bool)
    result = []
    for face, shift, good in zip(faces, shifts, seen, strict=True):
        x, y = np.median(shift[good], axis=0) if good.any() else (0.0, 0.0)
        if max(abs(x), abs(y)) > face.size / 2:  # lost: a face does not jump
            x = y = 0.0
        left, top, right, bottom = face.box
        landmarks = None if face.landmarks is None else face.landmarks + np.array((x, y), np.float32)
        box = (float(left + x), float(top + y), float(right + x), float(bottom + y))
        result.append(Face(box, landmarks, face.score))
    return result


class Smoothing:
    """Averages each track's probabilities over time, the latest counting most.

    Args:
        seconds: Time constant: after so long, what was seen counts for 1/e; 0 for no smoothing.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last: dict[int, tuple[float, npt.NDArray[np.float32]]] = {}

    def __call__(
        self, track: int | None, seconds: float, probabilities: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return a face's probabilities, float32 of shape (C,), averaged with its track's earlier ones."""
        if self.seconds == 0 or track is None:
            return probabilities
        if track in self._last:
            then, average = self._last[track]
            kept = np.float32(np.exp((then - seconds) / self.seconds))
            probabilities = kept * average + (1 - kept) * probabilities
        self.remember(track, seconds, probabilities)
        return probabilities

    def remember(self, track: int | None, seconds: float, probabilities: npt.NDArray[np.float32]) -> None:
        """Take a face's averaged probabilities, float32 of shape (C,), as its track's last ones."""
        if self.seconds == 0 or track is None:
            return
        self._last[track] = (seconds, probabilities)
        if len(self._last) > _MANY:
            self._last = {key: item for key, item in self._last.items() if seconds - item[0] <= _MEMORY}
