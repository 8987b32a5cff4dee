"""Where this project leans on parts of its libraries that those do not promise to keep.

Each function has one such part, the reason, a link, and a check that ends in a sentence when the library has changed:
otherwise the change would show in a run's numbers first. Imports nothing slow at its top.
"""

import importlib
import importlib.metadata
import inspect
import logging
import sys
import types
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer.errors import FERError

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from hydra.core.override_parser.types import Override
    from torch import nn

TESTED = {
    "hydra-core": "1.3.8",
    "optuna": "2.10.1",
    "pytorch-lightning": "2.6.6",
    "timm": "1.0.31",
    "torch": "2.15.0",
}
"""The releases that ``constraints.txt`` holds: the ones to go back to."""

Loads = list[tuple["nn.Module", Collection[str], Collection[str]]]


def _check(holds: bool, package: str, part: str) -> None:
    if holds:
        return
    raise FERError(
        f"{package} {importlib.metadata.version(package)} has changed {part}, on which this project leans. "
        f"Tested is {TESTED[package]}: pip install '{package}=={TESTED[package]}'. (Where it is used: {__file__})"
    )


def hydra_flags() -> list[str]:
    """Return the flags that Hydra's command line knows (``--multirun``, ``-m``, ...).

    Source: ``get_args_parser`` in https://github.com/facebookresearch/hydra/blob/1.3_branch/hydra/_internal/utils.py

    Raises:
        FERError: If Hydra has another parser.
    """
    try:
        from hydra._internal.utils import get_args_parser

        flags = [option for action in get_args_parser()._actions for option in action.option_strings]
    except (ImportError, AttributeError):
        flags = []
    _check("--multirun" in flags and "-m" in flags, "hydra-core", "its argument parser (get_args_parser)")
    return flags


@contextmanager
def hidden_config_parts() -> Iterator[None]:
    """Leave configs whose names begin with ``_`` (parts of others) out of --help, completion and ``glob(*)``.

    Source: ``get_group_options`` in
    https://github.com/facebookresearch/hydra/blob/1.3_branch/hydra/_internal/config_repository.py

    Raises:
        FERError: If Hydra lists a group's options in another way.
    """
    try:
        from hydra._internal.config_repository import ConfigRepository

        every_option = ConfigRepository.get_group_options
        known = list(inspect.signature(every_option).parameters) == ["self", "group_name", "results_filter"]
    except (ImportError, AttributeError):
        known = False
    _check(known, "hydra-core", "how a group's options are listed (ConfigRepository.get_group_options)")

    def shown(self: ConfigRepository, *args: Any, **kwargs: Any) -> list[str]:
        return [name for name in every_option(self, *args, **kwargs) if not name.startswith("_")]

    ConfigRepository.get_group_options = shown  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigRepository.get_group_options = every_option  # type: ignore[method-assign]


def parse_override(text: str) -> "Override":
    """Read one of Hydra's overrides (``key=value``); not documented, though in no private module.

    Source: https://github.com/facebookresearch/hydra/tree/1.3_branch/hydra/core/override_parser

    Raises:
        HydraException: If the text is no override.
        FERError: If Hydra has another parser.
    """
    try:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parser = OverridesParser.create()
        parse = parser.parse_override
    except (ImportError, AttributeError):
        parse = None
    _check(parse is not None, "hydra-core", "its parser of overrides (OverridesParser)")
    assert parse is not None
    return parse(text)


def import_torchmetrics() -> None:
    """Import torchmetrics without torchvision, SciPy's signals and matplotlib, most of the seconds that it takes.

    It imports all its scores at once: those of boxes and images take torchvision, one line SciPy's signals, and each
    one's ``plot`` matplotlib. Meanwhile stand-ins take their place, which import the real ones when they are called.
    https://github.com/Lightning-AI/torchmetrics/blob/master/src/torchmetrics/__init__.py
    """
    if "torchmetrics" in sys.modules:
        return
    vision = (f"torchvision{part}" for part in ("", ".models", ".ops", ".transforms"))
    names = (*vision, "scipy.signal", "torchmetrics.utilities.plot")
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update({name: _Later(name) for name in absent})
    try:
        importlib.import_module("torchmetrics")
    except Exception:  # it wants more of them: then whoever needs it imports it as always
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]:
            del sys.modules[name]
    finally:
        for name in absent:
            sys.modules.pop(name, None)


class _Later(types.ModuleType):
    """A module's stand-in: it is imported when a part of it is called, or asked for its instances."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        part = sys.modules.get(f"{self.__name__}.{name}")
        return _Part(name, (), {"__module__": self.__name__}) if part is None else part


class _Part(type):
    """The stand-in of a function or a class: a class itself, so that it may stand in annotations."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._real()(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls._real())

    def _real(cls) -> Any:
        return getattr(importlib.import_module(cls.__module__), cls.__name__)


def resume_by_epochs(trainer: "pl.Trainer") -> None:
    """Have a resumed run with ``max_steps`` begin where its checkpoint ends, as one without it does.

    Lightning would take it for a run in mid-epoch, and end its last epoch twice:
    https://github.com/Lightning-AI/pytorch-lightning/issues/19617

    Raises:
        FERError: If Lightning decides it in another way.
    """
    loop: Any = trainer.fit_loop
    known = callable(getattr(type(loop), "_iteration_based_training", None))
    _check(known, "pytorch-lightning", "how a run with max_steps is resumed (_FitLoop._iteration_based_training)")
    loop._iteration_based_training = lambda: False


def is_restoring(trainer: "pl.Trainer") -> bool:
    """Say whether a trainer is still taking up a checkpoint's states: it holds the checkpoint until then.

    No hook comes between the last state and the first batch. Source: ``resume_end`` in
    https://github.com/Lightning-AI/pytorch-lightning/blob/master/src/lightning/pytorch/trainer/connectors/checkpoint_connector.py

    Raises:
        FERError: If Lightning keeps it elsewhere.
    """
    held = getattr(getattr(trainer, "_checkpoint_connector", None), "_loaded_checkpoint", None)
    _check(isinstance(held, dict), "pytorch-lightning", "where it holds a checkpoint (_CheckpointConnector)")
    return bool(held)


def place_in_run(trainer: "pl.Trainer") -> tuple[int, int]:
    """Return the number of epochs, and of batches of the running epoch, that are done.

    In a resumed run they are known before ``current_epoch`` is: when the training loader is made. Source:
    https://github.com/Lightning-AI/pytorch-lightning/blob/master/src/lightning/pytorch/loops/progress.py

    Raises:
        FERError: If Lightning counts in another way.
    """
    done: tuple[Any, Any] = (None, None)
    with suppress(AttributeError):
        loop: Any = trainer.fit_loop
        epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
        done = epochs.processed, batches.processed if epochs.ready > epochs.processed else 0  # 0: max_steps ended it
    _check(all(isinstance(count, int) for count in done), "pytorch-lightning", "how it counts epochs and batches")
    return done


def follow_moved_folder(states: Mapping[str, Any], folder: Path) -> None:
    """Point the states of ModelCheckpoint callbacks to the folder in which a resumed run now lies.

    In another folder than the state's, ModelCheckpoint forgets the best score, and would overwrite ``best.ckpt``:
    https://github.com/Lightning-AI/pytorch-lightning/issues/14443

    Args:
        states: A checkpoint's ``callbacks``; changed in place.
        folder: Where the run's checkpoints are.

    Raises:
        FERError: If ModelCheckpoint keeps its state in another form.
    """
    for state in states.values():
        if "best_model_path" not in state or not (folder / Path(state["best_model_path"]).name).is_file():
            continue
        known = {"dirpath", "kth_best_model_path", "best_k_models"} <= state.keys()
        _check(known, "pytorch-lightning", "the state of its ModelCheckpoint callback")
        state["dirpath"] = str(folder)
        state["best_model_path"] = str(folder / Path(state["best_model_path"]).name)
        state["kth_best_model_path"] = state["kth_best_model_path"] and state["best_model_path"]
        state["best_k_models"] = {
            str(folder / Path(path).name): score for path, score in state["best_k_models"].items()
        }


def optuna_trial(study: Any, study_name: str, storage: Any, number: int) -> Any:
    """Return a study's running trial by its number, to report scores to; the sweeper keeps its own to itself.

    Optuna documents ``Trial``'s constructor and advises against it:
    https://optuna.readthedocs.io/en/stable/reference/generated/optuna.trial.Trial.html

    Args:
        study: The study.
        study_name: Its name.
        storage: Its storage, from ``optuna.storages.get_storage``.
        number: The trial's number.

    Raises:
        FERError: If Optuna numbers or builds trials in another way.
    """
    import optuna

    try:
        identifier = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study_name), number)
        trial = optuna.trial.Trial(study, identifier)
    except (AttributeError, TypeError):
        trial = None
    _check(trial is not None and trial.number == number, "optuna", "how a trial is found by its number")
    return trial


@contextmanager
def recorded_loads() -> Iterator[Loads]:
    """Yield a list that fills with (module, missing keys, unexpected keys) of every ``load_state_dict``.

    ``timm.create_model`` only logs these keys, every key on one line, and a file of which it could use nothing looks
    like one that it loaded. Its log is held back. Source: ``load_pretrained`` in
    https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/_builder.py

    :func:`check_recorded` says whether timm still loads in this way.
    """
    from torch import nn

    timm_log = logging.getLogger("timm")
    level = timm_log.level
    loads: Loads = []
    load_state_dict = nn.Module.load_state_dict

    def recorded(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        result = load_state_dict(self, *args, **kwargs)
        loads.append((self, result.missing_keys, result.unexpected_keys))
        return result

    nn.Module.load_state_dict = recorded  # type: ignore[method-assign]
    timm_log.setLevel(logging.ERROR)
    try:
        yield loads
    finally:
        timm_log.setLevel(level)
        nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign]


def check_recorded(loads: Loads, net: "nn.Module") -> None:
    """Refuse weights of which it is not known whether they were loaded.

    Args:
        loads: From :func:`recorded_loads`.
        net: What timm was asked to fill from a file.

    Raises:
        FERError: If timm filled it by anything but ``load_state_dict``.
    """
    _check(any(module is net for module, _, _ in loads), "timm", "how it loads weights (load_state_dict)")
