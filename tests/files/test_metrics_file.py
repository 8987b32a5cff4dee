"""``metrics.json`` says what it is of; what a newer fer wrote is refused, and what an older one wrote is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from fer.files import metrics


@pytest.mark.parametrize("kind", ["training", "test"])
def test_what_was_written_is_read(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / metrics.FILE
    written = metrics.write(path, kind, {"data": "folder", "test": {"accuracy": 0.5}})
    assert metrics.read(path) == written == {"kind": kind, "format": 1, "data": "folder", "test": {"accuracy": 0.5}}
    assert metrics.kind_of(written) == kind


@pytest.mark.parametrize(
    ("number", "said"),
    [(2, "of format 2, of a newer fer; this one reads formats up to 1"), ("1", "format is '1'"), (None, "None")],
)
def test_another_format_is_refused(tmp_path: Path, number: object, said: str) -> None:
    path = tmp_path / metrics.FILE
    path.write_text(json.dumps({"kind": "test", "format": number, "test": {}}))
    with pytest.raises(ValueError, match=said):
        metrics.read(path)


def test_older_files_have_neither_kind_nor_format(tmp_path: Path) -> None:
    assert metrics.kind_of({"best_score": 0.5}) == "training"
    assert metrics.kind_of({"label_space": {}}) == "test"
    assert metrics.kind_of({"accuracy": 0.5}) is None
    assert metrics.kind_of({"kind": "another program's", "best_score": 0.5}) is None
    path = tmp_path / metrics.FILE
    for old in (True, False):  # they counted epochs from 0
        text = {"epochs": 2, "best_epoch": 0 + (not old), "last_epoch": {"epoch": 1 + (not old)}}
        path.write_text(json.dumps(text))
        assert metrics.read(path) == {"epochs": 2, "best_epoch": 1, "last_epoch": {"epoch": 2}}
