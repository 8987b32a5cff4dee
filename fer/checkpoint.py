"""Checkpoints on disk: written whole or not at all, and read without running anything that is in them."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from fer.errors import FERError, TrainingError
from fer.models import check_target
from fer.module import FERModule


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
                torch.save(checkpoint, file)
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


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this project as plain data.

    Raises:
        FERError: If there is no such file, or it is truncated, not a checkpoint, or another program's.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise FERError(f"ckpt={path}: no such file. A run keeps best.ckpt and last.ckpt in its checkpoints folder.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FERError(
            f"ckpt={path}: cannot be read ({path.stat().st_size} bytes): truncated, or more than plain data. "
            f"Nothing in it was run. The run's other checkpoint (best.ckpt or last.ckpt) may be whole."
        ) from error
    if not isinstance(checkpoint, dict) or "preprocessing" not in checkpoint.get("hyper_parameters", {}):
        raise FERError(f"ckpt={path}: is not a checkpoint of fer; it holds no model description.")
    return checkpoint


def load_module(path: str | Path, allow_targets: Sequence[str] = ()) -> FERModule:
    """Rebuild a trained module from its checkpoint alone: network, classes and preprocessing.

    Args:
        path: The checkpoint, or a run's folder (for its best checkpoint).
        allow_targets: Import prefixes of networks outside this package that may be built (``my_package.``).

    Raises:
        FERError: If the file cannot be used, or names a network that is not allowed.
    """
    checkpoint = load_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    # Optimiser and schedule are not built on reload; what is built must be a known network and loss, nested nodes too.
    for target in targets([hparams["model"], hparams["loss"]]):
        check_target(target, ("fer.losses.", "torch.nn.", "timm.loss.", *allow_targets))
    module = FERModule(**hparams, load_weights=False)
    module.load_state_dict(checkpoint["state_dict"])
    return module.eval()


def targets(node: Any) -> list[str]:
    """Return every ``_target_`` in a nest of plain data."""
    if isinstance(node, dict):
        own = [str(node["_target_"])] if "_target_" in node else []
        return own + [target for value in node.values() for target in targets(value)]
    return [target for item in node for target in targets(item)] if isinstance(node, list | tuple) else []
