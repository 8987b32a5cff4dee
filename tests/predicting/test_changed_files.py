"""A repeated prediction deals with changed files anew, and their old rows go, whenever it is stopped."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import face, write_image
from fakes_model import write_run
from fakes_shards import plain, png
from test_going_on import squares, stop_after, write_two  # noqa: F401
from test_predict import CPU, rows, write_video

from fer.predicting.record import Record

Here = Callable[..., Path]
LEFT = ("predictions.csv", "predictions.jsonl", "files.csv")
OPTIONS = ("detector=none", "annotated=0", "batch_size=1", *CPU)  # answers of batches differ in the last digits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


def put(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    write_image(path, face(seed % 7, np.random.default_rng(seed), 24))
    os.utime(path, ns=(10**9, seed))  # whatever the clock's steps are


def answers(folder: Path, name: str = "predictions.csv") -> list[list[str]]:
    return sorted(list(row.values()) for row in rows(folder, name))


def test_a_changed_picture_is_dealt_with_anew(
    run: Path, run_here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("=a\n.png", "b.png", "c.png")):
        put(tmp_path / "photos" / name, number)
    args = ("fer.predict", f"ckpt={run}", "source=photos", *OPTIONS)
    out = run_here(*args, name="out")
    first = rows(out)
    capsys.readouterr()
    put(tmp_path / "photos" / "=a\n.png", 11)
    (tmp_path / "photos" / "c.png").unlink()
    run_here(*args, name="out")
    said = capsys.readouterr().out
    assert "2 files were dealt with before; they are passed over, and their pictures stay as they are." in said
    assert "1 files were changed since; they are dealt with anew." in said
    put(tmp_path / "photos" / "c.png", 2)
    fresh = run_here(*args, name="fresh")
    assert rows(out) != first
    for name in ("predictions.csv", "files.csv"):
        assert answers(out, name) == answers(fresh, name)
    assert sorted((out / LEFT[1]).read_text().splitlines()) == sorted((fresh / LEFT[1]).read_text().splitlines())
    before = [(out / name).read_bytes() for name in LEFT]
    run_here(*args, name="out")
    assert [(out / name).read_bytes() for name in LEFT] == before
    assert "3 files were dealt with before" in capsys.readouterr().out


@pytest.mark.parametrize("stopped", ["_beside", "write_json", "finish", "replace"])
def test_a_start_that_is_killed_while_rows_go_leaves_whole_tables(
    stopped: str, run: Path, run_here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        put(tmp_path / "photos" / f"{number}.png", number)
    args = ("fer.predict", f"ckpt={run}", "source=photos", *OPTIONS)
    out = run_here(*args, name="out")
    put(tmp_path / "photos" / "1.png", 11)

    class Killed(BaseException):
        pass

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    replaced, whole = [], os.replace

    def replace(source: Any, target: Any) -> None:
        if Path(target).name in LEFT:
            replaced.append(target)
        if len(replaced) == 2:
            raise Killed
        whole(source, target)

    with monkeypatch.context() as patch:
        if stopped == "replace":
            patch.setattr(os, "replace", replace)
        else:
            where = "fer.predicting.record" if stopped == "write_json" else "fer.predicting.changed"
            patch.setattr(f"{where}.{stopped}", kill)
        with pytest.raises(Killed):
            run_here(*args, name="out")
    run_here(*args, name="out")
    fresh = run_here(*args, name="fresh")
    assert "renewed" not in json.loads((out / "progress.json").read_text())
    for name in ("predictions.csv", "files.csv"):
        assert answers(out, name) == answers(fresh, name)
    assert len((out / LEFT[1]).read_text().splitlines()) == 3
    assert not list(out.glob(".*.new"))


def test_a_folder_of_an_earlier_version_is_gone_on_with(run: Path, run_here: Here, tmp_path: Path) -> None:
    put(tmp_path / "photos" / "a.png", 1)
    args = ("fer.predict", f"ckpt={run}", "source=photos", *OPTIONS)
    out = run_here(*args, name="out")
    text = "".join(f"{','.join(row)}\r\n" for row in (list(rows(out, LEFT[2])[0])[:4], answers(out, LEFT[2])[0][:4]))
    (out / "files.csv").write_bytes(text.encode())  # it kept no marks
    state = json.loads((out / "progress.json").read_text())
    state["sizes"]["files.csv"] = len(text)
    (out / "progress.json").write_text(json.dumps(state))
    put(tmp_path / "photos" / "a.png", 2)
    put(tmp_path / "photos" / "b.png", 3)
    before = rows(out)
    run_here(*args, name="out")
    assert rows(out)[:-1] == before
    assert [list(row.values()) for row in rows(out, "files.csv")] == [
        ["photos/a.png", "", "1", ""], ["photos/b.png", "", "1", ""],
    ]  # fmt: skip


def test_a_changed_tar_file_is_dealt_with_anew(run: Path, run_here: Here, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    plain(tmp_path / "photos", {"a.tar": {"1.png": png(1), "2.png": png(2)}, "b.tar": {"1.png": png(3)}})
    args = ("fer.predict", f"ckpt={run}", "source=photos", *OPTIONS)
    out = run_here(*args, name="out")
    plain(tmp_path / "photos", {"a.tar": {"1.png": png(9), "3.png": png(2), "4.png": png(4)}})
    run_here(*args, name="out")
    fresh = run_here(*args, name="fresh")
    kept = [row for row in answers(out) if row[0] != "photos/a.tar/2.png"]
    assert len(kept) == 4
    assert kept == answers(fresh)


def test_a_video_in_the_middle_goes_on_though_a_picture_before_it_changed(
    run: Path, run_here: Here, tmp_path: Path, squares: None, monkeypatch: pytest.MonkeyPatch,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    put(tmp_path / "all" / "a.png", 1)
    put(tmp_path / "all" / "b.png", 2)
    write_two(tmp_path / "all" / "film.avi")
    args = (f"ckpt={run}", "source=all", *OPTIONS)
    folder = stop_after(monkeypatch, run_here, 2, *args, name="parts")
    put(tmp_path / "all" / "a.png", 13)
    folder = stop_after(monkeypatch, run_here, 1, *args, name="parts")
    assert "goes on at frame 2;" in capsys.readouterr().out
    (tmp_path / "all" / "film.avi").rename(tmp_path / "film.avi")
    run_here("fer.predict", *args, name="parts")
    fresh = run_here("fer.predict", *args, name="fresh")
    for name in ("predictions.csv", "files.csv"):
        assert answers(folder, name) == answers(fresh, name)


def test_a_changed_video_is_dealt_with_anew(run: Path, run_here: Here, tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", 12)
    args = ("fer.predict", f"ckpt={run}", "source=film.mp4", *OPTIONS)
    out = run_here(*args, name="out")
    write_video(tmp_path / "film.mp4", 20)
    run_here(*args, name="out")
    assert [row["frame"] for row in rows(out)] == [str(number) for number in range(20)]
    assert [row["frames"] for row in rows(out, "files.csv")] == ["20"]


def test_a_file_that_changes_while_it_is_dealt_with_is_dealt_with_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    record = Record(tmp_path, ["a"], {})
    assert not record.is_done(path)
    path.write_bytes(b"other")
    record.end(path, 0)
    record.commit()
    record.close()
    again = Record(tmp_path, ["a"], {})
    assert (again.before, again.changed, again.is_done(path)) == (0, 1, False)
    again.close()
