"""Images in tar files, read where they stand: nothing is unpacked."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path


@dataclass(frozen=True)
class Member:
    """A file in a tar file."""

    tar: Path
    name: str
    offset: int
    """Where its bytes begin in the tar file."""
    size: int

    def read_bytes(self) -> bytes:
        """Return its content.

        Raises:
            OSError: If the tar file cannot be read, or ends before.
        """
        with self.tar.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(f"{self.tar.name} ends before its member {self.name} does")
        return content

    def open(self) -> BytesIO:
        """Return its content as a file."""
        return BytesIO(self.read_bytes())


class Tars:
    """A folder of tar files whose members are named as files in folders are: ``tars / "train-000000.tar/7.jpg"``.

    Args:
        root: The folder.
        members: The members by that name.
    """

    def __init__(self, root: Path, members: Mapping[str, Member]) -> None:
        self.root, self.members = root, members

    def __truediv__(self, name: str) -> Member:
        return self.members[name]

    @property
    def files(self) -> set[str]:
        """The tar files, relative to the folder."""
        return {str(member.tar.relative_to(self.root)) for member in self.members.values()}

    def __fspath__(self) -> str:
        return str(self.root)

    def __str__(self) -> str:
        return str(self.root)
