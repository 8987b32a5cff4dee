"""FER+ for tests: images of FER2013 and the votes about them."""

from collections.abc import Sequence
from pathlib import Path

import fakes
import numpy as np
import pytest
from conftest import SHARED
from fakes_lab import votes, votes_for, write_votes

from fer.data.labels import EMOTIONS
from fer.data.samples import Samples
from fer.datasets.ferplus import FERPlus
from fer.datasets.ferplus_votes import COLUMNS

needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the real votes are not here")
REAL = SHARED / "data/fer2013new.csv.gz"
# [ne, ha, su, sa, an, di, fe, co], as counted independently of this project.
REAL_COUNTS = {
    "train": [8740, 7287, 3149, 3014, 2100, 119, 532, 119],
    "val": [1182, 865, 415, 351, 287, 24, 62, 13],
    "test": [1090, 893, 396, 384, 273, 18, 83, 16],
}
IN_FILE = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
ROWS = fakes.fer2013_rows()
TRAIN = sum(row.usage == "Training" for row in ROWS)
SPECIAL = {
    0: votes(contempt=6, sad=4),
    1: votes(NF=10),
    2: votes(unknown=6, happy=4),
    3: votes(happy=5, sad=5),
    4: votes(happy=4, sad=3, angry=3),
    TRAIN: votes(happy=5, sad=5),
    TRAIN + 1: votes(fear=6, sad=4),
}


def make(root: Path, cache_dir: Path | None = None, **options: object) -> FERPlus:
    cache = str(cache_dir or root.parent / "cache")
    return FERPlus(str(root), cache_dir=cache, num_workers=0, **options)  # type: ignore[arg-type]


def read(root: Path, **options: object) -> Samples:
    return make(root, **options).read()


def write(root: Path, special: dict[int, list[int]] = SPECIAL, name: str = "fer2013new.csv") -> None:
    fakes.write_fer2013_csv(root / "fer2013.csv")
    write_votes(root / name, votes_for(ROWS, special))


def ordered(rows: Sequence[list[int]]) -> np.ndarray:
    """Return votes in the order of COLUMNS."""
    order = [(*IN_FILE, "unknown", "nf").index(name) for name in COLUMNS]
    return np.array(rows)[:, order]


def said(targets: np.ndarray) -> dict[str, float]:
    return {EMOTIONS[column]: round(float(value), 3) for column, value in enumerate(targets) if value}
