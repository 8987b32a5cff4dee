"""Which process is the first, and how many there may be."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from fer.errors import ConfigError
from fer.training import launch

NAMES = (
    "LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "GROUP_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID",
    "SLURM_NTASKS", "SLURM_PROCID", "SLURM_JOB_NAME",
)  # fmt: skip
SLURM = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "fer"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}


@pytest.mark.parametrize(
    ("variables", "child"),
    [
        ({}, False),
        ({"LOCAL_RANK": "1"}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, True),
        ({**SLURM, "SLURM_PROCID": "0"}, False),
        ({**SLURM, "SLURM_PROCID": "3"}, True),
        ({**TORCHRUN, "RANK": "2"}, True),
        ({**TORCHRUN, "RANK": "0"}, False),
    ],
)
def test_who_is_first(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], child: bool) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch.is_child() is child


def test_a_thousand_processes_are_refused() -> None:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"trainer\.devices=1000"):
        launch.refuse_too_many(cast(Any, SimpleNamespace(strategy=strategy, num_devices=1000)))
    launch.refuse_too_many(cast(Any, SimpleNamespace(strategy=strategy, num_devices=2)))
