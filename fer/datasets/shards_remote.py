"""Shards behind a URL (``https://``, ``s3://``, ...): fetched piece by piece through fsspec, and kept by the cache."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import fsspec

from fer import progress
from fer.data.cache_lock import alone
from fer.data.scratch import cannot_write
from fer.errors import ConfigError, DatasetError
from fer.files.shards import FILE, Index, read_index, sha256

T = TypeVar("T")

_PIECE = 2**23  # bytes asked for at a time
_TRIES = 3


class Wanted(NamedTuple):
    """A file to fetch."""

    size: int | None
    """None if it is not known: the file is then asked for whole."""
    sha256: str | None = None
    """None if it is not known."""


@dataclass(frozen=True)
class Found:
    """Shards behind a URL."""

    folder: Path
    """Where they are fetched to; it is called by what they hold."""
    index: Index | None
    """What ``shards.json`` says; None for shards that others wrote."""
    fetch: Callable[[], None]
    """Fetches all that is not in the folder yet."""


def look(url: str, cache_dir: Path) -> Found:
    """Say what is behind a URL; of shards nothing is fetched yet.

    Args:
        url: The address of the folder.
        cache_dir: Where the folder of fetched shards is made.

    Raises:
        ConfigError: If the address has a protocol that is not known here.
        DatasetError: If it cannot be reached, there are no shards, or ``shards.json`` cannot be read.
    """
    remote = _Remote(url)
    text = remote.text(FILE)
    if text is not None:
        index = read_index(text, f"{remote.url}/{FILE}")
        wanted = {shard.index: Wanted(None, shard.index_sha256) for shard in index.shards}
        wanted |= {shard.file: Wanted(shard.bytes, shard.sha256) for shard in index.shards}
        token = hashlib.sha256(text).hexdigest()
    else:
        found = remote.tars()
        index, wanted = None, {name: Wanted(size) for name, (size, _) in found.items()}
        token = json.dumps(found)
    name = hashlib.sha256(f"{remote.url}\n{token}".encode()).hexdigest()[:12]
    folder = cache_dir / f"fetched-{name}"
    return Found(folder, index, partial(_fetch, remote, wanted, folder))


class _Remote:
    """A folder behind a URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self.files, self.path = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"data.root={url}: {str(error).rstrip('.')}.") from error

    def text(self, name: str) -> bytes | None:
        """Return the content of a small file; None if there is no such file."""
        try:
            return bytes(self.ask(name, self.files.cat_file, f"{self.path}/{name}"))
        except FileNotFoundError:
            return None

    def piece(self, name: str, start: int, end: int | None) -> bytes:
        """Return a part of a file."""
        return bytes(self.ask(name, self.files.cat_file, f"{self.path}/{name}", start=start, end=end))

    def tars(self) -> dict[str, tuple[int, str]]:
        """Return the tar files, each with its size and what tells its version from others."""
        try:
            paths = sorted(self.ask("", self.files.ls, self.path, detail=False))
        except FileNotFoundError:
            paths = []
        found = {}
        for path in (path for path in paths if path.endswith(".tar")):
            about = self.ask("", self.files.info, path)
            version = [str(about.get(key)) for key in ("ETag", "etag", "LastModified", "mtime", "updated", "created")]
            found[path.rpartition("/")[2]] = int(about["size"]), " ".join(version)
        if not found:
            raise DatasetError(
                f"data.root={self.url}: there is no {FILE}, and no list of files with tar shards that others wrote."
            )
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
                        f"the connection and your rights, then run the command again: what was fetched is kept."
                    ) from error
                time.sleep(tried)
        raise AssertionError


def _fetch(remote: _Remote, wanted: Mapping[str, Wanted], folder: Path) -> None:
    """Fetch files that are not in a folder yet; one of several processes does.

    Raises:
        DatasetError: If a file is missing or not what was packed, the URL cannot be reached, or there is no space.
    """
    total = sum(file.size or 0 for file in wanted.values())
    with alone(folder), progress.bar("fetching shards", total) as bar:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, file in wanted.items():
                if not (folder / name).is_file():
                    _fetch_one(remote, name, file, folder / name)
                bar.update(file.size or 0)
        except FileNotFoundError as error:
            raise DatasetError(f"{remote.url}/{name} is missing, though it is listed there.") from error
        except OSError as error:
            raise cannot_write(folder, total, error) from error


def _fetch_one(remote: _Remote, name: str, file: Wanted, to: Path) -> None:
    part = to.with_name(f".{name}.part")  # of a killed process: it is gone on with
    with part.open("ab") as written:
        if file.size is None:
            written.truncate(0)
            written.write(remote.piece(name, 0, None))
        while file.size is not None and (at := written.tell()) < file.size:
            piece = remote.piece(name, at, min(at + _PIECE, file.size))
            piece = piece[at:] if len(piece) == file.size else piece  # a server that knows no ranges sends all of it
            if not piece:
                raise DatasetError(f"{remote.url}/{name} ends at byte {at:,} of {file.size:,}: it is cut off.")
            written.write(piece)
    if file.sha256 is not None and sha256(part) != file.sha256:
        part.unlink()
        raise DatasetError(
            f"{remote.url}/{name} is not as it was packed: its sha256 is another. Copy that shard there anew."
        )
    os.replace(part, to)
