"""Images in tar files, read where they stand: nothing is unpacked; behind a URL nothing but them is fetched."""

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from itertools import islice
from pathlib import Path, PurePosixPath

ENDING = ".tar"
_AT_ONCE = 64  # files that are fetched together


@dataclass(frozen=True)
class Member:
    """A file in a tar file."""

    root: Path | str
    """The folder that the tar file is in, or its URL."""
    tar: str
    """The tar file, relative to it."""
    name: str
    offset: int
    """Where its bytes begin in the tar file."""
    size: int

    def read_bytes(self) -> bytes:
        """Return its content.

        Raises:
            OSError: If the tar file cannot be read, or ends before.
            DatasetError: If it is behind a URL and cannot be fetched.
        """
        if is_url(self.root):
            return _fetched([self])[0].content
        with Path(self.root, self.tar).open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(f"{self.tar} ends before its member {self.name} does")
        return content

    def open(self) -> BytesIO:
        """Return its content as a file."""
        return BytesIO(self.read_bytes())


@dataclass(frozen=True)
class _Fetched(Member):
    """A file in a tar file behind a URL, whose content is here."""

    content: bytes = field(repr=False)

    def read_bytes(self) -> bytes:
        """Return its content."""
        return self.content


def members(tar: Path) -> dict[str, Member]:
    """Return the files in a tar file by their names, in its order; nothing of their content is read.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a tar file, is cut off in a header, or a name leads out of it.
    """
    about = tar.stat()
    return _members(tar, (about.st_ino, about.st_size, about.st_mtime_ns))


@lru_cache(maxsize=8)
def _members(tar: Path, version: tuple[int, int, int]) -> dict[str, Member]:
    try:
        with tarfile.open(tar, "r:") as opened:
            listed = [one for one in opened if one.isfile()]
    except tarfile.TarError as error:
        raise ValueError(f"not a tar file, or cut off ({error})") from error
    found = {}
    for one in listed:
        name = PurePosixPath(one.name)
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(f"its member {one.name!r:.100} has a name that leads out of it")
        found[str(name)] = Member(tar.parent, tar.name, one.name, one.offset_data, one.size)
    return found


def member_at(path: Path) -> Member | None:
    """Return the member of a tar file that a path names (``faces.tar/7.jpg``); None if it names a file of its own."""
    tar = tar_of(path)
    return members(tar).get(path.relative_to(tar).as_posix()) if tar else None


def tar_of(path: Path) -> Path | None:
    """Return the tar file in which a path stands (``faces.tar`` of ``faces.tar/7.jpg``); None if it stands in none."""
    return next((one for one in path.parents if one.suffix == ENDING and one.is_file()), None)


class Tars:
    """A folder of tar files whose members are named as files in folders are: ``tars / "train-000000.tar/7.jpg"``.

    Args:
        root: The folder, or its URL.
        members: The members by that name.
    """

    def __init__(self, root: Path | str, members: Mapping[str, Member]) -> None:
        self.root, self.members = root, members

    def __truediv__(self, name: str) -> Member:
        return self.members[name]

    @property
    def files(self) -> set[str]:
        """The tar files, relative to the folder."""
        return {member.tar for member in self.members.values()}

    def __str__(self) -> str:
        return str(self.root)


def is_url(root: Path | str) -> bool:
    """Say whether files are behind a URL, not in a folder."""
    return isinstance(root, str) and "://" in root


def place_of(root: Path | Tars) -> str:
    """Return where files are: the folder's path without links, or the URL."""
    folder = root.root if isinstance(root, Tars) else root
    return str(folder) if is_url(folder) else os.path.realpath(folder)


def at_hand(files: Sequence[Path | Member]) -> list[Path | Member]:
    """Return files that can be read without waiting for each: what is behind a URL is fetched, all at once.

    Args:
        files: Image files, or members of tar files of one folder or URL.

    Raises:
        DatasetError: If they cannot be fetched.
    """
    members = [file for file in files if isinstance(file, Member) and is_url(file.root)]
    return [*_fetched(members)] if members else [*files]


def each_at_hand(files: Iterable[Path | Member]) -> Iterator[Path | Member]:
    """Give files one by one that can be read without waiting for each, see :func:`at_hand`."""
    rest = iter(files)
    while some := list(islice(rest, _AT_ONCE)):
        yield from at_hand(some)


def _fetched(members: Sequence[Member]) -> list[_Fetched]:
    from fer.data.remote import Remote  # fsspec, which few need

    parts = [(one.tar, one.offset, one.offset + one.size) for one in members]
    contents = Remote(str(members[0].root)).parts(parts)
    return [_Fetched(m.root, m.tar, m.name, m.offset, m.size, c) for m, c in zip(members, contents, strict=True)]
