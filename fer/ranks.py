"""Which of a run's processes this is, by what its launcher has set. Read before torch is imported."""

import os
from typing import NamedTuple


class Place(NamedTuple):
    """A process among those that train together."""

    launcher: str
    """What started all of them: ``torchrun`` or ``SLURM``; empty for fer itself, or a command on each machine."""
    rank: int
    """From 0, of all; where a command was started on each machine: 0 for the first, and some other number."""
    local: int
    """From 0, of those on this machine."""
    node: int
    """The machine's number, from 0."""
    world: int
    """How many there are; 0 where the launcher does not say."""
    nodes: int
    """On how many machines; 0 where the launcher does not say."""

    @property
    def per_node(self) -> int:
        """How many processes each machine has; 0 if they are not shared equally, or it is not known."""
        return 0 if not self.nodes or self.world % self.nodes else self.world // self.nodes


def place() -> Place:
    """Return this process's place; in doubt it is the first, and alone."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # first: torchrun may be a task of SLURM, one on each machine
        nodes = _number("GROUP_WORLD_SIZE") or _number("WORLD_SIZE") // max(1, _number("LOCAL_WORLD_SIZE"))
        return Place(
            "torchrun", _number("RANK"), _number("LOCAL_RANK"), _number("GROUP_RANK"), _number("WORLD_SIZE"), nodes
        )
    # Not SLURM_NTASKS: a batch script has it too, and what that starts without srun is alone. A step of one task starts
    # what other processes it needs itself.
    if (tasks := _number("SLURM_STEP_NUM_TASKS")) > 1:
        nodes = _number("SLURM_STEP_NUM_NODES")
        return Place("SLURM", _number("SLURM_PROCID"), _number("SLURM_LOCALID"), _number("SLURM_NODEID"), tasks, nodes)
    local, node = _number("LOCAL_RANK"), _number("NODE_RANK")
    return Place("", local or node, local, node, 0, 0)


def _number(name: str) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else 0
