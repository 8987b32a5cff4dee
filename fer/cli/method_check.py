"""Checks of ways to train that exclude each other: corrected class counts, teachers, labels, frozen backbones."""

from collections.abc import Mapping
from typing import Any

from fer.config.option_values import shown
from fer.files.home import expanded


def wrong(config: Mapping[str, Any]) -> list[str]:
    """Name what cannot be together in a training."""
    return [*_class_counts(config), *_teachers(config), *_many_targets(config), *_frozen(config)]


def _class_counts(config: Mapping[str, Any]) -> list[str]:
    """Check that class counts are corrected for once."""
    loss = config["loss"]
    if not str(loss["_target_"]).endswith(".LogitAdjustedLoss"):
        return []
    why = "loss=logit_adjusted corrects for the classes' counts already: twice would favour rare classes."
    problems = []
    if loss.get("class_weights") is not None:
        problems.append(f"loss.class_weights={shown(loss['class_weights'])}: {why} Leave it out, or use cross_entropy.")
    if config["data"].get("sampler") == "weighted":
        problems.append(f"data.sampler=weighted: {why} Use data.sampler=shuffle, or loss=cross_entropy.")
    return problems


def _teachers(config: Mapping[str, Any]) -> list[str]:
    """Check that teachers see what the student sees."""
    mixup = config["mixup"]
    if config["teacher"] is None or not (mixup["mixup_alpha"] > 0 or mixup["cutmix_alpha"] > 0):
        return []
    return ["teacher: mixed images are made of the student's input, which teachers do not see. Choose mixup=none."]


def _many_targets(config: Mapping[str, Any]) -> list[str]:
    """Check that a loss which takes each class of a target for right gets no blends of labels."""
    if not str(config["loss"]["_target_"]).endswith(".MultiTargetLoss"):
        return []
    problems, mixup = [], config["mixup"]
    if config["data"].get("refine") is not None:
        problems.append("data.refine: loss=multi_target would take every class for right. Use loss=cross_entropy.")
    if mixup["mixup_alpha"] > 0 or mixup["cutmix_alpha"] > 0:
        problems.append(
            "mixup: loss=multi_target would take both labels of a mixed image for right, however little there is of "
            "one. Choose mixup=none, or loss=cross_entropy."
        )
    return problems


def _frozen(config: Mapping[str, Any]) -> list[str]:
    """Check that a backbone which is to be trained later is not frozen for good, by the command or as ``init=`` was."""
    model = config["model"]
    freeze = model.get("freeze") if str(model["_target_"]).startswith("fer.models.") else False
    if config["callbacks"].get("finetuning") is None or not (all(freeze) if isinstance(freeze, list) else freeze):
        return []
    return [
        f"model.freeze={shown(freeze)}: keeps the backbone frozen for good, and callbacks.finetuning is to unfreeze "
        f"it. Say model.freeze=false: finetuning itself freezes it in the first epochs."
    ]


def missing(config: Mapping[str, Any]) -> list[str]:
    """Name teachers, and an audit, that are not there."""
    teacher, audit = config.get("teacher") or [], (config.get("data") or {}).get("refine")
    gone = audit is not None and not expanded(audit).exists()
    problems = [f"data.refine={audit}: no such folder. python -m fer.audit refine=true makes one."] if gone else []
    return problems + [
        f"teacher={path}: no such file or folder. A run's folder, or a checkpoint in it, can teach."
        for path in ([teacher] if isinstance(teacher, str) else teacher)
        if not expanded(path).exists()
    ]
