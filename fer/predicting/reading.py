"""A video's or camera's frames and their times, decoded in a thread of its own, with the faces found now and then."""

import math
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fer.framing.face import Detector, Face

_WAITING = 4  # frames that are decoded ahead
_RATE = 25.0  # frames a second where a video does not say


class Frame(NamedTuple):
    """One frame."""

    number: int
    """From 0."""
    seconds: float
    """When it is shown, from the video's begin."""
    image: npt.NDArray[np.uint8]
    """RGB, uint8 of shape (H, W, 3)."""
    faces: list[Face] | None
    """What a detector found; None if it did not look."""


class Times:
    """Puts a video's frames in time: as its container says, or evenly where it says nothing.

    Args:
        rate: Frames a second, for those without a time.

    Attributes:
        missing: Number of frames whose time was none, or not later than that of the frame before.
        last: Time of the last frame, in seconds; 0 before the first.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.missing, self.last = rate, 0, 0.0
        self._begun = False

    def __call__(self, milliseconds: float) -> float:
        """Return the next frame's time in seconds, always later than that of the frame before.

        Args:
            milliseconds: What OpenCV gives as ``CAP_PROP_POS_MSEC`` once the frame is decoded (before that, it is
                still the time of the frame before).
        """
        seconds = milliseconds / 1000
        if not math.isfinite(seconds) or seconds < 0 or (self._begun and seconds <= self.last):
            self.missing += 1
            seconds = self.last + 1 / self.rate if self._begun else 0.0
        self.last, self._begun = seconds, True
        return seconds


class Reader:
    """Decodes frames, and looks for faces in some, in a thread of its own.

    Args:
        capture: The open video or camera.
        live: Whether it is a camera, whose frames have the clock's time.
        detector: What finds faces; None if nothing looks for them.
        detect_every: It looks in each so many-th frame.
        limit: End after so many seconds; None for the end.
        begin: Number of the frame from which on faces are looked for. Those before are decoded all the same, since
            leaps are not exact in every container; the last of them alone is given.
        earlier: Whether all frames before are given, too.

    Attributes:
        rate: Frames a second, as the container says; of a varying rate it may be the clock's steps (1000).
        promised: Number of frames that the container claims to hold; 0 of a camera.
        times: Of a video, when its frames are shown.
        gone: Why a camera gives no more frames.
    """

    def __init__(
        self, capture: cv2.VideoCapture, live: bool, detector: Detector | None, detect_every: int, limit: float | None,
        begin: int = 0, earlier: bool = False,
    ) -> None:  # fmt: skip
        self.rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = self.rate if 0 < self.rate <= 1000 else _RATE
        self.promised = 0 if live else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.times = Times(self.rate)
        self.gone = ""
        self._capture, self._live, self._detector = capture, live, detector
        self._every, self._limit, self._begin = detect_every, limit, begin
        self._wanted = 0 if earlier else begin - 1
        self._frames: queue.Queue[Frame | BaseException | None] = queue.Queue(_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            begun = time.monotonic()
            number = 0
            while not self._stop.is_set():
                image = None
                if number >= self._wanted:
                    good, image = self._capture.read()
                    good = good and image is not None
                else:
                    good = self._capture.grab()
                if not good:
                    if self._live:
                        after = time.monotonic() - begun
                        self.gone = f"gives no more frames after {after:.1f} s: unplugged, or taken by another program"
                    break
                given = self._capture.get(cv2.CAP_PROP_POS_MSEC)
                seconds = time.monotonic() - begun if self._live else self.times(given)
                if self._limit and seconds >= self._limit:
                    break
                if image is not None:
                    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                    detector = self._detector if number >= self._begin and number % self._every == 0 else None
                    self._put(Frame(number, seconds, rgb, detector.detect(rgb) if detector else None))
                number += 1
            self._put(None)
        except BaseException as error:  # to be raised where frames are taken
            self._put(error)
        finally:
            self._capture.release()

    def _put(self, item: Frame | BaseException | None) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._frames.put(item, timeout=0.2)
                return

    def __iter__(self) -> Iterator[Frame]:
        while not self._stop.is_set():  # closed from elsewhere, no further frame comes
            try:
                item = self._frames.get(timeout=0.2)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def due(self, frames: int, seconds: float) -> int:
        """Return how many frames there will be, as so many frames in so many seconds foretell; 0 if it is not known."""
        return round(self.promised * frames / (seconds * self.rate + 1)) if self.promised else 0

    def fault(self, frames: int) -> str:
        """Say why it ended before its own end; nothing if it did not.

        Args:
            frames: Number of frames that were taken.
        """
        if self._live or self.gone:
            return self.gone
        if not frames:
            return "no frame of it can be read"
        # Containers' counts may be a little off, and of a varying rate they are computed from the duration.
        promised, seconds = self.promised, self.promised / self.rate
        if self._limit and self._limit < seconds:
            promised, seconds = int(self._limit * self.rate), self._limit
        if frames >= 0.95 * promised - 2 or self.times.last >= 0.95 * seconds - 2 / self.rate:
            return ""
        due = self.due(frames, self.times.last)
        return f"ends at frame {frames:,} of {due:,}: cut off or damaged"

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=5)
