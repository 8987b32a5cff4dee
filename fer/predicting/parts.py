"""What several workers leave of a prediction: the pictures in parts, each a Parquet file, written whole or not at all.

A part that stands there is done; one that a worker has locked is being made; any other is to be made, also after its
worker was killed: the system takes a dead process's locks away. So each picture is in one part, once, whoever works
on it, on one machine or on several that share the folder. No torch.
"""

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from fer.errors import ConfigError, FERError
from fer.files.atomic import unwritable, writing
from fer.files.text import read_json
from fer.predicting.changed import mark
from fer.predicting.faces import FaceEmotion
from fer.predicting.sources import Files

FOLDER = "parts"

_PLAN, _FORMER_PLAN = "_plan.json", "plan.json"  # Arrow and pandas, which read the folder, pass over a name with _
_FORMAT = 2
_SMALLEST, _LARGEST, _PARTS = 64, 10_000, 256  # pictures in a part, and how many parts there are if it can be so


class Parts:
    """The parts of a prediction, in the order of the source.

    Args:
        folder: Where they stand.
        files: The source.
        recipe: What decides the predictions; a folder with those of another recipe is refused.

    Raises:
        ConfigError: If the folder holds predictions of another recipe or of other pictures.
        UnwritableError: If it cannot be written to.
    """

    def __init__(self, folder: Path, files: Files, recipe: Mapping[str, Any]) -> None:
        self.folder, self.files = folder, files
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                os.replace(folder / _FORMER_PLAN, folder / _PLAN)
        except OSError as error:
            raise unwritable(folder, error) from error
        names = hashlib.blake2b(digest_size=16)
        for path in files.of_kind(video=False):
            names.update(_entry(path))
        size = min(max(-(-files.pictures // _PARTS), _SMALLEST), _LARGEST)
        self._names = names.hexdigest()
        plan = {"format": _FORMAT, "pictures": files.pictures, "names": self._names, "size": size, **recipe}
        while not self._settle(plan):
            time.sleep(0.1)
        self.size = size
        self.count = -(-files.pictures // size)

    def _settle(self, plan: Mapping[str, Any]) -> bool:
        """Write the plan, or compare it with the one that is there; False while another process does so."""
        path = self.folder / _PLAN
        with _locked(path) as mine:
            if not mine:
                return False
            if not path.exists():
                with writing(path) as file:
                    file.write(json.dumps(plan, indent=2) + "\n")
                return True
            try:
                before = dict(read_json(path))
            except (OSError, ValueError, TypeError) as error:
                raise ConfigError(
                    f"{path}: cannot be read. Delete its folder, or choose another output_dir."
                ) from error
        for key, value in plan.items():
            if before.get(key) != json.loads(json.dumps(value)):
                what = f"{key}={before.get(key)}"
                if key in ("pictures", "names", "size"):
                    what = "other pictures, or of some that were changed since"
                raise ConfigError(
                    f"output_dir={self.folder.parent} holds predictions of {what}. Choose another output_dir."
                )
        return True

    def path(self, number: int) -> Path:
        """Return where a part stands once it is done."""
        return self.folder / f"part-{number:05d}.parquet"

    def left(self) -> list[int]:
        """Return the numbers of the parts that are not done."""
        return [number for number in range(self.count) if not self.path(number).exists()]

    def pictures(self, numbers: Iterable[int]) -> int:
        """Return how many pictures parts hold."""
        return sum(min(self.size, self.files.pictures - number * self.size) for number in numbers)

    def taken(self) -> Iterator[tuple[int, list[Path]]]:
        """Yield each part that is neither done nor being made, with its pictures; it is locked until the next one.

        Raises:
            FERError: After the last, if the source holds other pictures by now: they may stand in other parts.
        """
        paths, names = self.files.of_kind(video=False), hashlib.blake2b(digest_size=16)
        for number in range(self.count):
            pictures = list(islice(paths, self.size))
            for path in pictures:
                names.update(_entry(path))
            if self.path(number).exists():
                continue
            with _locked(self.path(number)) as mine:
                if mine and not self.path(number).exists():
                    yield number, pictures
        if next(paths, None) is not None or names.hexdigest() != self._names:
            raise FERError(
                f"{self.folder}: the source's pictures changed while they were predicted, so some may stand in two "
                f"parts or in none. Delete this folder and give the command again."
            )


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Lock a file that is to be written; False if another process has done so."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        file = lock.open("w")
    except OSError as error:
        raise unwritable(lock, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                yield False
                return
            raise FERError(
                f"{lock.parent}: its file system has no locks ({error}). Choose another output_dir."
            ) from error
        try:
            yield True
        finally:
            with suppress(OSError):
                lock.unlink()


class Part:
    """The answers of a part's pictures, kept until all of them are there; in place of a Record.

    Args:
        folder: The prediction's folder.
        classes: The model's classes.
        first: Number of the part's first picture in the source.
    """

    def __init__(self, folder: Path, classes: Sequence[str], first: int) -> None:
        self.folder, self.classes = folder, classes
        self.faces = 0
        """Faces so far."""
        self._picture = first
        self._rows: list[dict[str, Any]] = []

    def is_done(self, path: Path) -> bool:
        """Say that no picture was dealt with before."""
        return False

    def add(self, path: Path | str, faces: Iterable[FaceEmotion]) -> None:
        """Keep a row for each face of a picture."""
        for number, face in enumerate(faces, start=1):
            sides = dict(zip(("left", "top", "right", "bottom"), face.box, strict=True))
            said = {"emotion": face.said, "confidence": face.confidence, "score": face.score}
            named = {f"p_{name}": value for name, value in face.probabilities.items()}
            self._rows.append({"file": _text(path), "picture": self._picture, "face": number, **sides, **said, **named})
            self.faces += 1

    def end(self, path: Path | str, faces: int, frames: int | None = None, error: str = "") -> None:
        """Keep a row without a face for a picture that holds none, or cannot be read."""
        if not faces:
            self._rows.append({"file": _text(path), "picture": self._picture, "error": error or None})
        self._picture += 1

    def write(self, path: Path) -> None:
        """Write the part.

        Raises:
            UnwritableError: If there is no space, or no permission.
        """
        import pyarrow as pa
        from pyarrow import parquet

        numbers = ("left", "top", "right", "bottom", "score", "confidence", *(f"p_{name}" for name in self.classes))
        columns = {"file": pa.string(), "picture": pa.int64(), "face": pa.int32(), "emotion": pa.string()}
        columns |= dict.fromkeys(numbers, pa.float32()) | {"error": pa.string()}
        with writing(path, "wb") as file:
            parquet.write_table(pa.Table.from_pylist(self._rows, pa.schema(columns)), file, compression="zstd")


def _entry(path: Path) -> bytes:
    """Return what the plan knows a picture by: its name, size and when it was changed."""
    return os.fsencode(path) + f" {mark(str(path))}\n".encode()


def _text(path: Path | str) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()
