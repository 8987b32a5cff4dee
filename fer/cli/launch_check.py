"""Checks that a training fits what has started it: the number of processes, and of machines."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from fer import ranks
from fer.environment import CHILD
from fer.errors import ConfigError


def refuse_sweep() -> None:
    """Refuse a sweep that several processes would each run as a whole.

    Raises:
        ConfigError: If a launcher has started more than this one.
    """
    place = ranks.place()
    if place.world > 1:
        raise ConfigError(
            f"-m (--multirun): {place.launcher} has started this {place.world} times, and each process would run the "
            f"whole sweep. Without {place.launcher}, trainer.devices={place.per_node or 2} starts each job's processes "
            f"itself: python -m fer.train -m trainer.devices={place.per_node or 2} ... On a cluster, "
            f"hydra/launcher=submitit_slurm makes each job one of SLURM's."
        )


def is_left_to_the_first(command: str) -> bool:
    """Say whether this process has nothing to do, since a launcher has started several of a command that needs one.

    A batch script's ``srun python -m fer.test ...`` is meant once, whatever the number of tasks of its training was.

    Args:
        command: ``test``, ``audit``, ...; a training alone runs in several processes.
    """
    place = ranks.place()
    if command == "train" or not place.launcher or place.rank == 0:
        return False
    if place.rank == 1:  # for all others
        own = "env -u SLURM_STEP_NUM_TASKS python" if place.launcher == "SLURM" else "without torchrun, python"
        print(
            f"{place.launcher} has started this {place.world} times: fer.{command} is the work of one process, and the "
            f"first does it. If each process has another command: {own} -m fer.{command} ...",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    return True


def wrong(config: Mapping[str, Any]) -> list[str]:
    """Name a launcher that would have no effect, and what contradicts the one that has started this."""
    trainer = config.get("trainer")
    problems = _unused() + _no_search(config)
    if not isinstance(trainer, Mapping):
        return problems
    return problems + _other_number(trainer) + _unequal_shares(config)


def _unused() -> list[str]:
    launcher = str(HydraConfig.get().runtime.choices.get("hydra/launcher", "basic"))
    elsewhere = launcher.startswith(("submitit", "ray"))
    if not elsewhere or HydraConfig.get().mode != RunMode.RUN or CHILD in os.environ:
        return []
    return [
        f"hydra/launcher={launcher}: without -m (--multirun) it is not used, and the run would be on this machine. "
        f"Add -m: python -m fer.train -m hydra/launcher={launcher} ..."
    ]


def _other_number(trainer: Mapping[str, Any]) -> list[str]:
    """Name a number of devices or machines that is not the launcher's."""
    place, devices, nodes = ranks.place(), _devices(trainer), trainer.get("num_nodes") or 1
    if not place.launcher:
        if nodes == 1 or {"MASTER_ADDR", "NODE_RANK"} <= os.environ.keys():
            return []
        return [
            f"trainer.num_nodes={nodes}: nothing has started this on several machines, so it would wait for the others "
            f"for ever. Start it on each, with --node-rank=0, 1, ...: torchrun --nnodes={nodes} "
            f"--nproc-per-node={devices or 1} --node-rank=0 --master-addr=<the first machine> -m fer.train ... Under "
            f"SLURM: srun --nodes={nodes} --ntasks-per-node={devices or 1} python -m fer.train ... On this one alone: "
            f"trainer.num_nodes=1."
        ]
    if not place.per_node:
        return [
            f"trainer.num_nodes={nodes}: {place.launcher} has started {place.world} processes on {place.nodes} "
            f"machines. Each machine needs as many as the others."
        ]
    if nodes == place.nodes and devices in (None, place.per_node):
        return []
    started = f"{place.per_node} process{'es' if place.per_node > 1 else ''} on "
    started += f"each of {place.nodes} machines" if place.nodes > 1 else "one machine"
    flags = (
        f"torchrun --nnodes={nodes} --nproc-per-node={devices or place.per_node}"
        if place.launcher == "torchrun"
        else f"srun --nodes={nodes} --ntasks-per-node={devices or place.per_node}"
    )
    return [
        f"trainer.devices={trainer.get('devices')} trainer.num_nodes={nodes}: {place.launcher} has started {started}. "
        f"Say trainer.devices={place.per_node} trainer.num_nodes={place.nodes}, or start it with {flags}."
    ]


def _unequal_shares(config: Mapping[str, Any]) -> list[str]:
    """Name a batch that the devices cannot share equally."""
    trainer, data = config["trainer"], config.get("data") or {}
    size, world = data.get("batch_size"), (_devices(trainer) or 1) * (trainer.get("num_nodes") or 1)
    if not isinstance(size, int) or size % world == 0:
        return []
    return [
        f"data.batch_size={size} is the global batch and must be a multiple of the number of devices ({world}), for "
        f"example {max(1, size // world) * world}."
    ]


def _no_search(config: Mapping[str, Any]) -> list[str]:
    """Name what leaves nobody to search for the largest batch, or no memory of its own to fill."""
    asked = [key for key in ("data", "against") if (config.get(key) or {}).get("batch_size") == "auto"]
    trainer = config.get("trainer") or {}
    strategy = str(trainer.get("strategy", "auto"))
    if not asked:
        return []
    if not trainer:
        why = "only a training searches, and keeps in its config what it finds."
    elif config.get("ckpt"):
        why = "a run goes on with the batch size that it has; leave it out, or name a number."
    elif (kind := trainer.get("accelerator")) not in ("auto", "gpu", "cuda"):
        why = f"with trainer.accelerator={kind} the memory is the whole machine's, which a search would fill."
    elif (launcher := ranks.place().launcher) or (trainer.get("num_nodes") or 1) > 1:
        where = f"of {launcher}" if launcher else "on several machines"
        why = f"processes {where} would each find a number of their own. Let one process find it, on one GPU."
    elif strategy != "auto" and "ddp" not in strategy.lower():
        why = f"with trainer.strategy={strategy} no GPU's memory is like that of the one which would search."
    else:
        return []
    return [f"{key}.batch_size=auto: {why} A number: {key}.batch_size=64." for key in asked]


def _devices(trainer: Mapping[str, Any]) -> int | None:
    """Return how many processes a machine is to have; None if that is known only to torch."""
    devices = trainer.get("devices")
    if isinstance(devices, list):
        return len(devices)
    if isinstance(devices, str) and devices.isdecimal():
        devices = int(devices)
    return devices if isinstance(devices, int) and devices > 0 else None
