"""``predictions.csv`` is read as it was written, whatever the names in it look like."""

from pathlib import Path

import numpy as np
import pytest

from fer.files import predictions
from fer.files.predictions import Predictions

CLASSES = ("=1+1", "sad")


def write(path: Path) -> None:
    parts = [
        Predictions(
            split=split,
            rows=np.arange(2),
            ids=np.array(["@a,b", "'=c"]),
            labels=np.array([0, 1]),
            probabilities=np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32),
        )
        for split in ("val", "test")
    ]
    predictions.write(path, parts, CLASSES, {predictions.IN_TRAINING: np.array([0, 1, 0, 1])})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / predictions.FILE
    write(path)
    assert path.read_text().splitlines()[1] == "val,\"'@a,b\",'=1+1,sad,0.250000,0.750000,0"
    answers = {"@a,b": ("=1+1", "sad"), "'=c": ("sad", "=1+1")}
    assert predictions.read_answers(path) == {"val": answers, "test": answers}
    rows = list(predictions.read_probabilities(path, ["sad", "=1+1"]))
    assert rows[:2] == [(2, "@a,b", [0.75, 0.25]), (3, "'=c", [0.5, 0.5])]


@pytest.mark.parametrize("value", ["nan", "2", "", "high"])
def test_a_row_that_holds_no_probabilities_is_none(tmp_path: Path, value: str) -> None:
    path = tmp_path / predictions.FILE
    path.write_text(f"id,p_sad\nx,{value}\ny,0.5\n")
    assert list(predictions.read_probabilities(path, ["sad"])) == [(2, "x", None), (3, "y", [0.5])]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / predictions.FILE
    path.write_text("id,split\nx,val\n")
    with pytest.raises(ValueError, match=r"has no column p_sad; it has \['id', 'split'\]"):
        list(predictions.read_probabilities(path, ["sad"]))
    with pytest.raises(ValueError, match="no table of predictions"):
        predictions.read_answers(path)
    path.write_bytes(b"id,p_sad\n\xff,1\n")
    with pytest.raises(ValueError, match="is no csv file"):
        list(predictions.read_probabilities(path, ["sad"]))
