"""``history.csv`` is read as it was written."""

import math
from pathlib import Path

import pytest

from fer.files import history


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / history.FILE
    rows = {1: {"step": 9.0, "val/loss": 0.5, "lr": 0.1}, 2: {"step": 19.0, "val/loss": math.inf}}
    history.write(path, rows)
    assert path.read_text().splitlines()[:2] == ["epoch,step,val/loss,lr", "1,9,0.5,0.1"]
    assert history.read_rows(path) == rows
    columns = history.read(path)
    assert columns["epoch"] == [1, 2]
    assert history.at_epoch(columns, 1, "lr") == 0.1
    assert history.at_epoch(columns, 2, "lr") is None
    assert history.at_epoch(columns, 3, "lr") is None
    assert history.at_epoch(columns, 1, "train/loss") is None


def test_older_runs_counted_epochs_from_0(tmp_path: Path) -> None:
    path = tmp_path / history.FILE
    path.write_text("epoch,step,val/loss\n0,9,1.0\n1,19,0.5\n")
    assert history.at_epoch(history.read(path), 2, "val/loss") == 0.5
    assert history.read_rows(path) == {1: {"step": 9, "val/loss": 1}, 2: {"step": 19, "val/loss": 0.5}}


@pytest.mark.parametrize("text", ["epoch,val/loss\n1,low\n", "a,b\n1,2\n", "epoch,b\n1,2,3\n", "epoch,a\n,1\n"])
def test_what_is_no_history(tmp_path: Path, text: str) -> None:
    path = tmp_path / history.FILE
    path.write_text(text)
    for read in (history.read, history.read_rows):
        with pytest.raises(ValueError, match=r"."):
            read(path)
