"""Checkpoints on disk: written whole or not at all, and gone on with."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from fer import compat
from fer.errors import ConfigError, FERError, TrainingError
from fer.training.checkpoint_content import FORMAT, FORMAT_KEY, check_progress, load_checkpoint


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
                torch.save({**checkpoint, FORMAT_KEY: FORMAT}, file)
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
            check_progress(checkpoint)
        except ConfigError as error:
            raise FERError(f"ckpt={path}: cannot be gone on from: {error}.") from error
        return checkpoint


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
    compat.is_restoring(trainer)  # fails here, and not within an error, where Lightning has changed
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
