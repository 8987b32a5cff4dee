"""A folder behind a URL (``https://``, ``s3://``, ...), read through fsspec, whole files or parts of them."""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.utils import merge_offset_ranges

from fer.errors import ConfigError, DatasetError

T = TypeVar("T")

PIECE = 2**23
"""Bytes asked for at a time."""
_GAP = 2**14  # bytes between two parts that are fetched too, rather than asking twice
_TOGETHER = 32  # requests of one call that go side by side
_VERSION = ("ETag", "etag", "LastModified", "Last-Modified", "mtime", "updated", "created", "Content-MD5", "Digest")
"""What stores call that by which a changed file is known."""
_TRIES = 3
_KEPT: dict[int, Any] = {}
"""File systems for as long as the process lives: one that a fork inherits and frees closes its parent's connections."""


class Remote:
    """A folder behind a URL; a process that was forked needs one of its own.

    Args:
        url: Its address.

    Raises:
        ConfigError: If the address has a protocol that is not known here.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self.files, self.path = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"data.root={url}: {str(error).rstrip('.')}.") from error
        _KEPT[id(self.files)] = self.files

    def text(self, name: str) -> bytes | None:
        """Return the content of a small file; None if there is no such file."""
        try:
            return bytes(self.ask(name, self.files.cat_file, f"{self.path}/{name}"))
        except FileNotFoundError:
            return None

    def piece(self, name: str, start: int, end: int | None) -> bytes:
        """Return a part of a file; of a server that knows no parts all of it."""
        return bytes(self.ask(name, self.files.cat_file, f"{self.path}/{name}", start=start, end=end))

    def parts(self, wanted: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Return parts of files, with as few requests as that takes, side by side where the file system can.

        Args:
            wanted: File, first byte, and the byte after the last.

        Raises:
            DatasetError: If one cannot be reached, or ends before.
        """
        asked = [(f"{self.path}/{name}", start, end) for name, start, end in wanted if start < end]
        if not asked:
            return [b""] * len(wanted)
        names, starts, ends = (list(column) for column in zip(*asked, strict=True))
        paths, starts, ends = merge_offset_ranges(names, starts, ends, max_gap=_GAP, max_block=PIECE)
        together = {"batch_size": _TOGETHER} if isinstance(self.files, AsyncFileSystem) else {}
        try:
            fetched = self.files.cat_ranges(paths, starts, ends, on_error="return", **together)
        except Exception as error:  # each kind of file system has errors of its own
            fetched = [error] * len(paths)
        blocks = [self._whole(*block) for block in zip(paths, starts, ends, fetched, strict=True)]
        begins = list(zip(paths, starts, strict=True))  # in order
        found = []
        for name, start, end in wanted:
            place = bisect_right(begins, (f"{self.path}/{name}", start)) - 1
            found.append(blocks[place][start - starts[place] : end - starts[place]] if start < end else b"")
            if len(found[-1]) != end - start:
                raise cut_off(f"{self.url}/{name}", start + len(found[-1]), end)
        return found

    def _whole(self, path: str, start: int, end: int, fetched: bytes | BaseException) -> bytes:
        """Return a part that was asked for among others, or ask for it alone."""
        name = path.removeprefix(f"{self.path}/")
        if isinstance(fetched, BaseException) and (size := self.size(name)) is not None and size < end:
            raise cut_off(f"{self.url}/{name}", size, end)
        try:
            content = self.piece(name, start, end) if isinstance(fetched, BaseException) else fetched
        except FileNotFoundError as error:
            raise DatasetError(f"{self.url}/{name} is missing, though it is listed there.") from error
        return content

    def size(self, name: str) -> int | None:
        """Return a file's length; None if there is no such file, or it cannot be told."""
        try:
            size = self.files.info(f"{self.path}/{name}")["size"]
        except Exception:  # each kind of file system has errors of its own
            return None
        return None if size is None else int(size)

    def refuse_whole_files(self, name: str) -> None:
        """Refuse a server that sends a whole file where a part is asked for.

        Args:
            name: A small file that is there.

        Raises:
            DatasetError: If it does, or cannot be reached.
        """
        if len(self.piece(name, 0, 1)) != 1:
            raise DatasetError(
                f"{self.url}: this server sends whole files only, and data.stream=true asks for parts of them. Leave "
                f"data.stream out: the shards are then fetched once, and kept."
            )

    def tars(self) -> dict[str, tuple[int, str]]:
        """Return the tar files, each with its size and what tells its version from others."""
        try:
            paths = sorted(self.ask("", self.files.ls, self.path, detail=False))
        except FileNotFoundError:
            paths = []
        found = {}
        for path in (path for path in paths if path.endswith(".tar")):
            about = self.ask("", self.files.info, path)
            version = [str(about.get(key)) for key in _VERSION]
            found[path.rpartition("/")[2]] = int(about["size"]), " ".join(version)
        return found

    def ask(self, name: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a function of the file system, more than once if it fails.

        Raises:
            FileNotFoundError: If there is no such file.
            DatasetError: If it fails each time.
        """
        for tried in range(1, _TRIES + 1):
            try:
                return function(*args, **options)
            except FileNotFoundError:
                raise
            except Exception as error:  # each kind of file system has errors of its own
                if tried == _TRIES:
                    raise DatasetError(
                        f"{self.url}/{name} cannot be reached ({type(error).__name__}: {error}). Check the address, "
                        f"the connection and your rights, then run the command again."
                    ) from error
                time.sleep(tried)
        raise AssertionError


def cut_off(file: str, at: int, size: int) -> DatasetError:
    """Return the error of a file that ends early."""
    return DatasetError(f"{file} ends at byte {at:,} of {size:,}: it is cut off.")
