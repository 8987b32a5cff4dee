"""Files written whole or not at all, and one sentence where they cannot be written. Imports nothing slow."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from fer.errors import FERError

log = logging.getLogger(__name__)

_ADVICE = {
    errno.ENOSPC: "no space is left. Free some",
    errno.EDQUOT: "the disk quota is used up. Free some space",
    errno.EFBIG: "the file would be larger than is allowed. Raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only. Make it writable, or choose another folder",
    errno.EACCES: "writing there is not permitted. Change its permissions, or choose another folder",
    errno.EPERM: "writing there is not permitted. Change its permissions, or choose another folder",
    errno.ENOENT: "its folder is gone. Make it again",
}


class UnwritableError(FERError):
    """A file that cannot be written."""


def unwritable(path: str | Path, error: OSError, then: str = "") -> UnwritableError:
    """Return the error that says which file cannot be written, why, and what to do.

    Args:
        path: The file.
        error: What the system said.
        then: How to go on once there is room, such as ``resume=<run>``.
    """
    advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}. Mend that")
    again = f", then go on with {then}" if then else ", then run the command again"
    return UnwritableError(f"{path}: cannot be written: {advice}{again}.")


@contextmanager
def writing(path: Path, mode: str = "w", newline: str | None = None, then: str = "") -> Iterator[IO[Any]]:
    """Open a file that takes the place of ``path`` once it is complete; until then, and on any error, ``path`` stays.

    Args:
        path: The file.
        mode: ``w`` for text (UTF-8) or ``wb`` for bytes.
        newline: As in :func:`open`.
        then: How to go on after the error, see :func:`unwritable`.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open(mode, newline=newline, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error, then) from error
        raise


@contextmanager
def if_possible(path: Path) -> Iterator[None]:
    """Go on with a warning where a file cannot be written that nothing else depends on, such as a picture.

    Args:
        path: The file that the block writes.
    """
    try:
        yield
    except UnwritableError as error:
        log.warning("%s It is left out.", error)
    except OSError as error:
        log.warning("%s It is left out.", unwritable(path, error))
