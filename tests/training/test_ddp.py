"""Two CPU processes train as one does, in a single run, in a sweep and by torchrun; a failing one ends the run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import REPO, TINY, Run
from lightning_fabric.plugins.environments.lightning import find_free_network_port

DDP = (*TINY, "trainer=ddp_cpu", "data.num_samples=300")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def on_two_machines(folder: Path, *args: str) -> None:
    """Train by two torchruns of one process each, as on two machines."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    torchrun += ["--master-addr=127.0.0.1", f"--master-port={find_free_network_port()}"]
    both = [
        subprocess.Popen(
            [*torchrun, f"--node-rank={node}", "-m", "fer.train", *args], cwd=folder, stderr=subprocess.PIPE
        )
        for node in (0, 1)
    ]
    said = [one.communicate(timeout=300)[1].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0], said


def test_two_processes_equal_one_on_one_machine_and_on_two(
    train_here: Callable[..., Path], command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A loss that is a sum over the global batch: no batch norm, no dropout, the same augmentation for every sample.
    common = ("transforms=none", "optimizer=sgd", "optimizer.lr=0.01", "data.num_samples=300")
    common += ("loss.class_weights=[1,2,3,4,5,6,7]",)  # each device's share of a batch has a weight of its own
    train_here(*TINY, *common, name="one")
    done = command(*TINY, "trainer=ddp_cpu", *common, "hydra.run.dir=two")
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stdout
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=1e-5)
    a, b = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert a["test"]["n"] == b["test"]["n"]  # nothing is counted twice
    assert a["val"]["confusion"] == b["val"]["confusion"]
    history = [(tmp_path / name / "history.csv").read_text().splitlines() for name in ("one", "two")]
    for line_a, line_b in zip(*history, strict=True):
        if not line_a.startswith("epoch"):
            assert [float(v) for v in line_a.split(",")] == pytest.approx(
                [float(v) for v in line_b.split(",")], abs=1e-4
            )
    assert {p.name for p in tmp_path.iterdir()} == {"one", "two"}, "the second process has no folder of its own"

    for name, value in (("PYTHONPATH", str(REPO)), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    on_two_machines(
        tmp_path, *TINY, "trainer=ddp_cpu", *common, "trainer.devices=1", "trainer.num_nodes=2", "name=machines"
    )
    (run,) = (tmp_path / "outputs" / "machines").iterdir()  # although each process would have named its own
    again = weights(run)
    assert all(torch.equal(again[key], two[key]) for key in two)
    assert json.loads((run / "metrics.json").read_text())["test"] == b["test"]


def test_sweep_of_two_jobs_with_two_processes_and_one_resumed(command: Run, tmp_path: Path) -> None:
    random = ("model=emotion_net", "data.image_size=16")  # with dropout, which differs between steps and processes
    # Of the single epoch's seven steps a checkpoint is left after the fourth.
    mid = ("_target_=pytorch_lightning.callbacks.ModelCheckpoint", "filename=mid", "every_n_train_steps=4")
    mid = (*(f"+callbacks.mid.{option}" for option in mid), "+callbacks.mid.dirpath=${output_dir}/checkpoints")
    options = (*DDP, *random, *mid, "optimizer.lr=1e-3,1e-2", "trainer.max_epochs=1", "hydra.sweep.dir=sweep")
    done = command("-m", *options)
    assert done.returncode == 0, done.stderr
    assert "2 jobs, best first" in done.stdout
    for job in ("0", "1"):
        assert (tmp_path / "sweep" / job / "metrics.json").exists()
    assert sorted(p.name for p in (tmp_path / "sweep").iterdir() if p.is_dir()) == ["0", "1", "experiment"]
    a, b = (weights(tmp_path / "sweep" / job) for job in ("0", "1"))
    assert not all(torch.equal(a[key], b[key]) for key in a)
    assert {p.name for p in tmp_path.iterdir()} == {"sweep"}

    (tmp_path / "sweep/0/checkpoints/last.ckpt").unlink()
    done = command("ckpt=sweep/0/checkpoints/mid.ckpt")
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stdout
    resumed = weights(tmp_path / "sweep" / "0")
    assert all(torch.equal(a[key], resumed[key]) for key in a)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_failing_process_ends_the_run(command: Run, tmp_path: Path, rank: int) -> None:
    (tmp_path / "failing.py").write_text(
        "import pytorch_lightning as pl\n"
        "class Fail(pl.Callback):\n"
        "    def on_train_batch_start(self, trainer, *args):\n"
        f"        if trainer.global_rank == {rank} and trainer.global_step == 3:\n"
        "            raise RuntimeError('broken on purpose')\n"
    )
    done = command(*DDP, "+callbacks.fail._target_=failing.Fail")
    assert "broken on purpose" in done.stderr
    if rank == 1:  # said in words, not as a failed collective call
        assert done.returncode == 2
        assert "another process of this run failed with exit code 1" in done.stderr
    else:
        assert done.returncode == 1
