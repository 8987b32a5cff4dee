"""Checks that a training will leave a best checkpoint, chosen by the score that was asked for."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from fer.config.option_values import shown
from fer.data.labels import EMOTIONS
from fer.errors import ConfigError, did_you_mean
from fer.scores.registry import each_epoch, lower_is_better

_CHECKPOINT = "pytorch_lightning.callbacks.ModelCheckpoint"
# A run finds its own checkpoints by these: `best` is scored at the end, `last` is resumed from.
_FIXED: dict[str, dict[str, tuple[Any, ...]]] = {
    name: {
        "_target_": (_CHECKPOINT,),
        "filename": (name,),
        "save_top_k": (1, None),
        "every_n_epochs": (1, None),
        "every_n_train_steps": (0, None),
        "train_time_interval": (None,),
        "save_last": (False, None),
        "save_on_train_epoch_end": (True,),
        "save_weights_only": (False, None),
        "enable_version_counter": (False,),
    }
    for name in ("best", "last")
}


def wrong(config: Mapping[str, Any]) -> list[str]:
    """Name what contradicts ``monitor``, and what would end a training without a best checkpoint."""
    problems = _checkpoints(config) + [p for name, node in _callbacks(config) for p in _monitor(name, node, config)]
    mode, right = config["scheduler"].get("mode"), _mode_of(config["monitor"])
    plateau = str(config["scheduler"]["_target_"]).endswith(".ReduceLROnPlateau")
    if plateau and mode != right:
        problems.append(f"scheduler.mode={mode or 'min'}: with monitor={config['monitor']} it must be {right}.")
    every = config["trainer"].get("check_val_every_n_epoch", 1)
    if plateau and every != 1:
        problems.append(
            f"trainer.check_val_every_n_epoch={shown(every)}: scheduler=plateau looks at the validation score after "
            f"each epoch. Leave it 1, or choose another schedule."
        )
    if config["test_last_epoch"] and config["callbacks"].get("last") is None:
        problems.append("test_last_epoch=true: callbacks.last=null keeps no last epoch. Leave one of them out.")
    if not config["trainer"].get("fast_dev_run"):
        problems += _never_best(config)
    return problems


def _callbacks(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((name, node) for name, node in config["callbacks"].items() if node is not None)


def _mode_of(monitor: str) -> str:
    return "min" if lower_is_better(monitor) else "max"


def _checkpoints(config: Mapping[str, Any]) -> list[str]:
    """Check that the run's own checkpoints are written where and as they are looked for, by them alone."""
    problems = []
    folder = f"{config['output_dir']}/checkpoints"
    for name, node in _callbacks(config):
        own = {**_FIXED[name], "dirpath": (folder,)} if name in _FIXED else {}
        for key, allowed in own.items():
            if node.get(key) not in allowed:
                problems.append(
                    f"callbacks.{name}.{key}={shown(node.get(key))}: must stay as it is: the run finds its {name} "
                    f"checkpoint by it. For further checkpoints add a callback: +callbacks.mine._target_={_CHECKPOINT} "
                    f"+callbacks.mine.filename=..."
                )
        clash = not own and node.get("filename") in _FIXED and node.get("dirpath") in (None, folder)
        if clash and str(node["_target_"]).endswith("ModelCheckpoint"):
            problems.append(
                f"callbacks.{name}.filename={node['filename']}: would overwrite the run's own checkpoint of that name."
            )
    return problems


def _monitor(name: str, node: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Check what a callback watches, and in which direction."""
    monitor, chosen, key = node.get("monitor"), config["monitor"], f"callbacks.{name}.monitor"
    if name in ("best", "pruning") and monitor != chosen:
        return [f"{key}={monitor}: it must be that of the run. Say monitor=<score> instead; here that is {chosen}."]
    if name == "last" and monitor is not None:
        return [f"{key}={monitor}: the last checkpoint watches nothing. Say monitor={monitor} for the best one."]
    if not isinstance(monitor, str):
        return []
    problems = []
    split, _, score = monitor.partition("/")
    logged = monitor == chosen or (split in ("val", "train") and (score in each_epoch() or score[3:] in EMOTIONS))
    ours = str(node["_target_"]).startswith(("pytorch_lightning.", "fer."))  # others may log scores of their own
    if not logged and (ours or monitor.startswith(("val", "train"))):
        known = [f"{split}/{score}" for split in ("val", "train") for score in each_epoch()]
        problems.append(
            f"{key}={monitor}: no such score.{did_you_mean(monitor, known)} Known: {', '.join(known)}, val/f1/<class>."
        )
    directed = str(node["_target_"]).rpartition(".")[2] in ("ModelCheckpoint", "EarlyStopping")
    if logged and directed and node.get("mode", "min") != _mode_of(monitor):
        problems.append(
            f"callbacks.{name}.mode={node.get('mode', 'min')}: with {key}={monitor} it must be {_mode_of(monitor)}."
        )
    return problems


def _never_best(config: Mapping[str, Any]) -> list[str]:
    """Name options with which no epoch has a validation score, or no best checkpoint is kept."""
    callbacks, trainer, problems = config["callbacks"], config["trainer"], []
    if callbacks.get("best") is None:
        others = [name for name in callbacks if name != "best"]
        missing = "callbacks.best=null" if "best" in callbacks else f"callbacks=[{','.join(others)}]"
        remedy = "Leave it out." if "best" in callbacks else f"Say callbacks=[{','.join(['default', *others])}]."
        problems.append(f"{missing}: no best checkpoint would be kept, so there would be no score. {remedy}")
    if trainer.get("limit_val_batches") == 0:
        problems.append(
            f"trainer.limit_val_batches={trainer['limit_val_batches']}: without validation there is no best checkpoint "
            f"and no score. It must be above 0."
        )
    if isinstance(interval := trainer.get("val_check_interval"), str | Mapping):
        problems.append(
            f"trainer.val_check_interval={shown(interval)}: is a time, so no epoch need end with a validation, "
            f"as the best checkpoint needs. Say a share of an epoch (0.5), or a number of batches."
        )
    epochs, every = trainer.get("max_epochs"), trainer.get("check_val_every_n_epoch")
    if epochs and every and 0 < epochs < every:
        problems.append(
            f"trainer.check_val_every_n_epoch={every}: the training ends after {epochs} epochs (trainer.max_epochs), "
            f"before the first validation, so there would be no best checkpoint."
        )
    if epochs and trainer.get("min_epochs") and 0 < epochs < trainer["min_epochs"]:
        problems.append(f"trainer.min_epochs={trainer['min_epochs']}: is more than trainer.max_epochs={epochs}.")
    if trainer.get("enable_checkpointing") is False:
        problems.append("trainer.enable_checkpointing=false: no best checkpoint would be kept. Leave it out.")
    if trainer.get("barebones"):
        problems.append("trainer.barebones=true: keeps no checkpoints and no scores. Leave it out.")
    return problems


def refuse_too_short(trainer: Mapping[str, Any], train: int, val: int) -> None:
    """Refuse a training that would keep no best checkpoint, or one of other weights than those that were validated.

    The checkpoint is written when an epoch ends, so each that is validated must end with a validation.

    Args:
        trainer: The group's options.
        train: Batches of the training split.
        val: Batches of the validation split.

    Raises:
        ConfigError: Naming the option, and from which value on it works.
    """
    if trainer.get("fast_dev_run"):
        return
    overfit = trainer.get("overfit_batches") or 0
    for key, batches in (("limit_train_batches", train), ("limit_val_batches", val), ("overfit_batches", train)):
        share = trainer.get(key)
        if isinstance(share, float) and share > 0 and int(batches * share) < 1:
            raise ConfigError(
                f"trainer.{key}={share:g}: is less than one of the {batches} batches. Say a number of batches "
                f"(trainer.{key}=1), or at least {1 / batches:.2g}."
            )
    epoch = _limited(train, overfit or trainer.get("limit_train_batches", 1.0))
    every, interval = trainer.get("check_val_every_n_epoch", 1), trainer.get("val_check_interval")
    if isinstance(interval, int) and every is not None and interval > epoch:
        raise ConfigError(
            f"trainer.val_check_interval={interval}: an epoch has {epoch} batches. Say at most that, or leave it out: "
            f"each epoch is validated at its end."
        )
    within = epoch if interval is None else interval if isinstance(interval, int) else max(1, int(epoch * interval))
    first = (((every or 1) - 1) * epoch) + within
    steps_per_epoch = -(-epoch // (accumulated := trainer.get("accumulate_grad_batches") or 1))
    if accumulated > epoch:
        raise ConfigError(
            f"trainer.accumulate_grad_batches={accumulated}: an epoch has {epoch} batches, whose gradients would be "
            f"divided by {accumulated}. Say at most {epoch}."
        )
    most, epochs = trainer.get("max_steps") or -1, trainer.get("max_epochs") or -1
    if 0 < epochs * epoch < first:
        raise ConfigError(
            f"trainer.val_check_interval={interval}: the training ends after {epochs * epoch} batches "
            f"(trainer.max_epochs={epochs}), before the first validation, so there would be no best checkpoint."
        )
    sooner = f", or +trainer.val_check_interval={math.gcd(most * accumulated, epoch)}" if every == 1 else ""
    if most > 0 and (most // steps_per_epoch) * epoch + (most % steps_per_epoch) * accumulated < first:
        raise ConfigError(
            f"trainer.max_steps={most}: the training ends before the first validation, so there would be no best "
            f"checkpoint. An epoch has {steps_per_epoch} steps. Say trainer.max_steps="
            f"{_steps(first, epoch, accumulated)} or more{sooner}."
        )
    if within < epoch or every is None:
        _refuse_other_weights(trainer, epoch, within)


def _refuse_other_weights(trainer: Mapping[str, Any], epoch: int, within: int) -> None:
    """Refuse validations within an epoch, each ``within`` batches, of which the last does not end it."""
    interval, every = trainer.get("val_check_interval"), trainer.get("check_val_every_n_epoch", 1)
    why = "the best checkpoint, written when an epoch ends, would be of other weights than those that were validated"
    if epoch % within and (every is not None or within % epoch):
        fits = min((n for n in range(1, epoch + 1) if epoch % n == 0), key=lambda n: abs(math.log(n / within)))
        remedy = f"Say +trainer.val_check_interval={fits}" if fits < epoch or every is None else "Leave it out"
        raise ConfigError(
            f"trainer.val_check_interval={interval}: {within} batches do not divide an epoch's {epoch}, so {why}. "
            f"{remedy}."
        )
    accumulated, most = trainer.get("accumulate_grad_batches") or 1, trainer.get("max_steps") or -1
    steps_per_epoch, epochs = -(-epoch // accumulated), trainer.get("max_epochs") or -1
    done, steps = divmod(most, steps_per_epoch)  # whole epochs, and steps of the one in which the run ends
    ends_there = most > 0 and not 0 < epochs <= done and (every is None or (done + 1) % every == 0)
    if ends_there and steps * accumulated > within and steps * accumulated % within:
        raise ConfigError(
            f"trainer.max_steps={most}: the training ends within an epoch, after a validation in it "
            f"(trainer.val_check_interval={interval}), so {why}. "
            f"Say trainer.max_steps={max(1, done) * steps_per_epoch}."
        )


def _limited(batches: int, limit: float | None) -> int:
    return min(batches, limit) if isinstance(limit, int) else int(batches * (1.0 if limit is None else limit))


def _steps(batches: int, epoch: int, accumulated: int) -> int:
    """Return the number of optimiser steps in so many batches; an epoch's last step may have fewer."""
    return (batches // epoch) * -(-epoch // accumulated) + -(-(batches % epoch) // accumulated)
