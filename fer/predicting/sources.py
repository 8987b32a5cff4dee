"""Where pictures come from: a file, a folder, tar shards, a glob, a list of files, a video or a camera. No torch."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

import cv2

from fer.data import tars
from fer.data.pixels import EXTENSIONS, UNSUPPORTED
from fer.errors import ConfigError
from fer.files.home import expanded
from fer.predicting.record import EXPLAINED, PICTURES, ROWS, STATE

VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv"}
)
"""Endings of videos' names, in lower case."""

_LISTS = (".txt", ".lst", ".list")


def is_video(path: Path) -> bool:
    """Say whether a file is a video, by its name."""
    return path.suffix.lower() in VIDEOS


def camera(source: int | str) -> int | None:
    """Return the number of the camera that a source names; None if it names files."""
    return int(source) if str(source).isdecimal() else None


class Files:
    """The pictures and videos that a source names, in one order each time; never all of them in memory.

    Args:
        source: A file, a folder (all in it, hidden ones left out), a glob, or a list of files (``.txt``, one a line).
            Of a tar file (a shard) all pictures in it are meant, as if it were a folder.

    Raises:
        ConfigError: If there is nothing of that name, no picture or video in it, or a tar file cannot be read.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        path = expanded(source)
        if "://" in source:
            raise ConfigError(f"source={source}: is an address; give a file or folder on this machine.")
        if not path.exists() and not glob.has_magic(source):
            raise ConfigError(
                f"source={source}: no such file or folder. It is a picture, a video, a folder, a shard (.tar), a glob "
                f"('photos/*.jpg'), a list of files (list.txt), or the number of a camera (0)."
            )
        self.single = path.is_file() and path.suffix.lower() not in (*_LISTS, tars.ENDING)
        """Whether the source is one picture or video."""
        pictures = videos = 0
        for item in self._all():
            videos += is_video(item)
            pictures += not is_video(item)
        self.pictures, self.videos = pictures, videos
        if not pictures + videos:
            endings = " ".join(sorted(EXTENSIONS))
            raise ConfigError(f"source={source}: holds no picture and no video. Pictures end in {endings}.")

    def __len__(self) -> int:
        return self.pictures + self.videos

    def of_kind(self, video: bool) -> Iterator[Path]:
        """Yield the videos, or the pictures."""
        return (path for path in self._all() if is_video(path) == video)

    def _all(self) -> Iterator[Path]:
        path = expanded(self.source)
        if path.is_dir():
            yield from _below(path)
        elif path.exists():
            yield from _listed(path) if path.suffix.lower() in _LISTS else _in(path)
        else:
            for found in sorted(glob.iglob(str(path), recursive=True)):
                item = Path(found)
                if _is_drawn(item):
                    continue
                if item.is_dir() and "**" not in self.source:
                    yield from _below(item)
                elif _is_meant(item.name) and not item.is_dir():
                    yield from _in(item)


def _is_drawn(path: Path) -> bool:
    """Say whether a path is, or lies in, the annotated or explained pictures of a prediction."""
    return any(
        folder.name in (PICTURES, EXPLAINED) and _is_prediction(folder.parent) for folder in (path, *path.parents)
    )


def _is_prediction(folder: Path) -> bool:
    return (folder / ROWS).is_file() and (folder / STATE).is_file()


def _is_meant(name: str) -> bool:
    """Say whether a file is a picture or a video by its name; of pictures those too that are then said to be no use."""
    ending = os.path.splitext(name)[1].lower()
    return not name.startswith(".") and (
        ending in EXTENSIONS or ending in UNSUPPORTED or ending in VIDEOS or ending == tars.ENDING
    )


def _in(path: Path) -> Iterator[Path]:
    """Yield a file, or the pictures in a tar file."""
    if path.suffix != tars.ENDING:
        yield path
        return
    try:
        found = tars.members(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Copy it anew, or leave it out.") from error
    yield from (path / name for name in found if os.path.splitext(name)[1].lower() in EXTENSIONS | UNSUPPORTED)


def _below(folder: Path) -> Iterator[Path]:
    """Yield what is meant below a folder; not what an earlier prediction left there, nor behind links to folders.

    Raises:
        ConfigError: If a folder cannot be read.
    """
    for where, folders, names in os.walk(folder, onerror=_unreadable):
        drawn = (PICTURES, EXPLAINED) if {ROWS, STATE} <= set(names) else ()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in drawn)
        for name in sorted(filter(_is_meant, names)):
            yield from _in(Path(where) / name)


def _unreadable(error: OSError) -> None:
    raise ConfigError(f"{error.filename}: cannot be read ({error.strerror}). Change its permissions, or leave it out.")


def _listed(path: Path) -> Iterator[Path]:
    """Yield the files that a list names, each once, relative to the list or to the current folder."""
    said: set[str] = set()
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for line in file:
            name = line.rstrip("\r\n")
            if name.strip() and not name.startswith("#") and name not in said:
                said.add(name)
                item = expanded(name)
                beside = path.parent / item
                yield from _in(beside if beside.exists() or tars.tar_of(beside) else item)


def open_video(path: Path | int) -> cv2.VideoCapture:
    """Open a video or a camera.

    Raises:
        ConfigError: If it cannot be opened.
    """
    if isinstance(path, Path) and not path.is_file():
        raise ConfigError(f"{path}: there is no such file.")
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)  # several lines on the terminal that say nothing
    try:
        # Absolute: FFmpeg takes what stands before a name's colon for the protocol of an address.
        capture = cv2.VideoCapture(path if isinstance(path, int) else os.path.abspath(path))
    finally:
        cv2.utils.logging.setLogLevel(before)
    if capture.isOpened():
        return capture
    if isinstance(path, int):
        there = ", ".join(sorted(name[5:] for name in glob.glob("/dev/video*")))
        raise ConfigError(
            f"source={path}: no camera of this number can be opened. "
            + (f"There are: {there}; another program may be using it." if there else "This machine has none.")
        )
    raise ConfigError(f"{path}: not a video that can be read, or cut off.")
