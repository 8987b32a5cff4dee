"""One process at a time decodes a dataset, and those that wait for it say for whom.

The lock is the system's (``flock``): it is free at once when its holder ends, however that ends. What is in the file
only tells others who holds it.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

_LOOK_S = 0.2  # between two looks whether the lock is free
_SAY_S = 30.0  # between two words on whom this process waits for

_held: set[int] = set()


class _Holder(NamedTuple):
    process: int
    host: str
    machine: str
    since: float


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Run the block in one process at a time: others would decode the same images once more.

    Where the folder's file system has no locks, that is said, and the block runs all the same.

    Args:
        folder: The cache that is made; the lock stands beside it.
    """
    lock = folder.with_name(f".{folder.name}.lock")
    handle = _acquire(lock)
    try:
        yield
    finally:
        if handle in _held:
            _held.discard(handle)
            with suppress(OSError):
                lock.unlink()
            os.close(handle)


def machine() -> str:
    """Return a hash of what process numbers are unique in: the machine, or a container on it."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()}{space}".encode()).hexdigest()[:8]


def _acquire(lock: Path) -> int:
    """Wait for the lock and return its handle; -1 where there can be none."""
    began = time.monotonic()
    said = -_SAY_S
    with suppress(OSError):  # that the folder cannot be written to is said where it is written
        lock.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(handle), os.stat(lock)):  # else the last holder has just removed it
                    _held.add(handle)
                    _sign(handle)
                    return handle
            except FileNotFoundError:  # likewise
                pass
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    os.close(handle)
                    log.warning(
                        "%s: this file system has no file locks (%s). Runs that begin at the same time each read the "
                        "images by themselves, and one result is kept; to have them read once, start one run first, "
                        "or choose a folder on another file system: data.cache_dir=<folder>",
                        lock.parent, error.strerror,
                    )  # fmt: skip
                    return -1
                waited = time.monotonic() - began
                if waited - said >= _SAY_S:
                    said = waited
                    _say(_holder(handle), waited)
                time.sleep(_LOOK_S)
            if handle not in _held:
                os.close(handle)
    return -1


def _sign(handle: int) -> None:
    """Write into the lock's file who holds it."""
    own = _Holder(os.getpid(), platform.node(), machine(), time.time())
    with suppress(OSError):  # a full disk
        os.truncate(handle, 0)
        os.pwrite(handle, json.dumps(own._asdict()).encode(), 0)


def _holder(handle: int) -> _Holder | None:
    """Return who holds a lock; None if the file does not say."""
    try:
        holder = _Holder(**json.loads(os.pread(handle, 4096, 0)))
        holder = _Holder(int(holder.process), str(holder.host)[:80], str(holder.machine), float(holder.since))
        time.localtime(holder.since)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return holder


def _say(holder: _Holder | None, waited: float) -> None:
    who, remedy = "another process, which reads the same images.", "end it"
    if holder is not None:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
        who = f"process {holder.process} on {holder.host}, which reads the same images since {since}."
        remedy = (
            f"on {holder.host}, let it go on with 'kill -CONT {holder.process}', or end it with "
            f"'kill -KILL {holder.process}'"
        )
        if holder.machine == machine() and _is_stopped(holder.process):
            who += " It is stopped."
    if waited < _SAY_S:
        log.info("waiting for %s", who)
        return
    log.warning(
        "waiting for %.0f s now for %s If it hangs: %s, and this run reads the images; or let this one read them for "
        "itself: data.cache_dir=<another folder>",
        waited, who, remedy,
    )  # fmt: skip


def _is_stopped(process: int) -> bool:
    """Say whether a process of this machine is stopped (SIGSTOP, Ctrl-Z, a debugger), where the system tells."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:1] in (["T"], ["t"])
    return False


def _release_in_child() -> None:
    """A worker must not keep the lock of a process that was killed."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)
