"""Shards behind a URL: fetched piece by piece and kept, or their lists alone, where images are streamed."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fer import progress
from fer.data.cache_lock import alone
from fer.data.remote import PIECE, Remote, cut_off
from fer.data.scratch import cannot_write
from fer.errors import ConfigError, DatasetError
from fer.files.checksum import sha256
from fer.files.shards import FILE, Index, read_index


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


def look(url: str, cache_dir: Path, lists_alone: bool = False) -> Found:
    """Say what is behind a URL; of shards nothing is fetched yet.

    Args:
        url: The address of the folder.
        cache_dir: Where the folder of fetched shards is made.
        lists_alone: Fetch the lists beside the shards, and no shard: images are read where they stand.

    Raises:
        ConfigError: If the address has a protocol that is not known here, or shards without lists are to be streamed.
        DatasetError: If it cannot be reached, there are no shards, or ``shards.json`` cannot be read.
    """
    remote = Remote(url)
    text = remote.text(FILE)
    if text is not None:
        index = read_index(text, f"{remote.url}/{FILE}")
        if lists_alone:
            remote.refuse_whole_files(FILE)
        wanted = {shard.index: Wanted(None, shard.index_sha256) for shard in index.shards}
        if not lists_alone:
            wanted |= {shard.file: Wanted(shard.bytes, shard.sha256) for shard in index.shards}
        token = hashlib.sha256(text).hexdigest()
    else:
        found = remote.tars()
        if not found:
            raise DatasetError(
                f"data.root={remote.url}: there is no {FILE}, and no list of files with tar shards that others wrote."
            )
        if lists_alone:
            raise ConfigError(
                f"data.stream=true: {remote.url} has shards that others wrote, which say nowhere what stands where in "
                f"them. Pack them with fer.pack and put those there, or leave data.stream out: they are fetched once."
            )
        index, wanted = None, {name: Wanted(size) for name, (size, _) in found.items()}
        token = json.dumps(found)
    name = hashlib.sha256(f"{remote.url}\n{token}".encode()).hexdigest()[:12]
    folder = cache_dir / f"fetched-{name}"

    def fetch() -> None:
        _fetch(remote, wanted, folder)
        for shard in index.shards if index and lists_alone else ():
            size = remote.size(shard.file)
            if size is not None and size != shard.bytes:
                raise DatasetError(
                    f"{remote.url}/{shard.file} has {size:,} bytes, and had {shard.bytes:,} when it was packed. Copy "
                    f"that shard there anew."
                )

    return Found(folder, index, fetch)


def _fetch(remote: Remote, wanted: Mapping[str, Wanted], folder: Path) -> None:
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


def _fetch_one(remote: Remote, name: str, file: Wanted, to: Path) -> None:
    part = to.with_name(f".{name}.part")  # of a killed process: it is gone on with
    with part.open("ab") as written:
        if file.size is None:
            written.truncate(0)
            written.write(remote.piece(name, 0, None))
        while file.size is not None and (at := written.tell()) < file.size:
            try:
                piece = remote.piece(name, at, min(at + PIECE, file.size))
            except DatasetError:  # a server refuses a part beyond the end
                if (size := remote.size(name)) is not None and size <= at:
                    raise cut_off(f"{remote.url}/{name}", size, file.size) from None
                raise
            piece = piece[at:] if len(piece) == file.size else piece  # a server that knows no ranges sends all of it
            if not piece:
                raise cut_off(f"{remote.url}/{name}", at, file.size)
            written.write(piece)
    if file.sha256 is not None and sha256(part) != file.sha256:
        part.unlink()
        raise DatasetError(
            f"{remote.url}/{name} is not as it was packed: its sha256 is another. Copy that shard there anew."
        )
    os.replace(part, to)
