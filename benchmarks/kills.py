"""SIGKILL at random moments: does a training that was killed and resumed equal one that was not, bit for bit?

``python -m benchmarks kills`` kills each recipe's training three times, on one process and on two, wherever it is:
importing, in mid-epoch, writing a checkpoint or the final scores. Compared are the last and the best weights, every
number of ``history.csv``, and ``predictions.csv``. ``python -m benchmarks kills 10`` kills each ten times.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from fer.files import run_record

_BASE = (
    "model=simple_conv", "data.num_samples=700", "data.batch_size=32", "data.num_workers=0", "trainer.max_epochs=6",
    "trainer.accelerator=cpu", "transforms=light", "framing=false", "callbacks.samples=null",
    "callbacks.confusion=null",
)  # fmt: skip
RECIPES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "loader processes, mixup": ("data.num_workers=2", "transforms=standard", "mixup=both"),
    "bfloat16": ("trainer.precision=bf16-mixed",),
    "accumulated gradients": ("trainer.accumulate_grad_batches=3",),
    "average of weights": ("callbacks=[default,ema]", "callbacks.ema.decay=0.9"),
    "gradual unfreezing": (
        "model=timm", "model.name=test_resnet", "callbacks=[default,finetuning]", "callbacks.finetuning.epoch=2",
        "optimizer.backbone_lr_factor=0.1", "data.image_size=32",
    ),
    "weighted sampling": ("data.sampler=weighted", "loss.class_weights=balanced"),
    "features of a frozen backbone": (
        "model=timm", "model.name=test_resnet", "model.freeze=true", "transforms=none", "data.image_size=32",
    ),
    "Muon": ("optimizer=muon",),
    "smaller images first": (
        "model=small_cnn", "model.filters=[8,16,16,16]",
        "callbacks=[default,progressive_resizing]", "callbacks.progressive_resizing.image_size=24",
    ),
}  # fmt: skip
ONE_PROCESS = ("gradual unfreezing",)
"""Recipes that are refused on several."""


def measure(console: Console, kills: int = 3) -> None:
    """Print how many of the killed trainings equal the uninterrupted one."""
    table = Table(title=f"trainings killed {kills} times at random moments, and resumed")
    for column in ("recipe", "processes", "kills", "of them after an epoch", "trainings", "equal"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    chance = random.Random(0)
    for name, recipe in RECIPES.items():
        for processes in (1,) if name in ONE_PROCESS else (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                told = _compared(Path(folder), (*_BASE, *recipe, f"trainer.devices={processes}"), kills, chance)
            table.add_row(name, f"{processes}", *told)
            console.print(f"{name}, {processes}: {' '.join(told)}")
    console.print(table)


def _compared(where: Path, options: tuple[str, ...], kills: int, chance: random.Random) -> list[str]:
    """Train as often as it takes to kill so many times; return what the table's columns say."""
    begun = time.monotonic()
    _finish(_start(where, *options, "output_dir=whole"))
    seconds = time.monotonic() - begun
    done = training = trainings = 0
    unequal: list[str] = []
    while done < kills:
        before = done
        done, training = _killed(where, options, seconds, (done, training), kills, chance)
        if done == before:  # it was through before: the machine has become faster
            seconds *= 0.8
        else:
            trainings += 1
            unequal += _different(where / "whole", where / "killed")
        shutil.rmtree(where / "killed")
    equal = f"{trainings} of {trainings}" if not unequal else f"no: {', '.join(unequal)}"
    return [f"{done}", f"{training}", f"{trainings}", equal]


def _start(where: Path, *options: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FER_CACHE": str(where / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "fer.train", *options],
        cwd=where, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def _finish(process: "subprocess.Popen[str]") -> None:
    _, told = process.communicate()
    if process.returncode:
        sys.exit(f"{process.args} failed:\n{told[-3000:]}")


def _killed(
    where: Path, options: tuple[str, ...], seconds: float, counts: tuple[int, int], kills: int, chance: random.Random
) -> tuple[int, int]:
    """Train, kill and resume to the end; return how often it was killed by now, and how often after an epoch."""
    run, (done, training) = where / "killed", counts
    while True:
        there = (run / "config.yaml").exists()
        process = _start(where, *((f"resume={run}",) if there else (*options, f"output_dir={run}")))
        try:
            process.wait(chance.uniform(0.2, 1.0) * seconds if done < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            done, training = done + 1, training + (run / "checkpoints" / "last.ckpt").exists()
        else:
            _finish(process)
        record = run_record.read(run)
        if record is not None and record.finished:
            return done, training


def _different(whole: Path, killed: Path) -> list[str]:
    """Return which of a run's files are not those of the other."""
    found = []
    for name in ("last", "best"):
        ours, theirs = (
            torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"] for run in (whole, killed)
        )
        if ours.keys() != theirs.keys() or any(not torch.equal(value, theirs[key]) for key, value in ours.items()):
            found.append(f"{name}.ckpt")
    files = ("history.csv", "predictions.csv")
    return found + [name for name in files if (whole / name).read_bytes() != (killed / name).read_bytes()]
