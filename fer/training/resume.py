"""What a resumed run may change: whatever it could not follow is refused by name, before a network is built."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer.config.groups import flat
from fer.config.option_values import shown
from fer.data.base import FERDataModule
from fer.data.fingerprints import hashes, hashes_in
from fer.data.labels import canonical
from fer.errors import ConfigError, DatasetError
from fer.files.run_folder import checkpoint_mark
from fer.models.preprocessing import Preprocessing
from fer.scores.seen_images import KEY
from fer.training.checkpoint_content import TEACHERS

log = logging.getLogger(__name__)

_GROUPS = ("model", "loss", "optimizer", "scheduler", "mixup")
_SINGLE = ("seed", "monitor")
_NEW_RUN = "or start a new run without resume= and ckpt= (init=<run> starts one with the weights of another)"


def refuse_another_recipe(checkpoint: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse what is known from the config alone: another network, loss, schedule, seed, teacher ...

    Args:
        checkpoint: What is resumed from, by :func:`fer.training.checkpoint_content.load_checkpoint`.
        config: The resolved config of the resumed run.

    Raises:
        ConfigError: Naming every difference, the run's value and the new one.
    """
    before = checkpoint["hyper_parameters"]
    found = [line for group in _GROUPS for line in _differences(group, before.get(group) or {}, config[group])]
    found += [_line(key, config[key], before[key]) for key in _SINGLE if before.get(key, config[key]) != config[key]]
    if wanted := config["data"].get("classes"):
        found += _other_classes(before["classes"], [canonical(str(name)) for name in wanted])
    if TEACHERS in checkpoint:
        found += _other_teachers(checkpoint[TEACHERS], config)
    _refuse(found)


def refuse_other_data(
    checkpoint: Mapping[str, Any],
    datamodule: FERDataModule,
    preprocessing: Preprocessing,
    loss: Mapping[str, Any],
) -> None:
    """Refuse other classes, another input or other class weights, and images that would change sides.

    Args:
        checkpoint: What is resumed from.
        datamodule: The resumed run's data, with its splits.
        preprocessing: The network's input as the data and the config make it.
        loss: The ``loss`` node, with the class weights or shares as they were computed.

    Raises:
        ConfigError: Naming every difference.
        DatasetError: With the number of images that would change sides, or are gone.
    """
    before = checkpoint["hyper_parameters"]
    found = _other_classes(before["classes"], datamodule.classes)
    was, now = Preprocessing.from_dict(before["preprocessing"]).as_dict(), preprocessing.as_dict()
    # The framing stays what it was: it is measured once, when a run begins.
    found += [_line(f"data.{key}", now[key], was[key]) for key in now if key != "framing" and was[key] != now[key]]
    _refuse(found)
    grown = _added_images(checkpoint.get(KEY) or {}, datamodule)
    if grown:
        log.info("data   %d images more than the run was begun with", grown)
    for key in ("class_weights", "class_priors"):
        there, here = before["loss"].get(key), loss.get(key)
        same = there == here or (there and here and len(there) == len(here) and np.allclose(there, here))
        if not same and not (there and here and grown):  # those that were computed follow the data
            _refuse([_line(f"loss.{key}", here, there)])


def input_of(checkpoint: Mapping[str, Any]) -> Preprocessing:
    """Return the input of a checkpoint's network, with how faces stood in its images when its run began."""
    return Preprocessing.from_dict(checkpoint["hyper_parameters"]["preprocessing"])


def _added_images(carried: Mapping[str, Any], datamodule: FERDataModule) -> int:
    """Return how many images have been added; refuse those that fitted the network and now would choose or test it."""
    images = datamodule.samples.images
    now = {split: hashes(images, datamodule.rows(split)) for split in ("train", "val", "test")}
    found, added = [], 0
    for split, purpose in (("train", "was trained on"), ("val", "chose its checkpoint on")):
        if split not in carried:  # of an earlier version
            continue
        before = hashes_in(carried[split].numpy())
        left = before[~np.isin(before, now[split])]
        for other, there in now.items():
            if moved := int(np.isin(left, there).sum()):
                found.append(f"{moved:,} of {len(before):,} images that it {purpose} would now be {other}")
            left = left[~np.isin(left, there)]
        if len(left):
            found.append(f"{len(left):,} of {len(before):,} images that it {purpose} are not in the data")
        added += max(0, len(now[split]) - len(before))
    if found:
        lines = "\n".join(f"    {line}" for line in found)
        raise DatasetError(
            f"a resumed run needs its own images on their own sides; {datamodule.name} has them otherwise:\n{lines}\n"
            f"  Leave the data and its splits as they were (data, data.root, data.exclude, data.fold, "
            f"data.val_fraction, data.test_fraction), {_NEW_RUN}."
        )
    return added


def _differences(group: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Compare a group's values; where another thing was chosen, its options need no comparison."""
    was, new = ({key: _plain(value) for key, value in flat(node).items()} for node in (before, now))
    for key in ("_target_", "name"):
        if was.get(key) != new.get(key):
            return [_line(f"{group}.{key}", new.get(key), was.get(key))]
    return [
        _line(f"{group}.{key}", new.get(key), was.get(key))
        for key in sorted({*was, *new} - {"class_weights", "class_priors"})  # both follow the data
        # An option that the run did not know and that is off is no difference: checkpoints outlive a version.
        if was.get(key) != new.get(key) and (key in was or new[key])
    ]


def _other_classes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    if list(before) == list(now):
        return []
    what = "the same classes in another order" if set(before) == set(now) else "other classes"
    return [f"data.classes: {what}: {', '.join(now)}; the run was begun with {', '.join(before)}"]


def _other_teachers(before: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Compare teachers by what is in their checkpoints: they may have been moved."""
    given = config["teacher"]
    paths = [given] if isinstance(given, str) else list(given or [])
    marks = [str(checkpoint_mark(Path(path).expanduser())) for path in paths]
    there = before.get("paths", [])
    if sorted(marks) != sorted(map(str, before.get("marks", []))):
        same = [str(Path(path).expanduser().absolute()) for path in paths] == there
        changed = ", whose checkpoints were others then" if same and paths else ""
        return [_line("teacher", given, there or None) + changed]
    keys = ("temperature", "weight") if paths else ()
    return [
        _line(f"teacher_{key}", config[f"teacher_{key}"], before.get(key))
        for key in keys
        if config[f"teacher_{key}"] != before.get(key)
    ]


def _line(key: str, now: Any, before: Any) -> str:
    return f"{key}={shown(now)}: the run was begun with {shown(before)}"


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _refuse(found: Sequence[str]) -> None:
    if found:
        lines = "\n".join(f"    {line}" for line in found)
        raise ConfigError(
            f"a resumed run cannot follow these changes:\n{lines}\n"
            f"  Leave them out (trainer.max_epochs, devices, precision, workers, callbacks may change), {_NEW_RUN}."
        )
