"""Reading a checkpoint: whole, plain data, and with what a model of this project needs; nothing in it is run."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer.config import moved
from fer.config.plain_data import check_plain
from fer.data.fingerprints import fingerprints
from fer.errors import ConfigError, FERError
from fer.files.run_folder import no_checkpoint
from fer.models.preprocessing import LARGEST_INPUT, Preprocessing
from fer.scores import seen_images

FORMAT = 1
"""Of a checkpoint's content beside what Lightning writes; raised when an older fer could not read it."""
FORMAT_KEY = "fer_format"
TEACHERS = "teachers"
"""Where a checkpoint holds what its training learns from beside the labels; an older one lacks it."""

REQUIRED = ("classes", "preprocessing", "model", "loss", "optimizer", "scheduler", "mixup")
"""Hyper-parameters that every checkpoint holds: arguments of :class:`fer.training.module.FERModule`."""
OPTIONAL: Mapping[str, type] = {"monitor": str, "seed": int, "channels_last": bool}
"""Those that an older one may lack, and their types."""


def load_checkpoint(path: str | Path, key: str = "ckpt") -> dict[str, Any]:
    """Read a checkpoint of this project as plain data, and check that it is whole.

    Args:
        path: The checkpoint, or a run's folder (for its best checkpoint).
        key: The option that names it, for errors.

    Raises:
        FERError: If there is no such file, or it is truncated, damaged, not a checkpoint, or another program's.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise FERError(no_checkpoint(path, key))
    try:
        _check_whole(path)
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error) if isinstance(error, _Damaged) else "truncated, or more than plain data"
        raise FERError(
            f"{key}={path}: cannot be read ({path.stat().st_size} bytes): {reason}. "
            f"Nothing in it was run. {_way_out(path)}"
        ) from error
    hparams = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if isinstance(hparams, dict):
        checkpoint["hyper_parameters"] = hparams = {name: moved.current(node) for name, node in hparams.items()}
    if not isinstance(hparams, dict) or "preprocessing" not in hparams:
        raise FERError(f"{key}={path}: is not a checkpoint of fer; it holds no model description.")
    if (version := checkpoint.get(FORMAT_KEY, FORMAT)) != FORMAT:
        raise FERError(f"{key}={path}: has format {version!r}, and this fer reads format {FORMAT}. Update fer.")
    try:
        _check_content(checkpoint, path.stat().st_size)
    except FERError as error:
        raise FERError(f"{key}={path}: cannot be used: {error}.") from error
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
    if path.parent.name != "checkpoints":
        return "Is it a run's checkpoint?"
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
    if unknown := [key for key in hparams if key not in (*REQUIRED, *OPTIONAL)]:
        raise ConfigError(f"its hyper-parameters hold {unknown[0]!r}, which no model of this version has")
    if missing := [key for key in REQUIRED if key not in hparams]:
        raise ConfigError(f"its hyper-parameters lack {missing[0]!r}")
    classes = hparams["classes"]
    if not (isinstance(classes, list) and len(classes) > 1 and all(isinstance(name, str) and name for name in classes)):
        raise ConfigError("its classes are not a list of two or more names")
    if len(set(classes)) != len(classes):
        raise ConfigError("its classes name one twice")
    for key in ("preprocessing", "optimizer", "scheduler", "mixup"):
        if not isinstance(hparams[key], dict):
            raise ConfigError(f"its {key} is no mapping")
    for key, kind in OPTIONAL.items():
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
    parent = checkpoint.get(seen_images.PARENT, {})
    if not isinstance(parent, dict):
        raise ConfigError("its parent is no mapping")
    check_plain(parent, "parent")
    teachers = checkpoint.get(TEACHERS, {})
    if not isinstance(teachers, dict) or not all(isinstance(teachers.get(key, []), list) for key in ("paths", "marks")):
        raise ConfigError("its teachers are not readable")
    check_plain(teachers, TEACHERS)


def _check_preprocessing(values: Mapping[str, Any]) -> None:
    check_plain(values, "preprocessing")
    try:
        found = Preprocessing.from_dict(values)
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
        raise ConfigError(f"its preprocessing cannot be used ({type(error).__name__}: {error})") from error
    if not 1 <= found.image_size <= LARGEST_INPUT or found.channels not in (1, 3):
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
    good = good and isinstance(seen.get(seen_images.UNKNOWN, True), bool)
    if good:
        words = ("dataset", "selected_on_test", seen_images.UNKNOWN)
        tensors = [value for key, value in seen.items() if key not in words]
        good = all(
            isinstance(t, Tensor) and t.dtype == torch.uint8 and t.ndim == 2 and t.shape[1] == prints.shape[1]
            for t in tensors
        )
    if not good:
        raise ConfigError("the fingerprints of the images that it was trained on are not readable")


def check_progress(checkpoint: Mapping[str, Any]) -> None:
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
