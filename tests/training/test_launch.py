"""Which process is the first, how many there may be, and what those of several machines tell each other."""

import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from conftest import composed
from lightning_fabric.plugins.environments.lightning import find_free_network_port

from fer.cli import hints, launch_check
from fer.errors import ConfigError, TrainingError
from fer.training import launch, together

# What srun -N 2 -n 4 and torchrun --nnodes=2 --nproc-per-node=2 set.
SLURM = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "fer", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2"}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets what a launcher would, and nothing else that this process has been started with."""

    def set_variables(**variables: str) -> None:
        for name in list(os.environ):
            if re.match("SLURM_|TORCHELASTIC_|(LOCAL_|NODE_|GROUP_)?RANK$|(LOCAL_|GROUP_)?WORLD_SIZE$|MASTER_", name):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize(
    ("variables", "child"),
    [
        ({}, False),
        ({"LOCAL_RANK": "1"}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, True),
        ({**SLURM, "SLURM_PROCID": "0"}, False),
        ({**SLURM, "SLURM_PROCID": "3"}, True),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "LOCAL_RANK": "1"}, True),  # a batch script's, without srun
        ({**TORCHRUN, "RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, True),
        ({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, False),
        ({**SLURM, "SLURM_PROCID": "0", **TORCHRUN, "RANK": "1", "LOCAL_RANK": "1"}, True),  # srun torchrun ...
    ],
)
def test_who_is_first(launched: Callable[..., None], variables: dict[str, str], child: bool) -> None:
    launched(**variables)
    assert launch.is_child() is child


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return composed()


@pytest.mark.parametrize(
    ("variables", "devices", "nodes", "expected"),
    [
        (TORCHRUN, 1, 1, "2 processes on each of 2 machines. Say trainer.devices=2 trainer.num_nodes=2,"),
        (TORCHRUN, 4, 1, "or start it with torchrun --nnodes=1 --nproc-per-node=4."),
        (TORCHRUN, 2, 2, ""),
        (TORCHRUN, "auto", 2, ""),
        ({**TORCHRUN, "WORLD_SIZE": "3"}, 1, 1, "3 processes on 2 machines. Each machine needs as many as the others."),
        (SLURM, [0, 1, 2, 3], 4, "or start it with srun --nodes=4 --ntasks-per-node=4."),
        ({}, 1, 2, "torchrun --nnodes=2 --nproc-per-node=1 --node-rank=0 --master-addr="),
        ({"MASTER_ADDR": "a", "NODE_RANK": "1"}, 1, 2, ""),
        ({}, 3, 1, "data.batch_size=64 is the global batch and must be a multiple of the number of devices (3)"),
    ],
)  # fmt: skip
def test_what_contradicts_the_launcher(
    launched: Callable[..., None], config: dict[str, Any], variables: dict[str, str], devices: Any, nodes: int,
    expected: str,
) -> None:  # fmt: skip
    launched(**variables)
    said = launch_check.wrong({**config, "trainer": {"devices": devices, "num_nodes": nodes}})
    assert len(said) == bool(expected)
    assert expected in "".join(said)


def test_a_sweep_in_each_process_is_refused(launched: Callable[..., None]) -> None:
    launched(**TORCHRUN)
    with pytest.raises(ConfigError, match="torchrun has started this 4 times"):
        hints.refuse(["-m", "seed=0,1"], "train")


def test_srun_without_tasks_per_node(launched: Callable[..., None]) -> None:
    """Lightning refuses it, because it can share the tasks unequally; that is checked before."""
    launched(**SLURM, SLURM_PROCID="3", SLURM_LOCALID="1", SLURM_NODEID="1", MASTER_ADDR="10.0.0.1", MASTER_PORT="1234")
    cluster = launch.cluster()
    assert (cluster.main_address, cluster.main_port, cluster.global_rank(), cluster.node_rank()) == (
        "10.0.0.1", 1234, 3, 1,
    )  # fmt: skip


def test_a_step_of_a_slurm_job_is_seen_by_its_own_variables(launched: Callable[..., None]) -> None:
    """As under sbatch -N 3 --ntasks-per-node=2: srun -N 2 -n 2 -w n1,n2, beside another step."""
    job = {"SLURM_JOB_ID": "123456", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODELIST": "n[0-2]", "SLURM_NNODES": "3"}
    step = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_NTASKS": "6",
    }
    ports = []
    for number in ("0", "1", "2"):
        launched(**job, **step, SLURM_STEP_ID=number, SLURM_PROCID="1", SLURM_LOCALID="0", SLURM_NODEID="1")
        cluster = launch.cluster()
        cluster.validate_settings(1, 2)
        assert (cluster.main_address, cluster.world_size(), cluster.global_rank()) == ("n1", 2, 1)
        ports.append(cluster.main_port)
    assert ports[0] == 15000 + 3456  # Lightning's, for whoever has opened a firewall for it
    assert len(set(ports)) == 3


@pytest.mark.parametrize("variables", [{**SLURM, "SLURM_PROCID": "1"}, {**TORCHRUN, "RANK": "1"}])
def test_a_command_of_one_process_is_left_to_the_first(
    launched: Callable[..., None], run_here: Callable[..., Path], tmp_path: Path, variables: dict[str, str],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    launched(**variables)
    run_here("fer.test", "ckpt=nowhere")
    assert (
        "has started this 4 times: fer.test is the work of one process, and the first does it."
        in capfd.readouterr().err
    )
    assert not list(tmp_path.iterdir())
    launched(**{key: "0" if key in ("RANK", "SLURM_PROCID") else value for key, value in variables.items()})
    with pytest.raises(SystemExit):
        run_here("fer.test", "ckpt=nowhere")
    assert "nowhere" in capfd.readouterr().err


class TestTogether:
    """Two processes of two machines, as threads: what they tell each other goes through a true store."""

    @pytest.fixture
    def pair(self, launched: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[list["together._Group"]]:
        launched(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(find_free_network_port()))
        for name, seconds in (("_BEAT_S", 0.05), ("_SILENT_S", 1.0), ("_COMING_S", 2)):
            monkeypatch.setattr(together, name, seconds)
        groups = [together._Group(number, 2) for number in (0, 1)]
        yield groups
        for group in groups:
            group._done.set()

    @staticmethod
    def agreed(pair: list["together._Group"]) -> list[str]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda group: group.agree(f"folder{group.number}"), pair))

    def test_all_take_the_first_ones_folder(self, pair: list["together._Group"]) -> None:
        assert self.agreed(pair) == ["folder0", "folder0"]

    def test_who_does_not_come_is_named(self, pair: list["together._Group"]) -> None:
        with pytest.raises(TrainingError, match=r"of 2 processes, number 1 \(from 0\) did not come"):
            pair[0].agree("folder")

    def test_who_is_gone_is_named(self, pair: list["together._Group"]) -> None:
        self.agreed(pair)
        pair[1]._done.set()  # as if killed: it shows no sign of life any more
        with pytest.raises(TrainingError, match=r"machine 0 .* has shown no sign of life.*resume=folder0"), \
                pair[0].watched():  # fmt: skip
            raise RuntimeError("Connection closed by peer [127.0.0.1]:4711")

    def test_who_fails_is_named(self, pair: list["together._Group"]) -> None:
        self.agreed(pair)
        with pytest.raises(ValueError, match="broken"), pair[1].watched():
            raise ValueError("broken")
        with pytest.raises(TrainingError, match=r"has failed \(ValueError\)"), pair[0].watched():
            raise RuntimeError("Connection closed by peer [127.0.0.1]:4711")

    @pytest.mark.parametrize("error", [RuntimeError("Connection reset by peer"), SystemExit(1)])
    def test_what_only_looks_like_another_ones_failure_is_told_too(
        self, pair: list["together._Group"], error: BaseException, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(together, "_GRACE_S", 0.2)
        self.agreed(pair)
        with pytest.raises(type(error)), pair[1].watched():
            raise error
        assert pair[0].store.check(["gone"])

    def test_the_end_of_another_is_no_failure(self, pair: list["together._Group"]) -> None:
        self.agreed(pair)
        with pair[0].watched():
            with pair[1].watched():
                pass
            time.sleep(1.5)
        assert not pair[0].gone

    def test_a_suspended_run_goes_on_when_it_is_woken(
        self, pair: list["together._Group"], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.monotonic
        self.agreed(pair)
        with pair[0].watched(), pair[1].watched():
            time.sleep(0.3)
            monkeypatch.setattr(together.time, "monotonic", lambda: now() + 1000)  # both were stopped for so long
            time.sleep(0.5)
        assert not any(group.gone for group in pair)

    def test_a_second_training_of_a_process_has_keys_of_its_own(self, pair: list["together._Group"]) -> None:
        self.agreed(pair)
        with pytest.raises(SystemExit), pair[1].watched():
            raise SystemExit(1)
        for group in pair:
            group.end()
        again = [together._Group(number, 2, training=2) for number in (0, 1)]
        with ThreadPoolExecutor() as pool:
            folders = list(pool.map(lambda group: group.agree("second"), again))
        assert folders == ["second", "second"]
        with again[0].watched(), again[1].watched():
            time.sleep(0.3)
        assert not again[0].gone


def test_a_thousand_processes_are_refused() -> None:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"trainer\.devices=1000"):
        launch.refuse_too_many(cast(Any, SimpleNamespace(strategy=strategy, num_devices=1000)))
    launch.refuse_too_many(cast(Any, SimpleNamespace(strategy=strategy, num_devices=2)))
