"""How much faster two workers of ``fer.predict`` are than one, when each has a core of its own.

``python -m benchmarks predict_workers`` draws photographs and trains a small network for one epoch;
``python -m benchmarks predict_workers <folder of pictures> ckpt=<run> pictures=1280`` takes yours, again and again
until there are so many. One worker on one core and two on two cores take turns, and do the same pictures. The time is
the command's own: it begins when the workers are started, so their imports are in it.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from fer.data.pixels import EXTENSIONS
from fer.datasets.synthetic_faces import generate

PICTURES, SIZE = 1280, (640, 480)  # 20 parts: as many for each of two workers


def measure(console: Console, pictures: Path | None, options: Mapping[str, str]) -> None:
    """Print pictures a second of one worker and of two, and the ratio; ``options``: ckpt, pictures, rounds."""
    if unknown := options.keys() - {"ckpt", "pictures", "rounds"}:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are ckpt=<run>, pictures={PICTURES}, rounds=1")
    many, rounds = int(options.get("pictures", PICTURES)), int(options.get("rounds", 1))
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("predict_workers needs two cores.")
    speeds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source, ckpt = _listed(pictures, work, many), options.get("ckpt") or _trained(work)
        for turn in range(rounds):
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                what = (f"ckpt={Path(ckpt).resolve()}", f"source={source}", f"workers={workers}", "accelerator=cpu")
                said = _run(cores[:workers], work, "predict", *what, f"output_dir={work / f'{turn}-{workers}'}")
                speeds[workers].append(_speed(said, many))
    table = Table(title=f"fer.predict, {many:,} photographs, a core for each worker, median of {rounds}")
    for column in ("workers", "cores", "photographs a second", "beside one worker"):
        table.add_column(column, justify="right")
    for workers, found in speeds.items():
        ratios = [ours / one for ours, one in zip(found, speeds[1], strict=True)]
        table.add_row(f"{workers}", f"{workers}", f"{median(found):.1f}", f"{median(ratios):.2f} times as fast")
    console.print(table)


def _speed(said: str, many: int) -> float:
    """Return the pictures a second that the command tells in its last lines."""
    found = re.search(r"([\d,]+) pictures in .* \(([\d.,]+) a second\)", said)
    if found is None or int(found[1].replace(",", "")) != many:
        sys.exit(f"fer.predict did not do {many:,} pictures:\n{said[-3000:]}")
    return float(found[2].replace(",", ""))


def _listed(pictures: Path | None, work: Path, many: int) -> Path:
    """Return a list of so many photographs, linked to those of a folder or to drawn ones."""
    if pictures is None:
        pictures = work / "drawn"
        _draw(pictures)
    found = sorted(path.resolve() for path in pictures.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not found:
        sys.exit(f"{pictures}: holds no pictures")
    links = work / "pictures"
    links.mkdir()
    names = [links / f"{number:06d}{found[number % len(found)].suffix}" for number in range(many)]
    for number, name in enumerate(names):
        name.symlink_to(found[number % len(found)])
    listed = work / "list.txt"
    listed.write_text("".join(f"{name}\n" for name in names))
    return listed


def _draw(folder: Path) -> None:
    """Draw photographs: one to three faces each, on a ground of blotches."""
    folder.mkdir()
    rng, (width, height) = np.random.default_rng(0), SIZE
    for number, face in enumerate(generate(64, 0)[0]):
        ground = cv2.resize(rng.integers(60, 200, (12, 16, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
        for place in range(1 + number % 3):
            side = int(rng.integers(120, 200))
            left, top = place * width // 3, int(rng.integers(0, height - side))
            ground[top : top + side, left : left + side] = cv2.resize(face, (side, side))[..., None]
        cv2.imwrite(str(folder / f"{number:02}.jpg"), ground)


def _trained(work: Path) -> str:
    options = ("model=small_cnn", "trainer.max_epochs=1", "data.num_samples=280", "trainer.accelerator=cpu")
    _run(sorted(os.sched_getaffinity(0)), work, "train", *options, f"output_dir={work / 'run'}")
    return str(work / "run")


def _run(cores: list[int], work: Path, command: str, *options: str) -> str:
    """Run a command of fer on some cores, and return what it says."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # what is started inherits it
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"fer.{command}", *options],
            cwd=work, env={**os.environ, "FER_CACHE": str(work / "cache")}, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        os.sched_setaffinity(0, ours)
    if done.returncode:
        sys.exit(f"fer.{command} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
