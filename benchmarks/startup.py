"""Waiting times: --help, a wrong key, and from the command to the end of the first training step.

The first step is set beside the imports of the four packages that such a script begins with. User CPU seconds are told
beside those of the clock, because others may share the machine; a run's loader workers, which work beside it, are not
in them. Then what the first step imports, by ``python -X importtime``.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

ROUNDS = 5
IMPORTS = "import torch, pytorch_lightning, timm, torchvision"
WANTED = 0.6
"""The first step's share of the time that :data:`IMPORTS` take."""
_LEAST_S = 0.04  # of a package that is named
_COMPILER = "torch._dynamo"  # of which torch's optimisers and Lightning want one name each


class EndAfterFirstStep(pl.Callback):
    """Ends the process when the first training step is done."""

    def on_train_batch_end(self, *args: Any) -> None:
        os._exit(0)


class Seconds(NamedTuple):
    """What a process took."""

    clock: float
    user: float


def measure(console: Console) -> None:
    """Print seconds of whole processes, and of imports."""
    python = [sys.executable]
    step = [
        "-m", "fer.train", "trainer.accelerator=cpu",
        "+callbacks.end._target_=benchmarks.startup.EndAfterFirstStep",
    ]  # fmt: skip
    imports = [*python, "-c", IMPORTS]
    with tempfile.TemporaryDirectory() as folder:
        step.append(f"hydra.run.dir={folder}/run")
        _seconds([*python, *step, "trainer.max_epochs=1"])  # fills caches of every kind
        help_, wrong, first, imported = [], [], [], []
        for _ in range(ROUNDS):
            help_.append(_seconds([*python, "-m", "fer.train", "--help"]))
            wrong.append(_seconds([*python, "-m", "fer.train", "optimizer.lrr=1"]))
            imported.append(_seconds(imports))
            first.append(_seconds([*python, *step]))
        told = Path(folder) / "imports.txt"
        _seconds([*python, "-X", "importtime", *step], told)
        rows = by_package(told.read_text(errors="replace").splitlines())
    table = Table(title=f"start-up, whole processes, median of {ROUNDS}")
    for column in ("command", "seconds", "user CPU seconds", "wanted"):
        table.add_column(column, justify="left" if column == "command" else "right")

    def add(what: str, taken: Iterable[tuple[float, ...]], wanted: str) -> None:
        table.add_row(what, *(f"{median(column):.2f}" for column in zip(*taken, strict=True)), wanted)

    add("python -m fer.train --help", help_, "< 2")
    add("python -m fer.train optimizer.lrr=1 (error)", wrong, "< 2")
    add(IMPORTS, imported, "")
    add("python -m fer.train, to the end of the first step", first, "")
    ratios = [(f.clock / i.clock, f.user / i.user) for f, i in zip(first, imported, strict=True)]
    add("  ratio to the imports, pair by pair", ratios, f"<= {WANTED}")
    console.print(table)
    table = Table(title="what the first step imports, by -X importtime, once")
    table.add_column("package")
    table.add_column("seconds", justify="right")
    for package, seconds in rows:
        table.add_row(package, f"{seconds:.2f}")
    console.print(table)


def by_package(lines: Iterable[str]) -> list[tuple[str, float]]:
    """Add up what ``python -X importtime`` prints.

    Args:
        lines: Of its output; others are passed over.

    Returns:
        Package and its own modules' seconds, the slowest first, those of few seconds as one; then all; then what of all
        came by ``torch._dynamo``.
    """
    own: Counter[str] = Counter()
    compiler = 0
    for line in lines:
        mark, _, rest = line.partition(":")
        fields = [field.strip() for field in rest.split("|")]
        if mark != "import time" or len(fields) != 3 or not fields[0].isdecimal():
            continue
        own[fields[2].partition(".")[0]] += int(fields[0])
        compiler += int(fields[1]) if fields[2] == _COMPILER else 0
    rows = [(name, microseconds / 1e6) for name, microseconds in own.most_common()]
    named = [row for row in rows if row[1] >= _LEAST_S]
    total = sum(seconds for _, seconds in rows)
    others = total - sum(seconds for _, seconds in named)
    return [
        *named, (f"{len(rows) - len(named)} others", others), ("all", total),
        (f"of them by {_COMPILER}", compiler / 1e6),
    ]  # fmt: skip


def _seconds(command: list[str], told: Path = Path(os.devnull)) -> Seconds:
    """Run a command whose stderr goes to a file."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.perf_counter()
    # No pipes: the loader's workers outlive the process that ended itself by some seconds, and would hold them open.
    with told.open("w") as file:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=file, check=False)
    return Seconds(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
