"""Files are whole or not there, and a file that cannot be written is a sentence."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from fer.files.atomic import UnwritableError, if_possible, writing


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with writing(path) as file:
        file.write("first")
    with suppress(ValueError), writing(path) as file:
        file.write("sec")
        raise ValueError
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space is left. Free some, then go on with resume=run."),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "not permitted"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_a_failed_write_says(tmp_path: Path, number: int, said: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("whole")
    with pytest.raises(UnwritableError) as error, writing(path, then="resume=run"):
        raise OSError(number, os.strerror(number))
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_what_nothing_depends_on_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "gone" / "curves.png"
    with if_possible(path), writing(path, "wb") as file:
        file.write(b"x")
    assert f"{path}: cannot be written: its folder is gone" in caplog.text
    assert "It is left out" in caplog.text
