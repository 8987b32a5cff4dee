"""What a prediction leaves: a row a face, a row a file, and how far it came, so that the next one goes on. No torch."""

import csv
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from fer.errors import ConfigError
from fer.files.atomic import unwritable, writing
from fer.files.csv_table import csv_cell, read_csv
from fer.files.text import read_json
from fer.predicting.faces import FaceEmotion

ROWS, LINES, FILES = "predictions.csv", "predictions.jsonl", "files.csv"

_STATE = "progress.json"
_FORMAT = 1
_EVERY = 2.0  # seconds between two looks at the disk
_HEAD = ("file", "frame", "time", "track", "face", "left", "top", "right", "bottom", "score", "emotion", "confidence")


class Record:
    """The files of a prediction, written on and on; what was written for a file that was not ended is taken back.

    Args:
        folder: Where they stand.
        classes: The model's classes.
        recipe: What decides the predictions; a folder with those of another recipe is refused.

    Raises:
        ConfigError: If the folder holds predictions of another recipe, or files that are not a prediction's.
        UnwritableError: If it cannot be written to.
    """

    def __init__(self, folder: Path, classes: Sequence[str], recipe: Mapping[str, Any]) -> None:
        self.folder, self.recipe = folder, dict(recipe)
        sizes = self._sizes()
        self.files = self.faces = 0
        """Files and faces of this start."""
        self.before = 0
        """Files of earlier starts."""
        self.undone = any(
            (folder / name).exists() and (folder / name).stat().st_size > size for name, size in sizes.items()
        )
        """Whether an earlier start was stopped in the middle of a file, whose rows are taken back."""
        self._begun = time.monotonic()
        try:
            self._open = {name: self._opened(folder / name, size) for name, size in sizes.items()}
        except OSError as error:
            raise unwritable(folder, error) from error
        self._done = self._names() if sizes[FILES] else np.empty(0, np.uint64)
        self._rows, self._files = (csv.writer(self._open[name]) for name in (ROWS, FILES))
        if not sizes[ROWS]:
            self._rows.writerow([csv_cell(name) for name in (*_HEAD, *(f"p_{name}" for name in classes))])
            self._files.writerow(["file", "frames", "faces", "error"])
            self.commit()

    def _sizes(self) -> dict[str, int]:
        """Return how many bytes of each file count."""
        path = self.folder / _STATE
        if not path.exists():
            if there := [name for name in (ROWS, LINES, FILES) if (self.folder / name).exists()]:
                raise ConfigError(
                    f"output_dir={self.folder} holds {there[0]}, which no prediction left. Choose another."
                )
            return {ROWS: 0, LINES: 0, FILES: 0}
        try:
            state = read_json(path)
            sizes = {name: state["sizes"][name] for name in (ROWS, LINES, FILES)}
            good = state["format"] == _FORMAT and all(
                isinstance(size, int) and 0 <= size <= (self.folder / name).stat().st_size
                for name, size in sizes.items()
            )
            recipe = dict(state["recipe"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read. Delete its folder, or choose another output_dir.") from error
        if not good:
            raise ConfigError(
                f"{path}: does not fit the files beside it. Delete its folder, or choose another output_dir."
            )
        for key, value in self.recipe.items():
            if recipe.get(key) != value:
                raise ConfigError(
                    f"output_dir={self.folder} holds predictions with {key}={recipe.get(key)}, not {value}. Choose "
                    f"another output_dir."
                )
        return sizes

    def _opened(self, path: Path, size: int) -> IO[str]:
        # Names that are no UTF-8 are written out, and known again so.
        file = path.open("a", newline="", encoding="utf-8", errors="backslashreplace")
        file.truncate(size)
        return file

    def _names(self) -> "np.ndarray[Any, np.dtype[np.uint64]]":
        with (self.folder / FILES).open(newline="", encoding="utf-8") as file:
            names = np.fromiter((_hash(row["file"]) for row in read_csv(file)[1]), np.uint64)
        self.before = len(names)
        return np.unique(names)

    def is_done(self, path: Path) -> bool:
        """Say whether an earlier start has dealt with a file."""
        if not len(self._done):
            return False
        place = int(np.searchsorted(self._done, _hash(_text(path))))
        return place < len(self._done) and int(self._done[place]) == _hash(_text(path))

    def add(
        self, path: Path | str, faces: Iterable[FaceEmotion], frame: int | None = None, seconds: float | None = None,
        tracks: Sequence[int | None] = (),
    ) -> None:  # fmt: skip
        """Write a row for each face of a picture, or of a video's frame."""
        at = "" if seconds is None else f"{seconds:.3f}"
        with _telling(self.folder / ROWS):
            for number, face in enumerate(faces):
                track = tracks[number] if tracks else None
                self._rows.writerow([
                    csv_cell(_text(path)), "" if frame is None else frame, at, "" if track is None else track,
                    number + 1,
                    *(f"{value:.1f}" for value in face.box), "" if face.score is None else f"{face.score:.3f}",
                    csv_cell(face.said), f"{face.confidence:.6f}",
                    *(f"{value:.6f}" for value in face.probabilities.values()),
                ])  # fmt: skip
                where = {"file": _text(path), "frame": frame, "time": None if seconds is None else round(seconds, 3)}
                line = {**where, "track": track, "face": number + 1, **face.to_dict()}
                self._open[LINES].write(json.dumps(line) + "\n")
                self.faces += 1

    def end(self, path: Path | str, faces: int, frames: int | None = None, error: str = "") -> None:
        """Write that a file is dealt with."""
        with _telling(self.folder / FILES):
            row = [csv_cell(_text(path)), "" if frames is None else frames, faces, csv_cell(error)]
            self._files.writerow(row)
        self.files += 1
        if time.monotonic() - self._begun > _EVERY:
            self.commit()

    def flush(self) -> None:
        """Let others read what is written."""
        with _telling(self.folder):
            for file in self._open.values():
                file.flush()

    def commit(self) -> None:
        """Make all that is written count, whatever happens next."""
        self.flush()
        with _telling(self.folder):
            for file in self._open.values():
                os.fsync(file.fileno())
        sizes = {name: os.fstat(file.fileno()).st_size for name, file in self._open.items()}
        with writing(self.folder / _STATE) as state:
            state.write(json.dumps({"format": _FORMAT, "recipe": self.recipe, "sizes": sizes}, indent=2) + "\n")
        self._begun = time.monotonic()

    def close(self) -> None:
        """Close the files; what was not committed is there to read, and is made anew by the next start."""
        for file in self._open.values():
            with _telling(self.folder):
                file.close()


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Say in one sentence that a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def _text(path: Path | str) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
