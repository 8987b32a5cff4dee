"""Distillation: a network learns from the probabilities of trained ones, beside the labels.

Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, https://arxiv.org/abs/1503.02531. Teachers
see the very images that the student sees, augmented alike, each in its own size and normalisation (Beyer et al.,
"Knowledge distillation: A good teacher is patient and consistent", CVPR 2022, https://arxiv.org/abs/2106.05237).
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from fer.data.base import FERDataModule
from fer.errors import ConfigError
from fer.files.run_folder import checkpoint_mark
from fer.scores import seen_images
from fer.scores.protocol import leak_line
from fer.training.checkpoint_content import load_checkpoint
from fer.training.module import FERModule

log = logging.getLogger(__name__)


class Teachers:
    """Trained networks whose mean probabilities a student learns.

    Args:
        paths: Runs' folders (for their best checkpoints), or checkpoints.
        classes: The student's classes, in label order.
        temperature: Divides the logits of teachers and student: the higher, the more is told of unlikely classes.
        weight: Share of the loss that the teachers have, from 0 to 1; the labels have the rest.
        trusted: Networks and losses of the user's own config, which a teacher's checkpoint may name too.

    Attributes:
        seen: What the teachers' checkpoints carry of the images that they were trained and chosen on.
        record: What the student's checkpoints say of them: paths, marks, temperature and weight.

    Raises:
        FERError: If a checkpoint cannot be used.
        ConfigError: If a teacher knows other classes.
    """

    def __init__(
        self,
        paths: Sequence[str],
        classes: Sequence[str],
        temperature: float,
        weight: float,
        trusted: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.paths, self.temperature, self.weight = list(paths), temperature, weight
        self.record = {
            "paths": [str(Path(path).expanduser().absolute()) for path in paths],
            "marks": [checkpoint_mark(Path(path).expanduser()) for path in paths],
            "temperature": temperature,
            "weight": weight,
        }
        self._modules: list[tuple[FERModule, list[int]]] = []
        carried = []
        for path in paths:
            carried.append(load_checkpoint(path, "teacher").get(seen_images.KEY))
            module = FERModule.load_from_checkpoint(Path(path).expanduser(), trusted=trusted)
            if set(module.classes) != set(classes):
                raise ConfigError(
                    f"teacher={path}: it knows {', '.join(module.classes)}, the student learns {', '.join(classes)}. "
                    f"A teacher knows the same classes, in any order: choose them with data.classes."
                )
            self._modules.append((module.requires_grad_(False), [module.classes.index(name) for name in classes]))
        self.seen = seen_images.merged(carried) or {
            "dataset": "unknown", "selected_on_test": False, seen_images.UNKNOWN: True,
        }  # fmt: skip

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Self:
        return self  # averaged weights are a copy of the whole module; teachers stay as they are

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the teachers' mean probabilities at the temperature, float32 (B, C), for images as stored (uint8)."""
        found = []
        for module, columns in self._modules:
            logits = module.to(images.device).eval()(images)[:, columns]
            found.append((logits.float() / self.temperature).softmax(1))
        return torch.stack(found).mean(0)

    def blended(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """Return the loss of the labels, weighed with the divergence from the teachers.

        Args:
            loss: Of the labels, float of shape ().
            logits: The student's, float (B, C).
            images: The batch as stored, uint8 (B, H, W) or (B, H, W, 3).
        """
        student = F.log_softmax(logits.float() / self.temperature, dim=1)
        taught = F.kl_div(student, self.probabilities(images), reduction="batchmean") * self.temperature**2
        return (1 - self.weight) * loss + self.weight * taught

    def describe(self, datamodule: FERDataModule) -> None:
        """Say who teaches, and how many images that choose or test the student the teachers have seen."""
        log.info("teacher %s: temperature %g, weight %g", ", ".join(self.paths), self.temperature, self.weight)
        for split in ("val", "test"):
            if not len(rows := datamodule.rows(split)):
                continue
            found = seen_images.find({seen_images.KEY: self.seen}, datamodule.samples.images, rows)
            if (found.fitted | found.chose).any() or not found.complete:
                log.warning("teacher: of the student's %s split: %s", split, leak_line(found.counts()))


def attach(module: FERModule, config: Mapping[str, Any], trusted: Sequence[Mapping[str, Any]]) -> None:
    """Give a student its teachers; what they have seen counts as seen by the student.

    Args:
        module: The student.
        config: The resolved config of the training.
        trusted: See :class:`Teachers`.

    Raises:
        FERError: If a teacher cannot be used.
    """
    given = config["teacher"]
    paths = [given] if isinstance(given, str) else given
    temperature, weight = config["teacher_temperature"], config["teacher_weight"]
    module.teachers = Teachers(paths, module.classes, temperature, weight, trusted)
    known = [one for one in (module.seen_before, module.teachers.seen) if one is not None]
    module.seen_before = seen_images.merged(known)
