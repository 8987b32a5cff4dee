"""Checkpoints on disk: written whole or not at all, and read without running anything that is in them."""

import errno
import inspect
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from torch import Tensor

from fer import compat
from fer.config import moved
from fer.data.fingerprints import fingerprints
from fer.errors import ConfigError, FERError, TrainingError
from fer.models.preprocessing import Preprocessing
from fer.scores import seen_images
from fer.training.allowed import LOSSES, NETWORKS, check_node, check_plain
from fer.training.module import FERModule

FORMAT = 1
"""Of a checkpoint's content beside what Lightning writes; raised when an older fer could not read it."""
_FORMAT_KEY = "fer_format"
_LARGEST_NUMBER = 100_000  # of a network's options: widths, sizes, counts


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that a killed process or a full disk leaves the last one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``.

        Raises:
            TrainingError: If the disk is full; the checkpoint that was at ``path`` is still there.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("wb") as file:
                torch.save({**checkpoint, _FORMAT_KEY: FORMAT}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a short write into a RuntimeError
            number = getattr(error, "errno", None) or getattr(error.__context__, "errno", None)
            part.unlink(missing_ok=True)
            if number not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise TrainingError(
                f"no space left to write {path}. The checkpoints already there are whole: free some space, then go on "
                f"with resume={path.parent.parent}."
            ) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint to go on from, as plain data.

        Raises:
            FERError: If it is damaged or none of this project's.
        """
        checkpoint = load_checkpoint(path)
        try:
            _check_progress(checkpoint)
        except ConfigError as error:
            raise FERError(f"ckpt={path}: cannot be gone on from: {error}.") from error
        return checkpoint


def _check_progress(checkpoint: Mapping[str, Any]) -> None:
    """Compare what a resumed run needs beside the weights with what Lightning writes.

    Raises:
        ConfigError: Saying what is wrong.
    """
    for key in ("epoch", "global_step"):
        number = checkpoint.get(key)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ConfigError(f"its {key} is {number!r}, no whole number from 0")
    for key, kind in (("optimizer_states", list), ("lr_schedulers", list), ("callbacks", dict), ("loops", dict)):
        if not isinstance(checkpoint.get(key), kind):
            raise ConfigError(f"its {key} are not readable")
    for state in checkpoint["optimizer_states"]:
        groups = state.get("param_groups") if isinstance(state, dict) else None
        if not isinstance(groups, list) or not isinstance(state.get("state"), dict):
            raise ConfigError("its optimizer_states are not readable")
        if not all(isinstance(group, dict) and isinstance(group.get("params"), list) for group in groups):
            raise ConfigError("its optimizer_states are not readable")
        if not all(isinstance(values, dict) for values in state["state"].values()):
            raise ConfigError("its optimizer_states are not readable")
    for key in ("lr_schedulers", "callbacks"):
        states = checkpoint[key] if key == "lr_schedulers" else checkpoint[key].values()
        if not all(isinstance(state, dict) for state in states):
            raise ConfigError(f"its {key} are not readable")


@contextmanager
def restoring(trainer: Any, path: str | None) -> Iterator[None]:
    """Run a fit; what goes wrong while it takes a checkpoint's states up ends in one sentence.

    Args:
        trainer: The trainer that fits.
        path: The checkpoint; None for a run from the beginning.

    Raises:
        FERError: If the states do not fit the run.
    """
    if path is None:
        yield
        return
    compat.is_restoring(trainer)  # can be told, or this is the place to say that it cannot
    try:
        yield
    except FERError:
        raise
    except Exception as error:
        if not compat.is_restoring(trainer):  # the training's own
            raise
        reason = str(error).splitlines()[0][:300] if str(error) else ""
        raise FERError(
            f"ckpt={path}: cannot be gone on from: the states of its optimiser, schedule or callbacks do not fit this "
            f"run ({type(error).__name__}: {reason}). Its weights can be tested: python -m fer.test ckpt={path}"
        ) from error


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this project as plain data, and check that it is whole.

    Args:
        path: The checkpoint, or a run's folder (for its best checkpoint).

    Raises:
        FERError: If there is no such file, or it is truncated, damaged, not a checkpoint, or another program's.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise FERError(f"ckpt={path}: no such file. A run keeps best.ckpt and last.ckpt in its checkpoints folder.")
    try:
        _check_whole(path)
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error) if isinstance(error, _Damaged) else "truncated, or more than plain data"
        raise FERError(
            f"ckpt={path}: cannot be read ({path.stat().st_size} bytes): {reason}. "
            f"Nothing in it was run. {_way_out(path)}"
        ) from error
    hparams = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if isinstance(hparams, dict):
        checkpoint["hyper_parameters"] = hparams = {key: moved.current(node) for key, node in hparams.items()}
    if not isinstance(hparams, dict) or "preprocessing" not in hparams:
        raise FERError(f"ckpt={path}: is not a checkpoint of fer; it holds no model description.")
    if (version := checkpoint.get(_FORMAT_KEY, FORMAT)) != FORMAT:
        raise FERError(f"ckpt={path}: has format {version!r}, and this fer reads format {FORMAT}. Update fer.")
    try:
        _check_content(checkpoint, path.stat().st_size)
    except FERError as error:
        raise FERError(f"ckpt={path}: cannot be used: {error}.") from error
    return checkpoint


def _way_out(path: Path) -> str:
    """Say what can be done where a checkpoint is damaged: the run's other one is whole, or not."""
    others = [path.with_name(name) for name in ("last.ckpt", "best.ckpt") if name != path.name]
    for other in others:
        try:
            _check_whole(other)
        except (OSError, zipfile.BadZipFile, _Damaged, NotImplementedError, RuntimeError, EOFError):
            continue
        return f"{other} is whole; to go on from it: ckpt={other}"
    return "No other checkpoint beside it is whole: the run has to be started anew, in another folder."


class _Damaged(Exception):
    """What is wrong with a file."""


def _check_whole(path: Path) -> None:
    """Compare each record with the checksum (CRC-32) that torch wrote with it and does not look at itself."""
    with zipfile.ZipFile(path) as archive:
        if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
            raise _Damaged("compressed, which torch writes no checkpoint")  # it could fill any memory
        end = 0
        for record in sorted(archive.infolist(), key=lambda record: record.header_offset):
            if record.header_offset < end:
                raise _Damaged(f"damaged, {record.filename} lies within another record")  # one could be read for many
            end = record.header_offset + 30 + len(record.filename.encode()) + record.compress_size
        if end > path.stat().st_size:
            raise _Damaged("truncated")
        if damaged := archive.testzip():
            raise _Damaged(f"damaged, the checksum of {damaged} does not fit")


def _check_content(checkpoint: Mapping[str, Any], size: int) -> None:
    """Compare a checkpoint with what :class:`fer.training.module.FERModule` stores in one.

    Args:
        checkpoint: The content.
        size: Of its file in bytes: tensors that claim more memory are refused.

    Raises:
        ConfigError: Saying what is wrong.
    """
    hparams = checkpoint["hyper_parameters"]
    known = inspect.signature(FERModule).parameters
    if unknown := [key for key in hparams if key not in known or key == "load_weights"]:
        raise ConfigError(f"its hyper-parameters hold {unknown[0]!r}, which no model of this version has")
    if missing := [key for key, p in known.items() if p.default is p.empty and key not in hparams]:
        raise ConfigError(f"its hyper-parameters lack {missing[0]!r}")
    classes = hparams["classes"]
    if not (isinstance(classes, list) and len(classes) > 1 and all(isinstance(name, str) and name for name in classes)):
        raise ConfigError("its classes are not a list of two or more names")
    if len(set(classes)) != len(classes):
        raise ConfigError("its classes name one twice")
    for key in ("preprocessing", "optimizer", "scheduler", "mixup"):
        if not isinstance(hparams[key], dict):
            raise ConfigError(f"its {key} is no mapping")
    for key, kind in (("monitor", str), ("seed", int), ("channels_last", bool)):
        if not isinstance(hparams.get(key, kind()), kind):
            raise ConfigError(f"its {key} is {hparams[key]!r}, no {kind.__name__}")
    check_plain(hparams["mixup"], "mixup")
    for key in ("mixup_alpha", "cutmix_alpha"):
        alpha = hparams["mixup"].get(key)
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or alpha < 0:
            raise ConfigError(f"its mixup.{key} is {alpha!r}, no number of 0 or more")
    _check_preprocessing(hparams["preprocessing"])
    _check_weights(checkpoint.get("state_dict"), size)
    _check_seen(checkpoint.get(seen_images.KEY))


def _check_preprocessing(values: Mapping[str, Any]) -> None:
    check_plain(values, "preprocessing")
    try:
        found = Preprocessing.from_dict(values)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ConfigError(f"its preprocessing cannot be used ({type(error).__name__}: {error})") from error
    if not 1 <= found.image_size <= 4096 or found.channels not in (1, 3):
        raise ConfigError(f"its input is {found.image_size} pixels of {found.channels} channels")
    numbers = [*found.mean, *found.std]
    if len(found.mean) != found.channels or len(found.std) != found.channels:
        raise ConfigError("its mean and std are not one number for each channel")
    if not all(isinstance(number, int | float) for number in numbers) or min(found.std) <= 0:
        raise ConfigError(f"its mean {list(found.mean)} and std {list(found.std)} do not normalise images")


def _check_weights(state: Any, size: int) -> None:
    if not isinstance(state, dict) or not state:
        raise ConfigError("it holds no weights (state_dict)")
    total = 0
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ConfigError(f"its weights hold {name!r}, which is no tensor")
        if tensor.layout is not torch.strided or tensor.is_meta:
            raise ConfigError(f"its weights hold {name!r}, a tensor without values of its own")
        total += tensor.numel() * tensor.element_size()
        if total > size:
            raise ConfigError(f"its weights claim more memory than the file has ({name!r})")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ConfigError(f"its weights {name!r} hold values that are no finite numbers: the training had failed")


def _check_seen(seen: Any) -> None:
    """Check the fingerprints of the images that fitted and chose the model; older checkpoints carry none."""
    if seen is None:
        return
    prints = fingerprints(np.empty((0, 1, 1), dtype=np.uint8))
    good = isinstance(seen, dict) and {"train", "val"} <= set(seen)
    good = good and isinstance(seen.get("dataset"), str) and isinstance(seen.get("selected_on_test"), bool)
    if good:
        tensors = [value for key, value in seen.items() if key not in ("dataset", "selected_on_test")]
        good = all(
            isinstance(t, Tensor) and t.dtype == torch.uint8 and t.ndim == 2 and t.shape[1] == prints.shape[1]
            for t in tensors
        )
    if not good:
        raise ConfigError("the fingerprints of the images that it was trained on are not readable")


def load_module(
    path: str | Path, trusted: Sequence[Mapping[str, Any]] = (), packages: Collection[str] = ()
) -> FERModule:
    """Rebuild a trained module from its checkpoint alone: network, classes and preprocessing.

    Args:
        path: The checkpoint, or a run's folder (for its best checkpoint).
        trusted: ``model`` and ``loss`` as the user gave them: the same ones in the checkpoint may be built.
        packages: Packages whose networks and losses may be built besides this project's (``my_package``).

    Raises:
        FERError: If the file cannot be used, or names a network or loss that is not allowed.
    """
    checkpoint = load_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    try:
        # Optimiser and schedule are not built on reload.
        for key, allowed in (("model", NETWORKS), ("loss", LOSSES)):
            if hparams[key] not in trusted:
                check_node(hparams[key], key, allowed, packages)
        if hparams["model"].get("_target_") in NETWORKS:
            _check_sizes(hparams, checkpoint["state_dict"])
        module = FERModule(**hparams, load_weights=False)
        module.load_state_dict(checkpoint["state_dict"])
    except FERError as error:
        raise FERError(f"ckpt={path}: cannot be used: {str(error).rstrip('.')}.") from error
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, OverflowError, MemoryError) as error:
        if hparams["model"] in trusted or hparams["model"].get("_target_") not in NETWORKS:
            raise  # the user's own code, whose traceback shows where
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise FERError(f"ckpt={path}: cannot be used: its model cannot be rebuilt ({reason}).") from error
    return module.eval()


def _check_sizes(hparams: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Compare the shapes of the network that is described with those of the weights, before memory is spent on it.

    Raises:
        ConfigError: If weights are missing, left over, or of another shape.
    """
    largest = _LARGEST_NUMBER
    pending = [hparams["model"]]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping | list | tuple):
            pending += list(item.values()) if isinstance(item, Mapping) else list(item)
        elif isinstance(item, int | float) and abs(item) > largest:
            raise ConfigError(f"its model has an option of {item:g}")
    if len(hparams["classes"]) > largest:
        raise ConfigError(f"it has {len(hparams['classes'])} classes")
    try:
        with torch.device("meta"):  # shapes alone
            described = FERModule(**hparams, load_weights=False).state_dict()
    except NotImplementedError:  # a network of timm's that looks at values while it is built
        return
    except RuntimeError as error:
        if "meta" in str(error):
            return
        raise
    missing = [name for name in described if name not in state]
    unused = [name for name in state if name not in described]
    other = [name for name in described if name in state and described[name].shape != state[name].shape]
    for names, what in ((missing, "lack"), (unused, "hold the unknown"), (other, "have another shape of")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ConfigError(f"its weights do not fit its model: they {what} {names[0]!r}{more}")
