"""What a prediction leaves: a row a face, a row a file, and how far it came, so that the next one goes on. No torch."""

import csv
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from fer.errors import ConfigError
from fer.files.atomic import unwritable
from fer.files.csv_table import csv_cell
from fer.files.text import read_json, write_json
from fer.predicting import changed
from fer.predicting.faces import FaceEmotion

ROWS, LINES, FILES = "predictions.csv", "predictions.jsonl", "files.csv"
STATE = "progress.json"
PICTURES = "annotated"
"""The folder of annotated pictures and videos, in that of the prediction."""
EXPLAINED = "explained"
"""The folder of explained pictures, beside it."""
_TRAIL = "unfinished.jsonl"  # a line a frame of the video that is not ended yet
_FORMAT = 2  # 1 knew of no video in the middle
_EVERY = 2.0  # seconds between two looks at the disk
_HEAD = ("file", "frame", "time", "track", "face", "left", "top", "right", "bottom", "score", "emotion", "confidence")


class Record:
    """The files of a prediction, written on and on.

    What was written of a picture that was not ended is taken back; of a video, what was written since the last commit.
    So is what was written of files that are others by now.

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
        self._video: dict[str, Any] | None = None  # the video in the middle, as in progress.json
        self._marks: dict[str, list[int]] = {}  # of files that are being dealt with
        self._columns = ["file", "frames", "faces", "error", *changed.MARK]
        sizes = self._sizes()
        self.files = self.faces = 0
        """Files and faces of this start."""
        self.before = 0
        """Files of earlier starts."""
        self.changed = 0
        """Files of earlier starts that are others by now: to be dealt with anew."""
        self.undone = any(
            (folder / name).exists() and (folder / name).stat().st_size > size for name, size in sizes.items()
        )
        """Whether an earlier start was stopped in the middle, and rows of it are taken back."""
        self._begun = time.monotonic()
        try:
            self._open = {name: self._opened(folder / name, size) for name, size in sizes.items()}
        except OSError as error:
            raise unwritable(folder, error) from error
        self._kept = sizes
        self._done = self._known() if sizes[FILES] else np.empty(0, np.uint64)
        self._rows, self._files = (csv.writer(self._open[name]) for name in (ROWS, FILES))
        if not sizes[ROWS]:
            self._rows.writerow([csv_cell(name) for name in (*_HEAD, *(f"p_{name}" for name in classes))])
            self._files.writerow(self._columns)
            self.commit()

    def _sizes(self) -> dict[str, int]:
        """Return how many bytes of each file count."""
        path = self.folder / STATE
        if not path.exists():
            if there := [name for name in (ROWS, LINES, FILES) if (self.folder / name).exists()]:
                raise ConfigError(
                    f"output_dir={self.folder} holds {there[0]}, which no prediction left. Choose another."
                )
            return {ROWS: 0, LINES: 0, FILES: 0, _TRAIL: 0}
        try:
            state = self._settled(read_json(path))
            sizes = {name: state["sizes"][name] for name in (ROWS, LINES, FILES)}
            sizes[_TRAIL] = state["sizes"].get(_TRAIL, 0)
            good = state["format"] in (1, _FORMAT) and all(map(self._holds, sizes, sizes.values()))
            recipe, video = dict(state["recipe"]), state.get("video")
            if good and video is not None:
                counts = video["frames"], video["faces"]
                good = set(video["before"]) == set(sizes) and all(isinstance(count, int) for count in counts)
                good = good and all(map(self._holds, video["before"], video["before"].values()))
                if changed.mark(video["file"]) == video["mark"]:
                    self._video = video
                else:  # gone, or another by now: from its first frame
                    sizes = {name: video["before"][name] for name in sizes}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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

    def _holds(self, name: str, size: object) -> bool:
        path = self.folder / name
        return isinstance(size, int) and 0 <= size <= (path.stat().st_size if size or name != _TRAIL else 0)

    def _opened(self, path: Path, size: int) -> IO[str]:
        # Names that are no UTF-8 are written out, and known again so.
        file = path.open("a", newline="", encoding="utf-8", errors="backslashreplace")
        file.truncate(size)
        return file

    def _known(self) -> "np.ndarray[Any, np.dtype[np.uint64]]":
        self._columns, done, others = changed.known(self.folder / FILES)
        self.before, self.changed = len(done), len(others)
        if others:
            self._take_out(others)
        return np.unique(done)

    def _take_out(self, names: set[str]) -> None:
        """Take the rows of files out of the tables, all at once."""
        tables = self._tables()
        with _telling(self.folder):
            try:
                sizes = changed.write_without(names, tables)
            except (ValueError, KeyError, TypeError, csv.Error) as error:
                raise ConfigError(
                    f"{self.folder}: its tables are damaged ({error}). Delete it, or choose another output_dir."
                ) from error
        if self._video is not None:  # all that goes stands before it
            less = {name: self._kept[name] - size for name, size in sizes.items()}
            self._video["before"] = {name: size - less.get(name, 0) for name, size in self._video["before"].items()}
        self._kept = {**self._kept, **sizes}
        self._write_state(renewed=True)
        self.close()
        with _telling(self.folder):
            changed.finish(tables)
            self._open = {name: self._opened(self.folder / name, size) for name, size in self._kept.items()}
        self.commit()

    def _tables(self) -> list[Path]:
        return [self.folder / name for name in (ROWS, LINES, FILES)]

    def _settled(self, state: dict[str, Any]) -> dict[str, Any]:
        """End what a start that was killed while it took out rows has begun."""
        if state.pop("renewed", False):
            with _telling(self.folder):
                changed.finish(self._tables())
            write_json(self.folder / STATE, state)
        return state

    def is_done(self, path: Path) -> bool:
        """Say whether an earlier start has dealt with a file; if not, it is to be dealt with as it is now."""
        name = _text(path)
        key = changed.key(name)
        place = int(np.searchsorted(self._done, key))
        if place < len(self._done) and int(self._done[place]) == key:
            return True
        self._marks[name] = changed.mark(name)  # before it is read: a change meanwhile is seen by the next start
        return False

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
            seen = self._marks.pop(_text(path), [])
            seen = self._video["mark"] if self._video else seen
            row = [csv_cell(_text(path)), "" if frames is None else frames, faces, csv_cell(error)]
            self._files.writerow([*row, *(seen or ("", ""))][: len(self._columns)])
        self.files += 1
        self._video = None
        if time.monotonic() - self._begun > _EVERY:
            self.commit()

    def left_in_the_middle(self, videos: Iterable[Path]) -> Path | None:
        """Return the video in which an earlier start was stopped, which is to be done first; None if there is none.

        Args:
            videos: Those of the source; what was written of one that it no longer holds is taken back.
        """
        if self._video is None:
            return None
        for path in videos:
            if _text(path) == self._video["file"]:
                return path
        for name, size in self._video["before"].items():
            self._open[name].truncate(size)
        self._video, self.undone = None, True
        self.commit()
        return None

    def begin(self, path: Path) -> tuple[int, int]:
        """Begin a video, or go on with it.

        Returns:
            The numbers of its frames that are done, and of their faces.
        """
        if self._video is None:
            self.commit()
            self._video = {"file": _text(path), "mark": changed.mark(_text(path)), "frames": 0, "faces": 0}
            self._video["before"] = self._kept
        return self._video["frames"], self._video["faces"]

    @property
    def trail(self) -> Path:
        """The file of the lines that were given to :meth:`reached`."""
        return self.folder / _TRAIL

    def reached(self, lines: Sequence[str], faces: int) -> None:
        """Keep that further frames of a video are done, from which it goes on if it is stopped.

        Args:
            lines: What is needed for that, a line a frame.
            faces: Their number of faces.
        """
        assert self._video is not None
        with _telling(self.folder / _TRAIL):
            self._open[_TRAIL].writelines(lines)
        self._video["frames"] += len(lines)
        self._video["faces"] += faces
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
        self._kept = {name: os.fstat(file.fileno()).st_size for name, file in self._open.items()}
        if self._video is None:
            self._kept[_TRAIL] = 0
        self._write_state()
        self._open[_TRAIL].truncate(self._kept[_TRAIL])  # now that it is not needed any more
        self._begun = time.monotonic()

    def _write_state(self, **more: bool) -> None:
        content = {"format": _FORMAT, "recipe": self.recipe, "sizes": self._kept, "video": self._video}
        write_json(self.folder / STATE, {**content, **more})

    def close(self) -> None:
        """Close the files; what was not committed is there to read, and is made anew by the next start."""
        for file in self._open.values():
            with _telling(self.folder):
                file.close()
        if self._video is None:
            (self.folder / _TRAIL).unlink(missing_ok=True)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Say in one sentence that a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def _text(path: Path | str) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()
