"""Pictures by the million: decoded and searched by threads while the network runs, and nothing kept of them."""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from fer.data.pixels import EXTENSIONS, UNSUPPORTED
from fer.display import plain
from fer.errors import FERError
from fer.files.atomic import if_possible, writing
from fer.predicting import drawing
from fer.predicting.faces import FaceEmotion
from fer.predicting.model import Found, Model
from fer.predicting.pictures import Picture
from fer.predicting.record import EXPLAINED, PICTURES

log = logging.getLogger(__name__)

_AHEAD = 3  # pictures for each thread that may wait for the network
_TOLD = 20  # faces, and pictures without one, that are told on the terminal
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass
class Told:
    """What is said on the terminal, up to a number of lines of each kind."""

    faces: int = 0
    empty: int = 0
    failed: int = 0
    without_times: int = 0

    def face(self, path: Path, face: FaceEmotion) -> None:
        """Say what a face shows."""
        self.faces += 1
        best = sorted(face.probabilities.items(), key=lambda item: -item[1])[:3]
        said = ", ".join(f"{name} {value:.2f}" for name, value in best)
        width, height = (round(face.box[i + 2] - face.box[i]) for i in (0, 1))
        line = f"{path}: {face.said} ({said}; {width}x{height} pixels)"
        _say(logging.INFO, line, self.faces)

    def nobody(self, path: Path | str) -> None:
        """Say that a picture holds no face."""
        self.empty += 1
        _say(logging.INFO, f"{path}: no face", self.empty)

    def fault(self, path: Path | str, error: str) -> None:
        """Say that a file cannot be used."""
        self.failed += 1
        _say(logging.WARNING, f"{path}: {error}", self.failed)

    def timeless(self, path: Path | str, missing: int, frames: int, rate: float) -> None:
        """Say that a video does not tell when some of its frames are shown."""
        self.without_times += 1
        line = f"{path}: {missing:,} of {frames:,} frames have no time of their own; each is put 1/{rate:g} s after the"
        _say(logging.WARNING, f"{line} one before.", self.without_times)


def _say(level: int, line: str, count: int) -> None:
    if count <= _TOLD + 1:
        with tqdm.external_write_mode():  # the bar makes room
            log.log(level, "%s", line if count <= _TOLD else "... and so on; all of it stands in the files.")


class Answers(Protocol):
    """Where answers are kept: a Record, or a worker's Part."""

    folder: Path

    def is_done(self, path: Path) -> bool:
        """Say whether a picture was dealt with before."""

    def add(self, path: Path, faces: Iterable[FaceEmotion]) -> None:
        """Keep a row for each face of a picture."""

    def end(self, path: Path, faces: int, frames: int | None = None, error: str = "") -> None:
        """Keep that a picture is dealt with."""


class Looked(NamedTuple):
    """A picture in which faces were looked for."""

    path: Path
    picture: Picture | None
    """None where it need not be drawn, or could not be read."""
    found: list[Found]
    error: str


def run(
    model: Model, paths: Iterable[Path], record: Answers, told: Told, threads: int, annotated: int,
    min_confidence: float, explain: bool, tick: Callable[[], Any],
) -> None:  # fmt: skip
    """Predict pictures.

    Args:
        model: The model.
        paths: The pictures; those that an earlier start has dealt with are passed over.
        record: Where the answers are written.
        told: What is said on the terminal.
        threads: Pictures that are decoded and searched at once, beside the network.
        annotated: At most so many annotated pictures are written.
        min_confidence: Below this an emotion is undecided.
        explain: Whether heat maps are drawn too, for those that are annotated.
        tick: Called for each picture that is done.
    """
    drawn = _Drawn(record.folder, annotated)

    def look(path: Path) -> Looked:
        try:
            if path.suffix.lower() in UNSUPPORTED:
                endings = " ".join(sorted(EXTENSIONS))
                return Looked(path, None, [], f"{path.suffix} files are not read; save it as one of {endings}")
            picture = model.read(path)
            found = model.find(picture)
            return Looked(path, picture if found and drawn.wanted() else None, found, "")
        except FERError as error:
            return Looked(path, None, [], str(error).removeprefix(f"{path}: ").rstrip("."))

    def left() -> Iterator[Path]:
        for path in paths:
            if record.is_done(path):
                tick()
            else:
                yield path

    waiting: list[Looked] = []
    faces = 0
    for looked in _ahead(look, left(), threads):
        waiting.append(looked)
        faces += len(looked.found)
        if faces >= model.batch_size or len(waiting) >= model.batch_size:
            _settle(model, waiting, record, told, drawn, min_confidence, explain, tick)
            waiting, faces = [], 0
    _settle(model, waiting, record, told, drawn, min_confidence, explain, tick)


def _settle(
    model: Model, waiting: list[Looked], record: Answers, told: Told, drawn: "_Drawn", min_confidence: float,
    explain: bool, tick: Callable[[], Any],
) -> None:  # fmt: skip
    """Apply the network to the faces of several pictures together, and write what it says."""
    rows = iter(model.classify([item.crop for looked in waiting for item in looked.found]))
    for looked in waiting:
        p = [next(rows) for _ in looked.found]
        maps: Sequence[npt.NDArray[np.float32] | None] = [None] * len(p)
        if explain and looked.picture is not None and drawn.wanted():
            maps = model.heat_maps([item.crop for item in looked.found], [int(one.argmax()) for one in p])
        faces = [model.face(one, of, min_confidence, heat) for one, of, heat in zip(looked.found, p, maps, strict=True)]
        record.add(looked.path, faces)
        for face in faces:
            told.face(looked.path, face)
        if looked.error:
            told.fault(looked.path, looked.error)
        elif not faces:
            told.nobody(looked.path)
        if looked.picture is not None:
            drawn.write(looked.path, looked.picture, faces, [item.place for item in looked.found])
        record.end(looked.path, len(faces), error=looked.error)
        tick()


def _ahead(work: Callable[[_T], _R], items: Iterable[_T], threads: int) -> Iterator[_R]:
    """Yield the results of threads in order, no more than a few of them waiting."""
    pool = ThreadPoolExecutor(threads)
    running: deque[Future[_R]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) >= _AHEAD * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


class _Drawn:
    """Annotated pictures, up to a number."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder / PICTURES, most
        self.count = len(list(self.folder.glob("*.jpg"))) if self.folder.is_dir() else 0

    def wanted(self) -> bool:
        """Say whether there is room for one more."""
        return self.count < self.most

    def write(
        self, path: Path, picture: Picture, faces: list[FaceEmotion], places: list[npt.NDArray[np.float64]]
    ) -> None:
        """Write one, and of explained faces one more."""
        if not self.wanted():
            return
        self.count += 1
        target = free_name(self.folder, path, ".jpg")
        _save(drawing.annotated(picture.rgb, faces, scale=picture.scale), target)
        if faces[0].heat_map is not None:
            image = drawing.explained(picture.rgb, faces, places, picture.scale)
            _save(image, self.folder.with_name(EXPLAINED) / target.name)


def _save(image: npt.NDArray[np.uint8], target: Path) -> None:
    with if_possible(target):
        target.parent.mkdir(exist_ok=True)
        with writing(target, "wb") as file:
            save_jpeg(image, file)


def save_jpeg(image: npt.NDArray[np.uint8], file: Any) -> None:
    """Write a picture as JPEG."""
    Image.fromarray(image).save(file, format="JPEG", quality=92)


def free_name(folder: Path, path: Path | str, ending: str) -> Path:
    """Return a name for what is drawn of a file: the file's own, without what is no letter or digit, not taken yet."""
    stem = re.sub(r"[^\w.-]+", "_", plain(Path(path).stem))[:80].strip("._") or "picture"
    target, number = folder / f"{stem}{ending}", 1
    while target.exists():
        number += 1
        target = folder / f"{stem}-{number}{ending}"
    return target
