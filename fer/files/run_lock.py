"""One process a folder: a folder of its own for each command, and a lock while one is at work in it."""

import errno
import fcntl
import os
import tempfile
import time
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, flag_override
from omegaconf.errors import OmegaConfBaseException

from fer import ranks
from fer.errors import ConfigError

_held: dict[Path, int] = {}


class OwnFolder(Callback):
    """Hydra callback: a folder named by the second becomes this command's alone; a second one gets ``-2`` added.

    Args:
        together: Whether all processes that a launcher has started are one command: the first alone has a folder then,
            and tells the others of it.
    """

    def __init__(self, together: bool = False) -> None:
        self.together = together

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before the command."""
        place = ranks.place()
        if self.together and place.launcher and place.rank:
            _wait(config)
        else:
            _claim(config, "run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before the first job."""
        _claim(config, "sweep")


def _wait(config: DictConfig) -> None:
    """Leave no file anywhere until the first process has told its folder."""
    with flag_override(config, ["readonly", "struct"], False):
        config.hydra.run.dir, config.hydra.output_subdir = tempfile.gettempdir(), None
        config.hydra.job_logging.root.handlers = ["console"]


def _claim(config: DictConfig, mode: str) -> None:
    if any(override.startswith(f"hydra.{mode}.dir=") for override in config.hydra.overrides.hydra):
        return  # the user's choice, which may be a folder that is there
    # Hydra does so later; a folder's name may hold ${hydra:...}. A copy, since this makes its own read-only.
    HydraConfig.instance().set_config(deepcopy(config))
    with suppress(OmegaConfBaseException, OSError):  # Hydra meets the same error next, and says it
        wanted = Path(config.hydra[mode].dir)
        wanted.parent.mkdir(parents=True, exist_ok=True)
        folder, number = wanted, 1
        while True:
            try:
                folder.mkdir()
                break
            except FileExistsError:
                number += 1
                folder = wanted.with_name(f"{wanted.name}-{number}")
        with flag_override(config, "readonly", False):
            config.hydra[mode].dir = str(folder)  # resolved again, the name could hold the next second


def hold(run: Path, patience: float = 3, key: str = "output_dir") -> None:
    """Lock a command's folder until this process ends.

    Args:
        run: The folder.
        patience: Seconds to wait for another process to leave it.
        key: The option that names it.

    Raises:
        ConfigError: If another command is at work in it.
    """
    run = run.resolve()
    if run in _held:
        return
    handle = os.open(run, os.O_RDONLY)
    deadline = time.monotonic() + patience  # a process that was just ended may still be going
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                break  # a file system without locks
            if time.monotonic() > deadline:
                os.close(handle)
                raise ConfigError(f"{key}={run}: another command is at work in it. Choose another.") from error
            time.sleep(0.1)
    _held[run] = handle


def is_locked(run: Path) -> bool:
    """Say whether another process trains in a folder."""
    if run.resolve() in _held:
        return False
    try:
        handle = os.open(run, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(handle)
    return False


def _release_in_child() -> None:
    """A loader's worker must not hold the lock of a run whose own process was killed."""
    for handle in _held.values():
        with suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)
