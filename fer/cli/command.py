"""From the command line to a checked config, and from an error to one clear message and an exit code.

Imports nothing slow: whatever is wrong with a command is said before torch is loaded.
"""

import errno
import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fer import compat, ranks
from fer.cli import config_check, launch_check, resolvers, sweep
from fer.cli import help as help_text
from fer.cli.continuing import continued
from fer.cli.hints import explain, refuse
from fer.cli.starting import started
from fer.config.groups import conf_dir
from fer.config.quoting import quoted
from fer.display import plain
from fer.environment import CHILD
from fer.errors import FERError, Interrupted, ScoringInterrupted
from fer.extras import OPTIONAL_PACKAGES, missing_package

_CONFIG_ERROR = 2
_TOLD_S = 5  # for another process to say what is wrong
# What a full disk, a read-only folder or a file in a folder's place come as, wherever something is written.
_UNWRITABLE = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR,
    errno.ENAMETOOLONG,
)  # fmt: skip


def run(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Run a command: compose its config, check it, call ``task``; an error ends the process with an exit code.

    Args:
        task: The command, a function of a module, called with the composed config.
        config_name: The primary config (``train``, ``test``, ...).
    """
    # Otherwise Hydra prints tracebacks of its own, and exits with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        sys.path.insert(0, os.getcwd())  # where a network of the user's own may be
    except FileNotFoundError:
        _end("error: the current folder is gone. Change to one that is there: cd <folder>", _CONFIG_ERROR)
    if sys.argv[1:] == ["help"]:
        sys.argv[1:] = ["--help"]
    if any(flag in sys.argv[1:] for flag in ("--version", "-V")):  # Hydra would give its own
        print(help_text.version())
        return
    if launch_check.is_left_to_the_first(config_name):
        return
    resolvers.register()
    help_text.register_resolvers()
    checked = _Checked(task)
    try:
        sys.argv[1:] = [quoted(arg) for arg in sys.argv[1:]]
        refuse(sys.argv[1:], config_name)
        sys.argv[1:] = rewrite(sys.argv[1:], config_name)
        with compat.hidden_config_parts():
            hydra.main(config_path=str(conf_dir()), config_name=config_name, version_base="1.3")(checked)()
    except Interrupted as stop:
        sweep.report()
        _end(str(stop), stop.exit_code)
    except ScoringInterrupted as stop:
        sweep.report()
        _end("interrupted", stop.exit_code)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except BrokenPipeError:  # --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at exit
        sys.exit(141)
    except Exception as error:
        sweep.report()
        message = _message(error, config_name)
        if message is None:
            raise
        _end(f"error: {message}", _CONFIG_ERROR)
    sweep.report()


def _message(error: Exception, config_name: str) -> str | None:
    """Return what is said of an error that the user can act on; None for any other."""
    if isinstance(error, FERError):
        return str(error)
    if isinstance(error, OverrideParseException):
        key, given, value = str(error.override).partition("=")
        remedy = "Choices are written key=value."
        if given:
            remedy = f"Close each bracket, or, if the value is text, give it quotes of its own: '{key}=\"{value}\"'"
        return f"{error.override}: cannot be read. {remedy}"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain(str(error), config_name)
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in OPTIONAL_PACKAGES:
        return missing_package(str(error.name))
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        full = "Free some space, or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose"
        return f"{error.filename or 'a file'}: {error.strerror}. {full} another folder."
    return None


class _Checked:
    """The task behind its config check; picklable, so that launchers can hand it to other processes."""

    passed = False
    """Whether the config of this process has been found good."""

    def __init__(self, task: Callable[[DictConfig], Any]) -> None:
        self.task = task
        # Hydra names the job and finds the module by these.
        self.__module__, self.__name__, self.__qualname__ = task.__module__, task.__name__, task.__qualname__

    def __call__(self, cfg: DictConfig) -> Any:
        resolvers.register()  # in a launcher's own process too
        try:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                sweep.stand_where_it_began()
            config_check.check(cfg)
            config_check.check_paths(cfg)
            _Checked.passed = True
            if HydraConfig.get().mode == RunMode.MULTIRUN and self.__module__ == "fer.train":
                before = sweep.take_up(cfg)
                if before is not None:
                    return before
            return self.task(cfg)
        except FERError as error:
            if HydraConfig.get().mode == RunMode.RUN:  # a sweep marks the job as failed and goes on
                if HydraConfig.get().output_subdir is not None:  # else the folder is a run's that was to go on
                    _remove_unused(Path(HydraConfig.get().runtime.output_dir))
                _end(f"error: {error}", _CONFIG_ERROR)
            sweep.note_failure(str(error))
            raise
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                sweep.note_failure(f"{type(error).__name__}: {error}")
            raise


def _remove_unused(folder: Path) -> None:
    """Remove the folder that Hydra made for a run that never began."""
    if all(path.name == ".hydra" or path.suffix == ".log" for path in folder.glob("*")):
        shutil.rmtree(folder / ".hydra", ignore_errors=True)
        for log in folder.glob("*.log"):  # what it says was printed
            log.unlink(missing_ok=True)
        with suppress(OSError):  # not empty: something of the user's
            for unused in (folder, folder.parent):
                if unused.resolve() != Path.cwd():  # an empty folder that the user works in
                    unused.rmdir()


def _end(message: str, code: int) -> None:
    if not _Checked.passed and (place := ranks.place()).launcher and place.local:
        time.sleep(_TOLD_S)  # the first process on this machine says the same, before its launcher ends all
        sys.exit(code)
    print(plain(message, keep="\n\t"), file=sys.stderr, flush=True)
    for child in multiprocessing.active_children():  # loaders, which ignore SIGTERM and would be waited for
        child.kill()
    sys.exit(code)


def rewrite(argv: list[str], config_name: str = "train") -> list[str]:
    """Turn our shorthands into Hydra's overrides.

    ``against=`` of ``fer.audit`` is a second dataset; of ``fer.train``:

    ``resume=<run>`` and ``ckpt=<run>/checkpoints/last.ckpt`` go on with a run (:mod:`fer.cli.continuing`).
    ``init=<run>`` starts a new one with another's weights, in its network (:mod:`fer.cli.starting`).
    ``model._target_=my_package.MyNet`` alone means ``model=custom`` too, since the default network's options are not
    that network's.

    Raises:
        FERError: If there is no such run or checkpoint.
    """
    if config_name == "audit":  # Hydra's own way to choose from a group twice is hard to guess
        return [re.sub(r"^against=", "data@against=", arg) for arg in argv]
    if config_name == "predict":
        return _in_one_folder(argv)
    if config_name != "train" or CHILD in os.environ:
        return argv
    flags, overrides = _flags_and_overrides(argv)
    if any(o.startswith("model._target_=") for o in overrides) and not any(o.startswith("model=") for o in overrides):
        overrides = ["model=custom", *overrides]
    if any(o.startswith("init=") for o in overrides):
        overrides = started(overrides)
    if any(o.startswith(("resume=", "ckpt=")) for o in overrides):
        return continued(flags, overrides)
    return flags + _in_one_folder(overrides)


def _in_one_folder(overrides: list[str]) -> list[str]:
    """Let all that a command leaves stand in ``output_dir``, if it is given."""
    given = [o.partition("=")[2] for o in overrides if o.startswith("output_dir=")]
    if given and not any(o.startswith("hydra.run.dir=") for o in overrides):
        return [*overrides, f"hydra.run.dir={given[-1]}"]
    return overrides


def _flags_and_overrides(argv: list[str]) -> tuple[list[str], list[str]]:
    """Separate Hydra's flags, which must come first, from the overrides."""
    with_value = [
        "--config-dir",
        "-cd",
        "--config-path",
        "-cp",
        "--config-name",
        "-cn",
        "--package",
        "-p",
        "--cfg",
        "-c",
    ]
    flags: list[str] = []
    overrides: list[str] = []
    for arg in argv:
        own_value = bool(flags) and flags[-1] in with_value
        (flags if own_value or arg.startswith("-") else overrides).append(arg)
    return flags, overrides
