"""Reading a fer2013.csv of 301 MB: first and cached, against pandas and a loop over its rows."""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from fer.datasets.synthetic_faces import generate

ROWS, ROUNDS = 35887, 3

OURS = """
import time; start = time.perf_counter()
from pathlib import Path
from fer.datasets.fer2013 import read_fer2013
imported = time.perf_counter()
samples = read_fer2013(Path({csv!r}), Path({cache!r}))
samples.images[-1].sum()
print(time.perf_counter() - imported)
"""
PANDAS = """
import time
import numpy as np, pandas as pd
start = time.perf_counter()
table = pd.read_csv({csv!r})
images = np.stack([np.array(row.split(" "), dtype=np.uint8).reshape(48, 48) for row in table["pixels"]])
print(time.perf_counter() - start)
"""


def measure(console: Console) -> None:
    """Print seconds of each way, in a process of its own each time, imports left out."""
    with tempfile.TemporaryDirectory() as folder:
        path, cache = Path(folder) / "fer2013.csv", Path(folder) / "cache"
        write_csv(path)
        size = path.stat().st_size / 1e6
        first, cached, pandas = [], [], []
        for number in range(ROUNDS):
            ours = OURS.format(csv=str(path), cache=str(cache / str(number)))
            first.append(_seconds(ours))
            cached.append(_seconds(ours))
            pandas.append(_seconds(PANDAS.format(csv=str(path))))
    table = Table(title=f"fer2013.csv, {ROWS:,} rows, {size:.0f} MB")
    for column in ("how", "seconds (each run)", "median", "wanted"):
        table.add_column(column, justify="left" if column == "how" else "right")
    for name, seconds, wanted in (
        ("fer, first read, cache written", first, "< 4"),
        ("fer, cached", cached, "< 0.5"),
        ("pandas + a loop over the rows", pandas, ""),
    ):
        table.add_row(name, " ".join(f"{s:.2f}" for s in seconds), f"{median(seconds):.2f}", wanted)
    console.print(table)


def write_csv(path: Path, training: int = 28709, test: int = 3589) -> None:
    """Write a file of the genuine one's size, or of so many images: drawn faces."""
    drawn = min(2000, training + 2 * test)
    images, labels = generate(drawn, seed=0)
    rows = [" ".join(map(str, image.ravel().tolist())) for image in images]
    usages = ["Training"] * training + ["PublicTest"] * test + ["PrivateTest"] * test
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        writer.writerows((labels[i % drawn], rows[i % drawn], usage) for i, usage in enumerate(usages))


def _seconds(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)
