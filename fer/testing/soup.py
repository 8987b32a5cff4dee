"""A soup: one network with the mean of several networks' weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from fer.config.groups import flat
from fer.data.base import FERDataModule
from fer.files import run_folder
from fer.files.predictions import Predictions
from fer.scores import seen_images
from fer.testing.members import Member, Scorer
from fer.training import calibration
from fer.training.checkpoint import AtomicCheckpointIO
from fer.training.module import FERModule

# Options of a network that leave the meaning of its weights as it is.
_OF_TRAINING = ("dropout", "drop_rate", "drop_path_rate", "pretrained", "checkpoint_path", "init")
_FOR_BATCH_NORM = 2048  # training images on which a soup's means and variances are measured


def alike(members: Sequence[Member]) -> list[Member]:
    """Return the members whose weights can be averaged with the first one's: of one network, input and class order.

    Whether that makes a good network is another question: it does where they began with the same pretrained weights.
    """
    return [member for member in members if _kind(member) == _kind(members[0])]


def _kind(member: Member) -> tuple[Any, ...]:
    model = {key: it for key, it in flat(member.hparams["model"]).items() if key.split(".")[-1] not in _OF_TRAINING}
    size = {key: it for key, it in member.hparams["preprocessing"].items() if key != "framing"}
    return model, size, member.classes


def mixed(members: Sequence[Member], scorer: Scorer) -> FERModule:
    """Return a network with the mean of the members' weights; batch-norm statistics are measured for it anew."""
    module = scorer.module(members[0])
    if len(members) > 1:
        module.load_state_dict(mean_of([scorer.module(member).state_dict() for member in members]))
        device = scorer.trainer.strategy.root_device
        measure_batch_norm(module.to(device), scorer.own_data(members[0]), device)
    return module.eval()


def mean_of(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of several networks' weights; counters, and what the loss keeps, are the first one's."""
    return {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point() and not key.startswith("loss.")
        else tensor
        for key, tensor in states[0].items()
    }


def measure_batch_norm(module: FERModule, data: FERDataModule, device: torch.device) -> None:
    """Measure batch-norm means and variances on training images: those of mean weights are not the mean of theirs.

    Frozen layers keep theirs: all members have the same.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    was = module.training
    module.train()  # which leaves frozen ones as they are
    still = {layer: {k: v.clone() for k, v in layer.state_dict().items()} for layer in layers if not layer.training}
    module.train(was)
    if len(still) == len(layers):
        return
    # In random order: datasets are sorted by class, and a batch of one class varies less than all.
    rows = np.random.default_rng(0).permutation(data.rows("train"))[:_FOR_BATCH_NORM]
    parts = [rows[start : start + 128] for start in range(0, len(rows), 128)]
    images = [torch.from_numpy(data.samples.images[part]) for part in parts if len(part) > 1]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)  # of dropout
        update_bn(images, module, device)
    for layer, state in still.items():
        layer.load_state_dict(state)


def save(run: Path, module: FERModule, members: Sequence[Member], val: Predictions | None) -> None:
    """Write a soup's checkpoint, with the fingerprints of all that its members saw, and a temperature of its own.

    Args:
        run: The ensemble's folder.
        module: The network with the mean weights.
        members: Whose weights they are.
        val: Its answers on the validation split that chose the members; None where there was no choice.
    """
    content = {"state_dict": module.cpu().state_dict(), "hyper_parameters": dict(members[0].hparams)}
    if (seen := seen_images.merged([member.seen for member in members])) is not None:
        content[seen_images.KEY] = seen
    path = run_folder.checkpoint_file(run)
    AtomicCheckpointIO().save_checkpoint(content, path)
    if val is not None:
        calibration.keep(path, val)
