"""What a resumed run takes up beside the weights, compared with what it would begin with: shapes, kinds and numbers.

torch and Lightning put most of it in place unseen: another shape fails at the first step, another number trains on.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from fer.errors import ConfigError
from fer.training.optim import GROUPING, build_optimizer

_SCHEDULED = {"lr", "betas", "momentum"}  # a schedule changes them
_OF_THE_MACHINE = {"params", "foreach", "fused", "capturable", "differentiable"}  # how it is computed, not what
_UNBOUNDED = ("best", "mode_worse")  # of a plateau schedule: infinite until there is a score
_NEVER_NEGATIVE = {"step", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum"}
_LARGE = 2_000_000  # weights of a tensor whose states are compared with a step only when they look wrong


def check(checkpoint: Mapping[str, Any], trainer: pl.Trainer, optimizer: Mapping[str, Any]) -> None:
    """Compare a checkpoint's states with those of a trainer that is about to take them up.

    Args:
        checkpoint: The content.
        trainer: A trainer with optimisers and schedules, as they are at a run's beginning.
        optimizer: The ``optimizer`` node that they were built from.

    Raises:
        ConfigError: Saying what is wrong.
    """
    for key in ("current_model_state", "averaging_state"):  # of averaged weights (callbacks=[default,ema])
        for name, value in (checkpoint.get(key) or {}).items():
            _check_tensor(value, f"its {key}, {name},")
    _check_loops(checkpoint, trainer)
    for key, built in (("optimizer_states", trainer.optimizers), ("lr_schedulers", trainer.lr_scheduler_configs)):
        if len(checkpoint[key]) != len(built):
            raise ConfigError(f"its {key} are {len(checkpoint[key])}, and this run has {len(built)}")
    for own, state in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
        _check_optimizer(own, state, optimizer)
    for config, state in zip(trainer.lr_scheduler_configs, checkpoint["lr_schedulers"], strict=True):
        _check_schedule(config.scheduler.state_dict(), state)


def _check_loops(checkpoint: Mapping[str, Any], trainer: pl.Trainer) -> None:
    loops = checkpoint["loops"].get("fit_loop")
    if not _alike(trainer.fit_loop.state_dict(), loops):
        raise ConfigError("its loops, which count epochs and steps, are not readable")
    steps = "epoch_loop.automatic_optimization.optim_progress", "optimizer", "step", "total", "completed"
    for key, path in (("epoch", ("epoch_progress", "current", "completed")), ("global_step", steps)):
        counted: Any = loops
        for part in path:
            counted = counted.get(part, {})
        if counted not in ({}, checkpoint[key]):
            raise ConfigError(f"its loops count {counted} where its {key} is {checkpoint[key]}")


def _check_optimizer(own: torch.optim.Optimizer, state: Mapping[str, Any], node: Mapping[str, Any]) -> None:
    groups = state["param_groups"]
    if [len(group["params"]) for group in groups] != [len(group["params"]) for group in own.param_groups]:
        raise ConfigError("its optimizer_states are of other groups of weights")
    given = node.keys() - {*GROUPING, "name"} | {"weight_decay", "initial_lr", "maximize"}
    for number, (mine, theirs) in enumerate(zip(own.param_groups, groups, strict=True)):
        for key in mine.keys() & theirs.keys() - _OF_THE_MACHINE:
            good = _alike(mine[key], theirs[key]) and (key not in given - _SCHEDULED or _equal(mine[key], theirs[key]))
            if not good or (key == "lr" and theirs[key] < 0):
                raise ConfigError(
                    f"its optimizer_states say {key}={str(theirs[key])[:40]} of group {number}, and the run {mine[key]}"
                )
    parameters = [parameter for group in own.param_groups for parameter in group["params"]]
    known: dict[tuple[int, ...], Mapping[str, Any] | None] = {}
    for number, values in state["state"].items():
        if not isinstance(number, int) or not 0 <= number < len(parameters):
            raise ConfigError(f"its optimizer_states are of weights number {str(number)[:40]}, which there are not")
        if values:  # none: of weights that no step has changed yet
            _check_state(values, parameters[number], node, known, f"number {number}")


def _check_state(
    values: Mapping[str, Any],
    parameter: nn.Parameter,
    node: Mapping[str, Any],
    known: dict[tuple[int, ...], Mapping[str, Any] | None],
    where: str,
) -> None:
    """Compare what an optimiser keeps of one tensor of weights with what a first step leaves."""
    shape = tuple(parameter.shape)
    usual = all(value.shape == shape or value.numel() == 1 for value in values.values() if isinstance(value, Tensor))
    for key, value in values.items():
        if isinstance(value, Tensor):
            _check_tensor(value, f"its optimizer_states, {key} of weights {where},", key in _NEVER_NEGATIVE)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"its optimizer_states hold {key}={value} of weights {where}")
    if usual and parameter.numel() > _LARGE:
        return
    if shape not in known:
        known[shape] = _after_a_step(shape, node)
    for key, value in (known[shape] or {}).items():
        there = values.get(key)
        if key not in values or isinstance(value, Tensor) != isinstance(there, Tensor):
            raise ConfigError(f"its optimizer_states lack {key} of weights {where}")
        if isinstance(value, Tensor) and isinstance(there, Tensor):
            if value.shape != there.shape and not value.numel() == there.numel() == 1:
                raise ConfigError(
                    f"its optimizer_states hold {key} of shape {list(there.shape)} of weights {where}, which needs "
                    f"{list(value.shape)}"
                )
        elif not _alike(value, there):
            raise ConfigError(f"its optimizer_states hold {key}={str(there)[:40]} of weights {where}")


def _after_a_step(shape: Sequence[int], node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what the optimiser keeps of a tensor of this shape; None where a step alone does not tell."""
    parameter = nn.Parameter(torch.zeros(tuple(shape)))
    parameter.grad = torch.zeros_like(parameter)
    group = {"params": [parameter], "lr": node["lr"], "weight_decay": node["weight_decay"]}
    try:
        with torch.random.fork_rng(devices=[]):
            optimizer = build_optimizer(node, [group])
            optimizer.step()
            return dict(optimizer.state_dict()["state"].get(0, {}))
    except Exception:  # one that wants a closure, or several tensors
        return None


def _check_schedule(own: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    for key, value in state.items():
        if key == "verbose":  # of older releases of torch
            continue
        good = key in own and _alike(own[key], value, infinite=key in _UNBOUNDED)
        good = good and not (key in ("last_epoch", "_step_count") and value < 0)
        if not good or (key == "base_lrs" and not _equal(own[key], value)):
            raise ConfigError(
                f"its lr_schedulers say {key}={str(value)[:40]}, and the run's schedule {str(own.get(key))[:40]}"
            )


def _check_tensor(value: Any, what: str, never_negative: bool = False) -> None:
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_meta:
        raise ConfigError(f"{what} is no tensor with values")
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise ConfigError(f"{what} holds values that are no finite numbers")
    if never_negative and bool((value < 0).any()):
        raise ConfigError(f"{what} holds negative values")


def _alike(own: Any, there: Any, infinite: bool = False) -> bool:
    """Say whether a value is of the kind of another: a number that is finite, a list as long, a mapping of the like."""
    if own is None or there is None:
        return own is None
    if isinstance(own, bool) or isinstance(there, bool):
        return isinstance(own, bool) and isinstance(there, bool)
    if isinstance(own, int | float):
        return isinstance(there, int | float) and (infinite or math.isfinite(there))
    if isinstance(own, Mapping):
        return isinstance(there, Mapping) and all(_counts(key, own[key], there[key]) for key in own.keys() & there)
    if isinstance(own, list | tuple):
        same = isinstance(there, list | tuple) and len(there) == len(own)
        return same and all(_alike(*pair) for pair in zip(own, there, strict=True))
    return isinstance(there, type(own))


def _counts(key: Any, own: Any, there: Any) -> bool:
    """Say the same of a mapping's values; Lightning's numbers count something."""
    counted = isinstance(own, int) and not isinstance(own, bool) and isinstance(key, str)
    return _alike(own, there) and not (counted and (there < 0 or there != int(there)))


def _equal(own: Any, there: Any) -> bool:
    if isinstance(own, list | tuple):
        return all(_equal(*pair) for pair in zip(own, there, strict=True))
    if isinstance(own, float):
        return math.isclose(own, there, rel_tol=1e-9)
    return bool(own == there)
