"""The search for copies on made-up datasets of growing size: time, memory, what it finds and what it misses.

``python -m benchmarks copies 36000 100000 450000 <folder of faces>``; without a folder, drawn faces are the model.
Each size is searched in a process of its own: copies within the dataset, of another dataset a tenth as large in it, and
the look-up that ``fer.test`` does for as many test images in a checkpoint's fingerprints.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from fer.datasets.synthetic_faces import generate

Images = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

SIZES = (36_000, 100_000)
SIDE, SMALL = 112, 56  # of the images, and of the faces they are made from
MODELS, AXES = 1500, 300  # faces that others are made from, and principal axes of them
COPIES = 0.1  # share of the images that are copies of others
BLOCK = 4096
SEARCHES = {"within": "within", "across": "in a tenth more", "prints": "fingerprints", "look-up": "fer.test"}
PICTURE = Path("outputs/benchmarks/copies.png")

SEARCH = """
import json, sys, threading, time
from pathlib import Path
import numpy as np
from fer.auditing import copies
from fer.data.fingerprints import fingerprints
from fer.data.near_copies import matches

folder, peak = Path(sys.argv[1]), {"RssAnon": 0, "VmHWM": 0}
images, others = (np.load(folder / name, mmap_mode="r") for name in ("images.npy", "others.npy"))

def watch_memory():  # its own alone, without the files' pages (the system takes those back when it needs them); and all
    while True:
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in peak:
                peak[name] = max(peak[name], int(value.split()[0]))
        time.sleep(0.05)

threading.Thread(target=watch_memory, daemon=True).start()
result, start = {}, [time.process_time(), time.perf_counter()]

def done(what):
    now = [time.process_time(), time.perf_counter()]
    result[what], start[:] = [b - a for a, b in zip(start, now)], now

found = copies.find(images, True, 0.85)
done("within")
across = copies.find_across(images, others, True, 0.85)
done("across")
prints = fingerprints(images), fingerprints(others)
done("prints")
tested = matches(prints[1], prints[0])
done("look-up")
result |= {"own": peak["RssAnon"] / 1024, "all": peak["VmHWM"] / 1024}
np.savez(folder / "found.npz", first=found.pairs.first, second=found.pairs.second, groups=found.groups,
         across_first=across.first, across_second=across.second, tested=tested)
print(json.dumps(result))
"""


class Faces:
    """Makes faces that are as varied as some given ones, and no copies of each other: their principal axes, mixed anew.

    Args:
        folder: Images of faces; None for drawn ones.
    """

    def __init__(self, folder: Path | None) -> None:
        rng = np.random.default_rng(0)
        if folder is None:
            models = list(generate(MODELS, 0)[0])
        else:
            files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
            models = [cv2.imread(str(files[n]), 0) for n in rng.permutation(len(files))[:MODELS]]
        pixels = np.array([cv2.resize(face, (SMALL, SMALL)).ravel() for face in models], dtype=np.float32)
        self.mean = pixels.mean(axis=0)
        self.axes = np.linalg.svd(pixels - self.mean, full_matrices=False)[2][:AXES]
        self.along = (pixels - self.mean) @ self.axes.T

    def __call__(self, count: int, rng: np.random.Generator) -> Images:
        """Return some faces, uint8 (count, SIDE, SIDE): along each axis as far as a face that is drawn for it."""
        along = self.along[rng.integers(len(self.along), size=(count, self.along.shape[1])), np.arange(AXES)]
        faces = np.clip(self.mean + along @ self.axes, 0, 255).astype(np.uint8).reshape(-1, SMALL, SMALL)
        return np.array([cv2.resize(face, (SIDE, SIDE)) for face in faces])


def _encoded(image: Images, rng: np.random.Generator) -> Images:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def _resized(image: Images, rng: np.random.Generator) -> Images:
    side = int(rng.integers(40, 100))
    return cv2.resize(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), (SIDE, SIDE))


def _mirrored(image: Images, rng: np.random.Generator) -> Images:
    return image[:, ::-1]


def _lit(image: Images, rng: np.random.Generator) -> Images:
    return np.clip(image * rng.uniform(0.7, 1.2) + rng.uniform(-20, 20), 0, 255).astype(np.uint8)


def _cropped(image: Images, rng: np.random.Generator) -> Images:
    top, bottom, left, right = rng.integers(0, SIDE // 12, 4)
    return cv2.resize(image[top : SIDE - bottom, left : SIDE - right], (SIDE, SIDE))


def _shifted(image: Images, rng: np.random.Generator) -> Images:
    down, across = rng.integers(-5, 6, 2)
    move = np.array([[1, 0, across], [0, 1, down]], dtype=np.float32)
    return cv2.warpAffine(image, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)


def _all(image: Images, rng: np.random.Generator) -> Images:
    for change in (_cropped, _mirrored, _lit, _resized, _encoded):
        image = change(image, rng)
    return image


CHANGES: dict[str, Callable[[Images, np.random.Generator], Images]] = {
    "equal": lambda image, rng: image, "re-encoded": _encoded, "resized": _resized, "mirrored": _mirrored,
    "lit otherwise": _lit, "cropped": _cropped, "shifted": _shifted, "all of these": _all,
}  # fmt: skip


def make(folder: Path, count: int, faces: Faces) -> tuple[Rows, Rows]:
    """Write ``images.npy``, and ``others.npy`` of a tenth as many, and return what was copied.

    Returns:
        For the images, then for the others: rows of copies, of what they are copies of among the images, and which of
        ``CHANGES`` was made; int64 of shape (3, P).
    """
    rng = np.random.default_rng(count)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, SIDE, SIDE))
    others = np.lib.format.open_memmap(folder / "others.npy", "w+", np.uint8, (count // 10, SIDE, SIDE))
    for part in (images, others):
        for start in range(0, len(part), BLOCK):
            block = part[start : start + BLOCK]
            block[:] = faces(len(block), rng)
    known = []
    rows = rng.permutation(count)
    for part, copies in ((images, rows[: int(COPIES * count)]), (others, rng.permutation(len(others))[::2])):
        originals = rng.choice(rows[int(COPIES * count) :], len(copies), replace=False)
        changes = rng.integers(0, len(CHANGES), len(copies))
        for copy, original, change in zip(copies, originals, changes, strict=True):
            part[copy] = list(CHANGES.values())[change](np.asarray(images[original]), rng)
        known.append(np.stack([copies, originals, changes]))
    images.flush()
    others.flush()
    return known[0], known[1]


def measure(console: Console, sizes: Sequence[int] = SIZES, source: Path | None = None) -> None:
    """Print what each size took and what was found of each kind of copy, and draw the growth."""
    faces = Faces(source)
    rows = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            within, across = make(folder, count, faces)
            done = subprocess.run([sys.executable, "-c", SEARCH, name], stdout=subprocess.PIPE, text=True, check=True)
            row = {"images": count} | json.loads(done.stdout.splitlines()[-1])
            row["found"], row["asked"], row["false"] = _judged(folder, count, within, across)
        rows.append(row)
        _tables(console, rows)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    _growth(rows).savefig(PICTURE, dpi=110)
    console.print(f"drawn: {PICTURE}")


def _judged(folder: Path, count: int, within: Rows, across: Rows) -> tuple[Rows, Rows, list[int]]:
    """Count by (search, change) the copies found and those there are, and by search the false alarms."""
    result = np.load(folder / "found.npz")
    origin, other_origin = np.arange(count), np.full(count // 10, -1)
    origin[within[0]], other_origin[across[0]] = within[1], across[1]
    true = origin[result["across_first"]] == other_origin[result["across_second"]]
    found = [
        result["groups"][within[0]] == result["groups"][within[1]],
        np.isin(across[0], result["across_second"][true]),
        result["tested"][across[0]],
    ]
    kinds = within[2], across[2], across[2]
    counts = [np.bincount(kind[hit], minlength=len(CHANGES)) for kind, hit in zip(kinds, found, strict=True)]
    asked = [np.bincount(kind, minlength=len(CHANGES)) for kind in kinds]
    false = [
        int((origin[result["first"]] != origin[result["second"]]).sum()),
        int((~true).sum()),
        int(result["tested"][other_origin < 0].sum()),
    ]
    return np.array(counts), np.array(asked), false


def _tables(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title="search for copies: CPU seconds (seconds on the clock), MiB")
    for column in ("images", *SEARCHES.values(), "own memory", "with the files'"):
        table.add_column(column, justify="right")
    for row in rows:
        times = (f"{row[what][0]:,.0f} ({row[what][1]:,.0f})" for what in SEARCHES)
        table.add_row(f"{row['images']:,}", *times, f"{row['own']:,.0f}", f"{row['all']:,.0f}")
    console.print(table)
    for row in rows[-1:]:
        table = Table(title=f"of the copies among {row['images']:,} images were found")
        for column in ("change", *(SEARCHES[what] for what in ("within", "across", "look-up"))):
            table.add_column(column, justify="left" if column == "change" else "right")
        shares = row["found"] / np.maximum(1, row["asked"])
        for name, of_change in zip(CHANGES, shares.T, strict=True):
            table.add_row(name, *(f"{100 * share:.1f} %" for share in of_change))
        every = row["found"].sum(axis=1) / row["asked"].sum(axis=1)
        table.add_row("all", *(f"{100 * share:.2f} %" for share in every))
        table.add_row("false alarms", *(f"{number:,}" for number in row["false"]))
        console.print(table)


def _growth(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw CPU time over the number of images, with the exponent of each search between the first and last size."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    images = np.array([row["images"] for row in rows])
    for what, name in SEARCHES.items():
        seconds = np.array([row[what][0] for row in rows])
        exponent = np.polyfit(np.log(images), np.log(seconds), 1)[0] if len(rows) > 1 else np.nan
        axes.loglog(images, seconds, "o-", label=f"{name}: exponent {exponent:.2f}")
    first = rows[0]["within"][0]
    axes.loglog(images, first * (images / images[0]) ** 2, ":", color="grey", label="all pairs: exponent 2")
    axes.set_xlabel("images of 112 x 112")
    axes.set_ylabel("CPU seconds")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
