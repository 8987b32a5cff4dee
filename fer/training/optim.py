"""Optimisers (timm's registry of torch's and its own), parameter groups and learning-rate schedules (torch's)."""

import inspect
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, OneCycleLR

from fer.build import build, locate, refused
from fer.errors import ConfigError, did_you_mean

log = logging.getLogger(__name__)

OF_TORCH = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
"""Those that timm's registry would take from torch as they are."""
GROUPING = ("lr", "weight_decay", "backbone_lr_factor", "layer_decay")
"""The keys of the ``optimizer`` group that :func:`parameter_groups` takes."""


def parameter_groups(
    net: nn.Module,
    lr: float,
    weight_decay: float,
    backbone_lr_factor: float = 1.0,
    layer_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Sort a network's trainable parameters into groups by learning rate and weight decay.

    Biases, norms and whatever the network lists in ``no_weight_decay()`` are not decayed. Biases and norms are told
    by their one dimension, so this comes before a strategy such as FSDP flattens the weights.

    Args:
        net: The network; ``backbone_lr_factor`` and ``layer_decay`` act on its ``backbone``.
        lr: The head's learning rate.
        weight_decay: For the weights that are decayed.
        backbone_lr_factor: Backbone's learning rate as a fraction of the head's.
        layer_decay: Factor from each of the backbone's blocks to the one before (timm's blocks); None for none.

    Raises:
        ConfigError: If nothing is trainable, or a backbone or its order of layers is asked for and there is none.
    """
    backbone = getattr(net, "backbone", None)
    if backbone is None and (backbone_lr_factor != 1.0 or layer_decay is not None):
        raise ConfigError(
            f"optimizer.backbone_lr_factor and optimizer.layer_decay need a model with a backbone; "
            f"{type(net).__name__} has none."
        )
    frozen = backbone is not None and not any(parameter.requires_grad for parameter in backbone.parameters())
    if frozen and (backbone_lr_factor != 1.0 or layer_decay is not None):
        raise ConfigError(
            "optimizer.backbone_lr_factor and optimizer.layer_decay are of the backbone, which model.freeze does not "
            "train. Leave out the one or the other."
        )
    scales: dict[int, float] = {}
    if backbone is not None:
        scales = {id(p): backbone_lr_factor for p in backbone.parameters()}
        if layer_decay is not None:
            from timm.optim import param_groups_layer_decay  # timm takes a second, which most runs need not wait for

            layers = param_groups_layer_decay(backbone, layer_decay=layer_decay)
            if len({group["lr_scale"] for group in layers}) == 1:
                raise ConfigError(
                    f"optimizer.layer_decay={layer_decay}: {type(net).__name__} does not say which of its layers come "
                    f"first, as timm's networks do. Use optimizer.backbone_lr_factor."
                )
            for group in layers:
                scales.update({id(p): backbone_lr_factor * group["lr_scale"] for p in group["params"]})
    undecayed = _no_weight_decay(net) | {f"backbone.{name}" for name in _no_weight_decay(backbone)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if parameter.ndim <= 1 or name in undecayed else weight_decay
            groups[scales.get(id(parameter), 1.0), decay].append(parameter)
    if not groups:
        raise ConfigError("model.freeze: no parameter is left to train.")
    return [
        {"params": parameters, "lr": lr * scale, "weight_decay": decay}
        for (scale, decay), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def _no_weight_decay(net: nn.Module | None) -> set[str]:
    """Return the parameters that a network itself (timm's do) exempts from weight decay."""
    names = getattr(net, "no_weight_decay", set)
    return set(names())


def build_optimizer(node: Mapping[str, Any], groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Build the optimiser that the ``optimizer`` group names.

    Args:
        node: ``name`` (one of timm's) and :data:`GROUPING`; every other key goes to the optimiser.
        groups: The network's :func:`parameter_groups`.

    Raises:
        ConfigError: If the name is unknown or the optimiser refuses an option.
    """
    options = {key: value for key, value in node.items() if key not in GROUPING}
    name = options.pop("name")
    create = _of_torch(name, options) or _of_timm(name, options)
    try:
        return create(groups, lr=node["lr"], weight_decay=node["weight_decay"], **options)
    except Exception as error:  # each raises what it likes
        raise refused("optimizer", node, name, error) from error


def _of_torch(name: str, options: dict[str, Any]) -> Callable[..., torch.optim.Optimizer] | None:
    """Return the optimiser of a name that timm's registry takes from torch as it is: most runs do without timm."""
    found = OF_TORCH.get(name.lower())
    if found is torch.optim.SGD:
        options.update({"momentum": 0.9, "nesterov": True} | options)  # as timm's
    if found and (unknown := options.keys() - inspect.signature(found).parameters.keys()):
        raise _unknown(name, min(unknown))
    return found


def _unknown(name: str, key: str) -> ConfigError:
    return ConfigError(
        f"optimizer.{key}: {name} has no such option. Leave it out; if the experiment sets it for another optimiser, "
        f"say ~optimizer.{key}."
    )


def _of_timm(name: str, options: Mapping[str, Any]) -> Callable[..., torch.optim.Optimizer]:
    """Return what builds one of timm's optimisers by its name."""
    from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers

    known = [str(known) for known in list_optimizers()]
    if name.lower() not in known:
        raise ConfigError(f"optimizer.name={name} is unknown.{did_you_mean(name, known)}")
    info = get_optimizer_info(name)
    if info.second_order:
        raise ConfigError(
            f"optimizer.name={name}: needs gradients of gradients, which a training here does not compute. Choose one "
            f"without, such as adamw."
        )
    # timm drops these without a word where the optimiser has no such option.
    for key, has in (("eps", info.has_eps), ("betas", info.has_betas), ("momentum", info.has_momentum)):
        if key in options and not has:
            raise _unknown(name, key)
    return partial(create_optimizer_v2, opt=name)


def warmup_cosine(
    optimizer: torch.optim.Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    warmup_epochs: float = 0.0,
    min_factor: float = 0.0,
) -> LambdaLR:
    """Linear warm-up, then half a cosine down to ``min_factor`` times the learning rate, step by step.

    Source: Loshchilov & Hutter, "SGDR", ICLR 2017, https://arxiv.org/abs/1608.03983 (without restarts).
    """
    warmup = min(round(warmup_epochs * steps_per_epoch), total_steps - 1)
    if warmup and warmup == total_steps - 1:
        log.warning("scheduler.warmup_epochs=%g: is all of the run; the learning rate never falls.", warmup_epochs)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        return min_factor + (1 - min_factor) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)


def build_scheduler(
    node: Mapping[str, Any], optimizer: torch.optim.Optimizer, total_steps: int | None, steps_per_epoch: int
) -> dict[str, Any]:
    """Build the schedule that the ``scheduler`` group names, as Lightning wants it.

    What only the run knows is filled in by parameter name where the node leaves it out: ``total_steps``,
    ``steps_per_epoch``, ``max_lr`` (each group's learning rate) and the momentum that falls while the rate rises.

    Args:
        node: ``_target_``, ``interval`` (``step`` or ``epoch``) and the schedule's options.
        optimizer: The optimiser.
        total_steps: Number of optimiser steps of the whole run; None if it has no end by epochs or steps.
        steps_per_epoch: Number of optimiser steps of an epoch.

    Raises:
        ConfigError: If the schedule needs the run's length and there is none, or ends before the run.
    """
    options = dict(node)
    interval = options.pop("interval")
    rates = [group["lr"] for group in optimizer.param_groups]
    run = {
        "optimizer": optimizer,
        "total_steps": total_steps,
        "steps_per_epoch": steps_per_epoch,
        "max_lr": rates,
    }
    target = locate(options["_target_"], "scheduler")
    takes = inspect.signature(target).parameters
    _refuse_without_effect(options, target, interval, "total_steps" in takes)
    if "total_steps" in takes and total_steps is None and options.get("total_steps") is None:
        raise ConfigError(
            f"scheduler: {options['_target_']} plans the whole run, which has no end: set trainer.max_epochs or "
            f"trainer.max_steps, or choose scheduler=constant, step or plateau."
        )
    given = options.get("total_steps")
    if target is OneCycleLR and given is not None and total_steps is not None and given < total_steps:
        raise ConfigError(
            f"scheduler.total_steps={given}: the run has {total_steps} steps, and a one-cycle schedule has none after "
            f"its last. Leave it out (the schedule then ends with the run), or set trainer.max_steps={given}."
        )
    if "total_steps" in takes and target is not warmup_cosine:
        del run["steps_per_epoch"]  # OneCycleLR takes one or the other
    known = {key: value for key, value in run.items() if key in takes and options.get(key) is None}
    if isinstance(base := options.get("base_lr"), int | float) and "max_lr" in known:
        if base >= max(rates):
            raise ConfigError(f"scheduler.base_lr={base:g}: must be below optimizer.lr={max(rates):g}.")
        options["base_lr"] = [base * rate / max(rates) for rate in rates]  # slower groups cycle as far below theirs
    if "cycle_momentum" in takes and options.get("cycle_momentum", True):
        options |= _cycled_momentum(options, optimizer)
    return {"scheduler": build(options, "scheduler", **known), "interval": interval}


def _refuse_without_effect(options: Mapping[str, Any], target: Any, interval: str, planned: bool) -> None:
    """Refuse what a schedule would make of something else than it says.

    Args:
        options: The schedule's.
        target: Its class or function.
        interval: When it is asked.
        planned: Whether it plans the whole run.
    """
    if planned and interval == "epoch":
        raise ConfigError(
            f"scheduler.interval=epoch: {target.__name__} plans the run step by step, and would be at its beginning "
            f"still after the last epoch. Leave it out."
        )
    if options.get("max_lr") is not None:
        raise ConfigError(
            f"scheduler.max_lr={options['max_lr']}: the highest learning rate is optimizer.lr, and that of slower "
            f"groups (backbone_lr_factor, layer_decay) as far below it. Say optimizer.lr={options['max_lr']}."
        )
    if target is ConstantLR and options.get("factor") != 1:
        raise ConfigError(
            f"scheduler.factor={options.get('factor')}: torch undoes it after scheduler.total_iters (5). Set "
            f"optimizer.lr for a constant rate."
        )


def _cycled_momentum(options: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the range in which a schedule moves the momentum; torch's own would take the place of the optimiser's.

    Args:
        options: The schedule's, as the config gives them.
        optimizer: Its momentum (or first beta, where it has betas) is the highest unless the schedule says another.
    """
    highest = options.get("max_momentum")
    if highest is None:
        own = [group["betas"][0] if "betas" in group else group.get("momentum") for group in optimizer.param_groups]
        if None in own or not any(own):  # none to move; torch refuses an optimiser that has no momentum
            return {"cycle_momentum": None in own}
        highest = own
    lowest = options.get("base_momentum")
    if lowest is None:
        lowest = (
            [max(0.0, each - 0.1) for each in highest] if isinstance(highest, Sequence) else max(0.0, highest - 0.1)
        )
    return {"max_momentum": highest, "base_momentum": lowest}
