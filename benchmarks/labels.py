"""What helps against noisy, few and unbalanced labels: one small recipe, one change at a time, paired by seed.

    python -m benchmarks.labels <FER2013's folders train/ and test/> <folder for the runs> [method ...]

A quarter of Training fits; PublicTest, in two halves, is scored with the last epoch's weights, which no score chose.
Each method is a sweep over the seeds, beside ``baseline``; what is finished is kept, so that the command can be given
again. Prints mean, standard deviation, and the difference to the baseline of the same seed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

SEEDS = (0, 1, 2)
RECIPE = (
    "data=folder", "data.image_size=32", "data.batch_size=128", "data.num_workers=0", "transforms=light",
    "model=small_cnn", "model.filters=[8,16,32,64]", "optimizer=adamw", "optimizer.lr=0.004", "scheduler=onecycle",
    "scheduler.max_momentum=0.95", "scheduler.base_momentum=0.85",
    "trainer.max_epochs=8", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "channels_last=true",
    "framing=false", "monitor=val/accuracy", "test_last_epoch=true",
)  # fmt: skip
QUIET = ("callbacks.samples=null", "callbacks.confusion=null")
METHODS: Mapping[str, Sequence[str]] = {
    "baseline": (),
    "ema": ("callbacks=[default,ema]", "callbacks.ema.decay=0.98"),
    "logit_adjusted": ("loss=logit_adjusted",),
    "class_weights": ("loss.class_weights=balanced",),
    "refined_labels": ("data.refine={runs}/audit",),
    "distillation": ("teacher=[{runs}/baseline/0,{runs}/baseline/1,{runs}/baseline/2]",),
}
SCORES = ("accuracy", "balanced_accuracy", "f1_macro")


def main(root: str, runs: str, *names: str) -> None:
    """Train what is missing, and print the table."""
    data, folder = Path(runs).resolve() / "data", Path(runs).resolve()
    quarter(Path(root).resolve(), data)
    for name in names or METHODS:
        if name == "refined_labels" and not (folder / "audit" / "audit.json").is_file():
            _run(
                "fer.audit",
                "data=folder",
                f"data.root={data}",
                "refine=true",
                "similarity=0.9",
                f"hydra.run.dir={folder / 'audit'}",
            )
        own = [option.format(runs=folder) for option in METHODS[name]]
        seeds = f"seed={','.join(map(str, SEEDS))}"
        sweep = (f"data.root={data}", "name=labels", seeds, f"hydra.sweep.dir={folder / name}")
        _run("fer.train", "-m", *RECIPE, *own, *QUIET, *sweep)
    show(Console(), folder)


def _run(module: str, *options: str) -> None:
    subprocess.run([sys.executable, "-m", module, *options], check=True)


def quarter(root: Path, to: Path) -> None:
    """Link every fourth training image of a class, and every image of PublicTest, half as ``val``, half as ``test``."""
    for split in ("train", "test"):
        for files in (sorted(one.iterdir(), key=_number) for one in (root / split).iterdir() if one.is_dir()):
            for place, file in enumerate(files):
                if split == "train" and place % 4:
                    continue
                link = to / ("train" if split == "train" else ("val", "test")[place % 2]) / file.parent.name / file.name
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(file)


def _number(file: Path) -> int:
    return int(re.findall(r"\d+", file.name)[-1])


def show(console: Console, folder: Path) -> None:
    """Print mean and deviation of each finished method, and its difference to the baseline, seed by seed."""
    table = Table(title="last epoch on PublicTest: mean ± deviation (difference to the baseline of the same seed)")
    for column in ("method", "n", *SCORES):
        table.add_column(column)
    base = scores(folder / "baseline")
    for name in METHODS:
        if not (found := scores(folder / name)):
            continue
        cells = []
        for score in SCORES:
            values = {seed: one[score] for seed, one in found.items()}
            paired = [value - base[seed][score] for seed, value in values.items() if seed in base]
            text = _spread(list(values.values()))
            cells.append(text if name == "baseline" or not paired else f"{text} ({_spread(paired, sign='+')})")
        table.add_row(name, str(len(found)), *cells)
    console.print(table)


def _spread(values: Sequence[float], sign: str = "") -> str:
    deviation = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.4f}{deviation}"


def scores(sweep: Path) -> dict[int, dict[str, float]]:
    """Return the last epoch's scores of each finished job by seed, over both halves of PublicTest."""
    found: dict[int, dict[str, float]] = {}
    for place, seed in enumerate(SEEDS):
        path = sweep / str(place) / "metrics.json"
        if path.is_file():
            last: dict[str, Any] = json.loads(path.read_text())["last_epoch"]
            halves = [last["val"], last["test"]]
            images = sum(half["n"] for half in halves)
            found[seed] = {score: sum(half[score] * half["n"] for half in halves) / images for score in SCORES}
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
