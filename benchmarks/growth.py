"""How time and memory grow: ``python -m benchmarks growth`` (10 minutes; ``minutes=120`` goes on to larger sizes).

Over the number of images, their size, the number of classes, of loader workers and of runs: the first and each later
reading, the first step, a step, validation, an audit, a test with its search for leaks, a report. Each is a command of
its own in a process of its own. An axis goes on to its next size while its share of the time is expected to suffice,
and has two sizes at least. Prints each curve with its exponent (a straight line fitted to the logarithms), and leaves
``growth.png`` and ``growth.json`` in ``outputs/benchmarks``. ``only=images,runs`` measures these axes alone; other
``key=value`` go to each training (``trainer.accelerator=gpu``). Images are made up, of drawn faces' principal axes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from rich.console import Console
from rich.table import Table

from benchmarks.copies import Faces
from fer.environment import usable_cores
from fer.plots import figures

OUT = Path("outputs/benchmarks")
QUICK = (
    "model=small_cnn", "trainer.accelerator=cpu", "trainer.max_epochs=2", "trainer.limit_train_batches=20",
    "trainer.enable_progress_bar=false", "callbacks.samples=null", "callbacks.confusion=null", "framing=false",
    "logger=csv", "data.num_workers=0",
)  # fmt: skip
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
Row = dict[str, float]


class Axis(NamedTuple):
    """What grows, its sizes, and what measures one size: from a folder, the size and options to seconds and MiB."""

    title: str
    sizes: Sequence[int]
    measure: Callable[[Path, int, Sequence[str]], Row]
    share: float


@cache
def _faces() -> Faces:
    return Faces(None)


def write_images(root: Path, count: int, side: int = 48, classes: int = 7) -> None:
    """Write made-up faces, none a copy of another, as ``<split>/<class>/<number>.jpg``."""
    faces, rng = _faces(), np.random.default_rng(count)
    folders = [root / split / f"class{label}" for split in SPLITS for label in range(classes)]
    for folder in folders:
        folder.mkdir(parents=True)
    splits = rng.permutation(np.repeat(list(SPLITS), [max(classes, int(count * share)) for share in SPLITS.values()]))
    placed = dict.fromkeys(SPLITS, 0)
    for start in range(0, len(splits), 1000):
        part = splits[start : start + 1000]
        for number, (split, image) in enumerate(zip(part, faces(len(part), rng), strict=True), start=start):
            label = placed[split] % classes  # every class in every split
            placed[split] += 1
            path = root / split / f"class{label}" / f"{number}.jpg"
            cv2.imwrite(str(path), cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))


def in_own_process(work: Path, command: str, *overrides: str) -> Row:
    """Run a command of fer in its own process, and return what it took (see :mod:`benchmarks.growth_task`)."""
    out = work / "took.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth_task", str(out), command, *overrides],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{command} {' '.join(overrides)} failed:\n{done.stdout[-2000:]}")
    found: Row = json.loads(out.read_text())
    return found


def _data(work: Path) -> list[str]:
    return ["data=folder", f"data.root={work / 'faces'}", "data.own_classes=true", f"data.cache_dir={work / 'cache'}"]


def _read(work: Path) -> Row:
    """Read the images, and once more from the cache."""
    first, again = (in_own_process(work, "read", *_data(work)) for _ in range(2))
    return {"first reading, s": first["s"], "reading again, s": again["s"]}


def _train(work: Path, *more: str) -> Row:
    found = in_own_process(work, "train", *QUICK, *_data(work), *more, f"output_dir={work / 'run'}")
    return {name if name != "MiB" else "training, MiB": value for name, value in found.items()}


def of_images(work: Path, size: int, more: Sequence[str]) -> Row:
    """Measure all that looks at images."""
    write_images(work / "faces", size)
    row = _read(work) | _train(work, *more)
    audit = in_own_process(work, "audit", *_data(work), "framing=false", f"output_dir={work / 'audit'}")
    test = in_own_process(work, "test", f"ckpt={work / 'run'}", "progress=false", f"output_dir={work / 'test'}")
    for name, found in (("audit", audit), ("test with leak search", test)):
        row |= {f"{name}, {unit}": value for unit, value in found.items()}
    return row


def of_side(work: Path, size: int, more: Sequence[str]) -> Row:
    """Measure reading and training on larger images."""
    write_images(work / "faces", 800, side=size)
    return _read(work) | _train(work, "data.batch_size=32", *more)


def of_classes(work: Path, size: int, more: Sequence[str]) -> Row:
    """Measure training on more classes."""
    write_images(work / "faces", max(2000, 4 * size), classes=size)
    return _train(work, *more)


def of_workers(work: Path, size: int, more: Sequence[str]) -> Row:
    """Measure a step that waits for its augmented images."""
    write_images(work / "faces", 3000, side=96)
    waiting = ("model.filters=[4,4,4,4]", "data.image_size=24", "transforms=strong", f"data.num_workers={size}")
    found = _train(work, "trainer.limit_train_batches=35", *waiting, *more)
    return {name: found[name] for name in ("first step, s", "step, s")}


def of_runs(work: Path, size: int, more: Sequence[str]) -> Row:
    """Measure a report over so many runs: one, trained, and copies of it with other seeds."""
    write_images(work / "faces", 200)
    _train(work, "data.batch_size=16", *more)
    for number in range(size):
        copy = work / "runs" / f"{number}"
        shutil.copytree(work / "run", copy, copy_function=os.link)  # 1,000 times the checkpoint would fill the disk
        config = (work / "run" / "config.yaml").read_text()
        (copy / "config.yaml").unlink()
        (copy / "config.yaml").write_text(config.replace("\nseed: 0\n", f"\nseed: {number}\n"))
    found = in_own_process(work, "report", f"runs={work / 'runs'}", f"output_dir={work / 'report'}")
    return {"report, s": found["s"], "report, MiB": found["MiB"]}


AXES = {
    "images": Axis("images", (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000), of_images, 0.5),
    "size": Axis("side of the images, pixels", (24, 48, 96, 192, 384), of_side, 0.15),
    "classes": Axis("classes", (7, 20, 60, 200, 600), of_classes, 0.1),
    "workers": Axis("workers", tuple(n for n in (1, 2, 4, 8, 16, 32) if n <= usable_cores()), of_workers, 0.1),
    "runs": Axis("runs", (10, 100, 1000, 10_000), of_runs, 0.15),
}


def options(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the command's ``key=value`` as arguments of :func:`measure`."""
    own: dict[str, Any] = {"minutes": float(given.get("minutes", 10))}
    if "only" in given:
        own["only"] = given["only"].split(",")
        if unknown := [name for name in own["only"] if name not in AXES]:
            sys.exit(f"only={given['only']}: there is no {unknown[0]}; there are: {', '.join(AXES)}")
    return own | {"more": [f"{key}={value}" for key, value in given.items() if key not in ("minutes", "only")]}


def measure(console: Console, minutes: float = 10, only: Sequence[str] = tuple(AXES), more: Sequence[str] = ()) -> None:
    """Print a table of each axis, and write ``growth.json`` and ``growth.png``.

    Args:
        console: Where to.
        minutes: How long all of it may take.
        only: The axes to measure.
        more: Overrides of each training.
    """
    found: dict[str, dict[int, Row]] = {}
    whole = sum(AXES[name].share for name in only)
    OUT.mkdir(parents=True, exist_ok=True)
    for name in only:
        found[name] = grow(AXES[name], 60 * minutes * AXES[name].share / whole, more)
        console.print(table(AXES[name].title, found[name]))
        (OUT / "growth.json").write_text(json.dumps(found, indent=1))
    figures.save(growth_figure({AXES[name].title: rows for name, rows in found.items()}), OUT / "growth.png")
    console.print(f"drawn: {OUT / 'growth.png'}; numbers: {OUT / 'growth.json'}")


def grow(axis: Axis, seconds: float, more: Sequence[str]) -> dict[int, Row]:
    """Measure one size after the other, two at least, while the next is expected to be done in time."""
    rows: dict[int, Row] = {}
    took: dict[int, float] = {}
    for size in axis.sizes:
        if len(took) > 1:
            (last, before) = list(took)[-1], list(took)[-2]
            expected = took[last] * (size / last) ** max(1.0, exponent([before, last], [took[before], took[last]]))
            if sum(took.values()) + expected > seconds:
                break
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            rows[size] = axis.measure(Path(folder), size, more)
        took[size] = time.perf_counter() - start
    return rows


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the exponent of growth, by least squares on the logarithms; NaN of a single size."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def table(title: str, rows: Mapping[int, Row]) -> Table:
    """Return an axis' table: its sizes, and at the end the exponents."""
    curves = list(next(iter(rows.values())))
    made = Table(title=f"growth with {title}")
    for column in (title, *curves):
        made.add_column(column, justify="right")
    for size, row in rows.items():
        made.add_row(f"{size:,}", *(f"{row[name]:,.0f}" if "MiB" in name else f"{row[name]:.3g}" for name in curves))
    fitted = (exponent(list(rows), [row[name] for row in rows.values()]) for name in curves)
    made.add_row("exponent", *(f"{one:.2f}" for one in fitted), style="bold")
    last = list(rows)[-2:]  # where what is the same for all sizes counts least
    lately = (exponent(last, [rows[size][name] for size in last]) for name in curves)
    made.add_row("of the last two", *(f"{one:.2f}" for one in lately))
    return made


def growth_figure(found: Mapping[str, Mapping[int, Row]]) -> Figure:
    """Draw each axis' seconds, and the memory of all that tell it, with the exponents."""
    figure = Figure(figsize=(13, 3.2 * (len(found) // 2 + 1)), layout="constrained")
    panels = figure.subplots(len(found) // 2 + 1, 2).flat
    for axes in panels:
        axes.set_axis_off()  # until something is drawn there
    for axes, unit, axis in [(panels[number], "s", title) for number, title in enumerate(found)] + [
        (panels[len(found)], "MiB", next(iter(found)))
    ]:
        rows = found[axis]
        for name in (name for name in next(iter(rows.values())) if name.endswith(unit)):
            values = [row[name] for row in rows.values()]
            label = f"{name.removesuffix(f', {unit}')}: {exponent(list(rows), values):.2f}"
            axes.plot(list(rows), values, "o-", label=label)
        axes.set(xscale="log", xlabel=axis, ylabel={"s": "seconds", "MiB": "memory, MiB"}[unit])
        axes.set_xticks(list(rows), [f"{size:,}" for size in rows], fontsize=8)
        axes.set_xticks([], minor=True)
        if unit == "MiB":  # most is there whatever the size: a logarithm would show the rest larger than it is
            axes.set_ylim(bottom=0)
        else:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")  # Matplotlib's own are formulas
        axes.set_axis_on()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, title="exponent", title_fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
