"""Rows of label lists: where each stands, and that all wrong ones are named."""

from pathlib import Path

import pytest

from fer.data.rows import csv_rows, decode_label, find_columns, parse_rows, text_rows
from fer.errors import DatasetError, LabelError


def test_rows_know_their_line(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"\xef\xbb\xbfa 1\r\n\r\n  b 2 \r\n")
    assert list(text_rows(path)) == [(f"{path}:1", "a 1"), (f"{path}:3", "b 2")]
    path.write_bytes(b'\xef\xbb\xbfa, 1\r\n\r\n"b, c",2\r\n')
    assert list(csv_rows(path)) == [(f"{path}:1", ["a", "1"]), (f"{path}:3", ["b, c", "2"])]


def test_not_csv(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('a,"' + "b" * 200_000)
    with pytest.raises(DatasetError, match=r"list\.csv cannot be read: not a csv file \(field larger"):
        list(csv_rows(path))


def test_columns() -> None:
    assert find_columns("x:1", ["b", "LABEL", "image"], ["image", "label"]) == {"image": 2, "label": 1}
    with pytest.raises(DatasetError, match=r"x:1: no column image and no column label; found: b"):
        find_columns("x:1", ["b"], ["image", "label"])


def test_all_wrong_rows_are_named() -> None:
    rows = [(f"x:{line}", text) for line, text in enumerate(["1", "2", "3", "a", "b", "4"], start=1)]
    assert parse_rows(rows[:3], int) == [1, 2, 3]
    with pytest.raises(DatasetError) as error:
        parse_rows(rows, int)
    assert "2 of 6 labels cannot be read" in str(error.value)
    assert "x:4: invalid literal" in str(error.value)
    assert "x:5: invalid literal" in str(error.value)


def test_wrong_labels_alone_are_a_label_error() -> None:
    def parse(row: str) -> str:
        return decode_label(str(int(row)), {"1": "happy", "2": "sad"})

    assert parse_rows([("x:1", "2")], parse) == ["sad"]
    with pytest.raises(LabelError, match=r"x:1: label '3' is none of 1 happy, 2 sad"):
        parse_rows([("x:1", "3")], parse)
    with pytest.raises(DatasetError, match=r"(?s)x:1: label '3'.*x:2: invalid"):
        parse_rows([("x:1", "3"), ("x:2", "a")], parse)
