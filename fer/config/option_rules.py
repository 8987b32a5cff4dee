"""Types and ranges of options that no component's own signature says, or says too loosely: one line an option.

An option of a dataset, network and so on is first checked against the annotation in its ``__init__``
(:mod:`fer.config.signatures`); a line here is needed for a range, for keys of no component, and for looser annotations.
"""

import os
import re
from fnmatch import fnmatchcase
from math import inf
from typing import Any, NamedTuple

PRECISIONS = (
    "auto", "32-true", "32", "64-true", "64", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "transformer-engine",
    "transformer-engine-float16",
)  # fmt: skip
_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
_REASONS = (
    "copies_across_splits", "redundant", "near_redundant", "conflicting_labels", "near_conflicting_labels",
    "in_against", "flat", "dark", "bright", "suspect_labels",
)  # fmt: skip
_CORRUPTIONS = ("blur", "noise", "jpeg", "low_resolution", "dark", "occlusion", "rotation", "zoom")
_POOLINGS = "Literal['avg', 'max', 'avgmax', 'flatten']"


class Rule(NamedTuple):
    """What an option may be; of a list of numbers, each must be in the range.

    Attributes:
        annotation: Its type, as a Python annotation; None for that of the signature.
        at_least: The smallest number allowed.
        above: The number that it must be larger than, instead of ``at_least``.
        at_most: The largest number allowed.
        below: The number that it must be smaller than, instead of ``at_most``.
        also: A number outside the range that has a meaning of its own.
        share: Whether a float is a share of all batches, and so at most 1; an integer is a number of batches.
        choices: All values allowed.
        items: All values that a list may hold.
        not_empty: Whether a list needs at least one item.
    """

    annotation: str | None = None
    at_least: float = -inf
    above: float = -inf
    at_most: float = inf
    below: float = inf
    also: int | None = None
    share: bool = False
    choices: tuple[Any, ...] = ()
    items: tuple[str, ...] = ()
    not_empty: bool = False


_OPTIONS: dict[str, Rule] = {
    "name": Rule("str | int | float | None"),
    "ckpt": Rule("str | None"),
    "teacher": Rule("str | Sequence[str] | None", not_empty=True),
    "teacher_temperature": Rule(above=0, at_most=100),
    "teacher_weight": Rule(above=0, at_most=1),
    "init": Rule("str | None"),
    "runs": Rule("str | Sequence[str]", not_empty=True),
    "subjects": Rule("str | None"),
    "probabilities": Rule("str | None"),
    "seed": Rule(at_least=0, at_most=2**32 - 1),
    "resamples": Rule(at_least=0, at_most=100_000),
    "mistakes": Rule(at_least=0, at_most=1000),
    "similarity": Rule(at_least=0.65, at_most=1),
    "dark": Rule(at_least=0, at_most=1),
    "bright": Rule(at_least=0, at_most=1),
    "folds": Rule(at_least=2, at_most=100),
    "pictures": Rule(at_least=0, at_most=1000),
    "image_size": Rule(at_least=16, at_most=4096),
    "margin": Rule(at_least=0.5, at_most=5),
    "min_size": Rule(at_least=0, at_most=4096),
    "source": Rule("str | int | None"),
    "compare": Rule("str | None"),
    "push": Rule("str | None"),
    "shard_mb": Rule("float", above=0, at_most=100_000),
    "port": Rule(at_least=0, at_most=65535),
    "picture_mb": Rule("float", above=0, at_most=1000),
    "video_mb": Rule("float", above=0, at_most=100_000),
    "video_seconds": Rule("float", above=0),
    "faces": Rule(at_least=1, at_most=10_000),
    "detector": Rule(choices=("none", "fast", "accurate", "haar")),
    "min_confidence": Rule(at_least=0, at_most=1),
    "detect_every": Rule(at_least=1),
    "smooth": Rule(at_least=0),
    "seconds": Rule("float | None", above=0),
    "annotated": Rule(at_least=0),
    "batch_size": Rule(at_least=1),
    "threads": Rule("int | None", at_least=1, at_most=256),
    "workers": Rule("int | None", at_least=1, at_most=256),
    "images": Rule(at_least=1),
    "tolerance": Rule(above=0),
    "max_drop": Rule(at_least=0, at_most=1),
    "frame": Rule(choices=(None, "match")),
    "corruptions": Rule("bool | Sequence[str]", items=_CORRUPTIONS, not_empty=True),
    "format": Rule(choices=("onnx", "openvino", "torch_export", "safetensors")),
    "choose": Rule(choices=("greedy", "all")),
    "select_by": Rule(choices=("score", "gap")),
    "tta": Rule(choices=("none", "flip", "shift", "tencrop")),
    "split": Rule(choices=(None, "train", "val", "test", "all")),
    "accelerator": Rule(choices=("auto", "cpu", "gpu", "cuda", "mps")),
    "copies": Rule(choices=("exact", "near")),
    "several": Rule(choices=("largest", "all", "none")),
    "exclude": Rule(items=_REASONS),
    "exclude_from": Rule(items=("train", "val", "test")),
    "optimizer.name": Rule("str"),
    "optimizer.lr": Rule("float", above=0, at_most=1000),
    "optimizer.weight_decay": Rule("float", at_least=0),
    "optimizer.momentum": Rule("float", at_least=0, below=1),
    "optimizer.nesterov": Rule("bool"),
    "optimizer.amsgrad": Rule("bool"),  # torch takes any text, no too, for true
    "optimizer.maximize": Rule("bool"),
    "optimizer.caution": Rule("bool"),
    "optimizer.centered": Rule("bool"),
    "optimizer.foreach": Rule("bool | None"),
    "optimizer.fused": Rule("bool | None"),
    "optimizer.betas": Rule("Sequence[float]", at_least=0, below=1, not_empty=True),
    "optimizer.eps": Rule("float | None", at_least=0),
    "optimizer.backbone_lr_factor": Rule("float", above=0, at_most=100),
    "optimizer.layer_decay": Rule("float | None", above=0, at_most=1),
    "scheduler.interval": Rule("Literal['step', 'epoch']"),
    "scheduler.warmup_epochs": Rule(at_least=0),
    "scheduler.min_factor": Rule(at_least=0, at_most=1),
    "scheduler.step_size": Rule(at_least=1),
    "scheduler.gamma": Rule(above=0, at_most=10),
    "scheduler.factor": Rule(above=0, at_most=1),
    "scheduler.total_iters": Rule(at_least=0),
    "scheduler.patience": Rule(at_least=0),
    "scheduler.cooldown": Rule(at_least=0),
    "scheduler.threshold": Rule(at_least=0),
    "scheduler.min_lr": Rule(at_least=0, at_most=1000),
    "scheduler.base_lr": Rule(at_least=0, at_most=1000),
    "scheduler.step_size_up": Rule(at_least=1),
    "scheduler.step_size_down": Rule(at_least=1),
    "scheduler.pct_start": Rule(above=0, below=1),
    "scheduler.div_factor": Rule(above=0),
    "scheduler.final_div_factor": Rule(above=0),
    "scheduler.total_steps": Rule(at_least=1),
    "scheduler.max_momentum": Rule("float | Sequence[float] | None", at_least=0, below=1),
    "scheduler.base_momentum": Rule("float | Sequence[float] | None", at_least=0, below=1),
    "loss.class_weights": Rule("Literal['balanced'] | Sequence[float] | None", at_least=0),
    "loss.label_smoothing": Rule(at_least=0, below=1),
    "loss.gamma": Rule(at_least=0),
    "loss.tau": Rule("float", above=0, at_most=10),
    "loss.class_priors": Rule("Sequence[float] | None", above=0, at_most=1),
    "loss.epsilon": Rule(above=0, at_most=1),
    "mixup.mixup_alpha": Rule("float", at_least=0, at_most=100),
    "mixup.cutmix_alpha": Rule("float", at_least=0, at_most=100),
    "data.fit": Rule("Literal['pad', 'crop', 'stretch'] | None"),
    "data.augment_on": Rule("Literal['loader', 'device']"),
    "data.split_seed": Rule(at_least=0, at_most=2**32 - 1),
    "data.sampler": Rule("Literal['shuffle', 'weighted']"),
    "data.channels": Rule("Literal[1, 3] | None"),
    "data.folds": Rule("int | Literal['loso']", at_least=2),
    "data.batch_size": Rule("int | Literal['auto']", at_least=1),
    "data.num_workers": Rule(at_least=0, at_most=max(64, 4 * (os.cpu_count() or 1))),
    "data.image_size": Rule(at_least=1, at_most=4096),
    "data.mean": Rule(at_least=0, at_most=1),
    "data.std": Rule(above=0, at_most=1),
    "data.val_fraction": Rule(at_least=0, at_most=0.9),
    "data.test_fraction": Rule(at_least=0, at_most=0.9),
    "data.fold": Rule(at_least=0),
    "data.refine_weight": Rule(above=0, at_most=1),
    "data.num_samples": Rule(at_least=1),
    "data.generator_seed": Rule(at_least=0),
    "data.last_frames": Rule(at_least=1),
    "data.min_confidence": Rule(at_least=0, at_most=100),
    "data.angles": Rule(items=("FL", "HL", "S", "HR", "FR"), not_empty=True),
    "data.datasets": Rule(not_empty=True),
    "data.classes": Rule(not_empty=True),
    "model.pooling": Rule(f"{_POOLINGS} | None"),
    "model.head.pooling": Rule(f"{_POOLINGS} | None"),
    "model.padding": Rule("Literal['same', 'valid']"),
    "model.first_shortcut": Rule("Literal['conv', 'pool']"),
    "model.layers": Rule(at_least=1, not_empty=True),
    "model.filters": Rule(at_least=1, not_empty=True),
    "model.convs_per_block": Rule(at_least=1),
    "model.kernel_size": Rule(at_least=1),
    "model.hidden": Rule(at_least=1),
    "model.dropout": Rule(at_least=0, below=1),
    "model.image_sizes": Rule(at_least=1, at_most=4096),
    "model.head.hidden": Rule(at_least=1),
    "model.head.dropout": Rule(at_least=0, below=1),
    "model.backbones": Rule(not_empty=True),
    "transforms.*.p": Rule(at_least=0, at_most=1),
    "transforms.*.blur_limit": Rule(at_least=0, at_most=999),
    "trainer.gradient_clip_algorithm": Rule("Literal['norm', 'value'] | None"),
    "trainer.deterministic": Rule("Literal['warn'] | bool | None"),
    "trainer.accelerator": Rule(choices=_ACCELERATORS),
    "trainer.enable_progress_bar": Rule("bool"),
    "trainer.precision": Rule("str | int | None"),
    "trainer.num_nodes": Rule(at_least=1),
    "trainer.max_epochs": Rule(at_least=1, also=-1),
    "trainer.min_epochs": Rule(at_least=0),
    "trainer.max_steps": Rule(at_least=1, also=-1),
    "trainer.min_steps": Rule(at_least=0),
    "trainer.accumulate_grad_batches": Rule(at_least=1),
    "trainer.gradient_clip_val": Rule(at_least=0),
    "trainer.limit_train_batches": Rule(above=0, share=True),
    "trainer.limit_val_batches": Rule(at_least=0, share=True),
    "trainer.overfit_batches": Rule(at_least=0, share=True),
    "trainer.val_check_interval": Rule(above=0),
    "trainer.check_val_every_n_epoch": Rule(at_least=1),
    "trainer.log_every_n_steps": Rule(at_least=0),
    "trainer.num_sanity_val_steps": Rule(at_least=0, also=-1),
    "trainer.fast_dev_run": Rule(at_least=0),
    "trainer.reload_dataloaders_every_n_epochs": Rule(at_least=0),
    "callbacks.*.mode": Rule("Literal['min', 'max']"),
    "callbacks.early_stopping.patience": Rule(at_least=0),
    "callbacks.early_stopping.min_delta": Rule(at_least=0),
    "callbacks.ema.decay": Rule(at_least=0, at_most=1),
    "callbacks.ema.update_every_n_steps": Rule(at_least=1),
    "callbacks.ema.update_starting_at_step": Rule(at_least=0),
    "callbacks.ema.update_starting_at_epoch": Rule(at_least=0),
    "callbacks.finetuning.epoch": Rule(at_least=0),
    "callbacks.progressive_resizing.image_size": Rule(at_least=1, at_most=4096),
    "callbacks.progressive_resizing.share": Rule(above=0, at_most=1),
    "callbacks.samples.num_images": Rule(at_least=1),
    "callbacks.progress.refresh_rate": Rule(at_least=0),
    "callbacks.pruning.startup_trials": Rule(at_least=0),
    "callbacks.pruning.warmup_epochs": Rule(at_least=0),
    "logger.*.save_dir": Rule("str"),
}
"""Key to rule; ``*`` stands for one part of a key."""

# Each block of a plain network may have its own pooling.
_OF_TARGET = {
    ("fer.models.cnn.CNN", "model.pooling"): Rule(
        "Literal['max', 'avg'] | Sequence[Literal['max', 'avg'] | None] | None"
    )
}
_NONE = Rule()


def rule(key: str, target: str = "") -> Rule:
    """Return the rule of an option; an empty one where there is none.

    Args:
        key: Its full key; ``against.`` (an audit's second dataset) means ``data.``.
        target: The ``_target_`` of its node.
    """
    if (target, key) in _OF_TARGET:
        return _OF_TARGET[target, key]
    key = re.sub("^against\\.", "data.", key)
    found = (given for pattern, given in _OPTIONS.items() if "*" in pattern and fnmatchcase(key, pattern))
    return _OPTIONS.get(key) or next(found, _NONE)
