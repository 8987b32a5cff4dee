"""Videos and cameras: faces found now and then, followed in between, tracked, and classified in batches of frames."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fer.errors import ConfigError
from fer.framing.face import Face
from fer.predicting import trail
from fer.predicting.faces import FaceEmotion
from fer.predicting.film import Film
from fer.predicting.model import Model
from fer.predicting.photographs import Told
from fer.predicting.pictures import Picture
from fer.predicting.reading import Frame, Reader
from fer.predicting.record import Record
from fer.predicting.sources import open_video
from fer.predicting.tracks import Smoothing, Tracks, follow
from fer.predicting.trail import Step

log = logging.getLogger(__name__)

_TOGETHER = 8  # frames whose faces go through the network together


@dataclass(frozen=True)
class Options:
    """How videos are looked at.

    Attributes:
        detect_every: Faces are looked for in each so many-th frame, and followed in between.
        smooth: Seconds over which a track's probabilities are averaged; 0 for none.
        seconds: End after so long; None for the end of the video, or Ctrl-C.
        annotated: Whether an annotated video is written.
        min_confidence: Below this an emotion is undecided.
    """

    detect_every: int
    smooth: float
    seconds: float | None
    annotated: bool
    min_confidence: float


class Seen(NamedTuple):
    """One frame, and what the model says of its faces."""

    frame: Frame
    faces: list[FaceEmotion]
    tracks: list[int | None]
    """The number of each face's track."""


class _Placed(NamedTuple):
    frame: Frame
    faces: list[Face]
    tracks: list[int | None]


class _Memory:
    """What the frames before leave for the next one."""

    def __init__(self, options: Options) -> None:
        self.tracks, self.smoothing = Tracks(), Smoothing(options.smooth)
        self.faces: list[Face] = []
        self.image: npt.NDArray[np.uint8] | None = None
        """Of the frame before, grey."""

    def recall(self, step: Step, detected: bool) -> None:
        """Take up a frame that an earlier start has seen: what comes after is then the same, to the bit."""
        self.faces = step.found()
        if detected:
            self.tracks.update(self.faces, step.seconds)
        for track, face in zip(step.tracks, step.faces, strict=True):
            self.smoothing.remember(track, step.seconds, np.array(list(face.probabilities.values()), np.float32))


def run(
    model: Model, source: Path | int, record: Record, told: Told, options: Options, tick: Callable[[int, int], Any]
) -> int:
    """Predict a video, or what a camera sees.

    Args:
        model: The model.
        source: The video's path, or a camera's number.
        record: Where the answers are written.
        told: What is said on the terminal.
        options: How.
        tick: Called with the number of frames that are done, and of those that there are (0 if not known).

    Returns:
        The number of frames.
    """
    live = isinstance(source, int)
    name = f"camera {source}" if isinstance(source, int) else source
    memory = _Memory(options)
    begun, before = (0, record.faces) if isinstance(source, int) else _begin(record, source)
    try:
        reader = _reader(model, source, options, begun)
    except ConfigError as error:
        if live:
            raise
        said = str(error).removeprefix(f"{source}: ")
        told.fault(name, said)
        record.end(name, 0, 0, said)
        return 0
    frames = begun
    film = Film(record.folder, name, reader.rate, live) if options.annotated else None
    whole = live
    try:
        if begun:
            log.info("%s goes on at frame %s; those before are decoded again, not looked at.", str(name), f"{begun:,}")
            _recall(model, reader, record, begun, memory, film)
        for waiting in _together(model, reader, memory):
            lines, faces = [], record.faces
            for seen in _answered(model, waiting, memory.smoothing, options.min_confidence):
                record.add(name, seen.faces, seen.frame.number, seen.frame.seconds, seen.tracks)
                lines.append(trail.written(seen.frame.seconds, seen.faces, seen.tracks))
                if film:
                    film.write(*seen)
            frames += len(waiting)
            if not live:
                record.reached(lines, record.faces - faces)
            record.flush()
            if waiting:
                tick(frames, reader.due(frames, waiting[-1].frame.seconds))
        whole = True
    except KeyboardInterrupt:
        if not live:
            raise
        log.info("stopped")  # which is how a camera's recording ends
    finally:
        reader.close()
        if film:
            film.close(whole)
    _end(name, reader, frames, record.faces - before, record, told)
    return frames - begun


def _end(name: Path | str, reader: Reader, frames: int, faces: int, record: Record, told: Told) -> None:
    """Say and keep how a video went."""
    if missing := reader.times.missing:
        told.timeless(name, missing, frames, reader.rate)
    if fault := reader.fault(frames):
        told.fault(name, fault)
    elif not faces:
        told.nobody(name)
    record.end(name, faces, frames, fault)


def _begin(record: Record, path: Path) -> tuple[int, int]:
    """Return from which frame on a video is to be done, and how many faces this start had found without its earlier."""
    frames, faces = record.begin(path)
    return frames, record.faces - faces


def _recall(model: Model, reader: Reader, record: Record, begun: int, memory: _Memory, film: Film | None) -> None:
    """Take up where an earlier start was stopped, and film what it saw."""
    given, frame = iter(reader), None
    for step in trail.read(record.trail, begun):
        memory.recall(step, model.detector is not None)
        if film and (frame := next(given, None)):
            film.write(frame, step.faces, step.tracks)
    if frame := frame or next(given, None):
        memory.image = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), np.uint8)


class Watch:
    """A video's frames one by one, each with its faces; it is closed by :meth:`close`.

    Args:
        model: The model.
        path: The video.
        options: How; nothing is written.

    Attributes:
        rate: Frames a second.
        promised: Number of frames that the file claims to hold.

    Raises:
        ConfigError: If it cannot be opened.
    """

    def __init__(self, model: Model, path: Path, options: Options) -> None:
        self._model, self._options = model, options
        self._reader = _reader(model, path, options)
        self.rate, self.promised = self._reader.rate, self._reader.promised

    def __iter__(self) -> Iterator[Seen]:
        memory = _Memory(self._options)
        for waiting in _together(self._model, self._reader, memory):
            yield from _answered(self._model, waiting, memory.smoothing, self._options.min_confidence)

    def fault(self, frames: int) -> str:
        """Say that a video of which so many frames were seen ended before its own end; nothing if it did not."""
        return self._reader.fault(frames)

    def close(self) -> None:
        """End the reading, at any time."""
        self._reader.close()


def _reader(model: Model, source: Path | int, options: Options, begin: int = 0) -> Reader:
    capture, live = open_video(source), isinstance(source, int)
    return Reader(capture, live, model.detector, options.detect_every, options.seconds, begin, options.annotated)


def _placed(model: Model, reader: Reader, memory: _Memory) -> Iterator[_Placed]:
    """Yield each frame with its faces: those found in it, or else those of the frame before, followed."""
    for frame in reader:
        numbers: list[int | None] = [1]
        grey = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), np.uint8)
        if model.detector is None:
            height, width = grey.shape
            memory.faces = [Face((0.0, 0.0, float(width), float(height)), None, 1.0)]
        else:
            if frame.faces is not None:
                memory.faces = frame.faces
            elif memory.image is not None:
                memory.faces = follow(memory.image, grey, memory.faces)
            # Of each frame: from one look to the next much may move.
            numbers = memory.tracks.update(memory.faces, frame.seconds)
        memory.image = grey
        yield _Placed(frame, memory.faces, numbers)


def _together(model: Model, reader: Reader, memory: _Memory) -> Iterator[list[_Placed]]:
    """Yield frames by several, whose faces go through the network together; what stops the reading comes after them."""
    waiting: list[_Placed] = []
    try:
        for placed in _placed(model, reader, memory):
            waiting.append(placed)
            if len(waiting) >= _TOGETHER or sum(len(one.faces) for one in waiting) >= model.batch_size:
                yield waiting
                waiting = []
    except (Exception, KeyboardInterrupt):
        yield waiting
        raise
    yield waiting


def _answered(model: Model, waiting: list[_Placed], smoothing: Smoothing, min_confidence: float) -> Iterator[Seen]:
    """Apply the network to the faces of several frames together."""
    found = [
        model.find(Picture(frame.image))
        if model.detector is None
        else [model.cut(Picture(frame.image), face) for face in faces]
        for frame, faces, _ in waiting
    ]
    rows = iter(model.classify([item.crop for items in found for item in items]))
    for (frame, _, tracks), items in zip(waiting, found, strict=True):
        smooth = [smoothing(track, frame.seconds, next(rows)) for track in tracks]
        yield Seen(frame, [model.face(item, p, min_confidence) for item, p in zip(items, smooth, strict=True)], tracks)
