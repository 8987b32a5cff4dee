"""A prediction that was stopped in a video goes on at its frame, and leaves what an unbroken one leaves."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes_model import write_run
from test_predict import CPU, Here, rows, write_video

from fer.framing import detectors
from fer.framing.face import Face
from fer.predicting import record as records
from fer.predicting.record import Record

FRAMES = 40
LEFT = ("predictions.csv", "predictions.jsonl", "files.csv")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


class Squares:
    """Finds white squares, at places that are no whole pixels."""

    name = "fast"
    looked = 0

    def detect(self, image: np.ndarray) -> list[Face]:
        Squares.looked += 1
        white = (image[:, :, 0] > 240).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(white)
        found = []
        for left, top, width, height, area in stats[1:].tolist():
            if area > 400:
                box = (left + 1 / 3, top - 1 / 7, left + width + 0.1, top + height + 0.2)
                points = np.full((5, 2), (left + width / 3, top + height / 7), np.float32)
                found.append(Face(box, points, 0.7 + left / 1000))
        return found


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(detectors._DETECTORS, "fast", Squares)
    monkeypatch.setattr(records, "_EVERY", -1.0)  # each batch of frames counts
    Squares.looked = 0
    return


def write_two(path: Path, seed: int = 0) -> None:
    """Write a video of two squares that come and go over a restless ground."""
    random = np.random.default_rng(seed)
    ground = random.integers(0, 200, (160, 240, 3)).astype(np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (240, 160))
    for number in range(FRAMES):
        image = np.roll(ground, number, 1)
        if number < 18:  # the second keeps its number when this one is forgotten
            image[30:70, 10 + 3 * number : 50 + 3 * number] = 255
        if number > 5:
            image[90:135, 180 - 4 * number : 225 - 4 * number] = 255
        writer.write(image)
    writer.release()


def stop_after(monkeypatch: pytest.MonkeyPatch, run_here: Here, batches: int, *args: str, name: str) -> Path:
    """Give a command that is stopped once so many batches of frames are done."""
    reached, done = Record.reached, []

    def stopped(self: Record, *given: Any) -> None:
        reached(self, *given)
        done.append(1)
        if len(done) == batches:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Record, "reached", stopped)
        with pytest.raises(SystemExit) as stop:
            run_here("fer.predict", *args, name=name)
    assert stop.value.code == 130
    return Path(name).resolve()


@pytest.mark.parametrize("options", [("detect_every=5", "smooth=0.4"), ("detect_every=5", "annotated=0"),
                                     ("detector=none", "smooth=0.4", "annotated=0")])  # fmt: skip
def test_a_stopped_video_goes_on_at_its_frame(
    options: tuple[str, ...], run: Path, run_here: Here, tmp_path: Path, squares: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_two(tmp_path / "film.avi")
    args = (f"ckpt={run}", "source=film.avi", *options, *CPU)
    whole = run_here("fer.predict", *args, name="whole")
    looked_at_all = Squares.looked
    stop_after(monkeypatch, run_here, 1, *args, name="parts")
    folder = stop_after(monkeypatch, run_here, 2, *args, name="parts")  # twice
    assert [row["frame"] for row in rows(folder)][-1] == "23"
    assert json.loads((folder / "progress.json").read_text())["video"]["frames"] == 24
    assert not (folder / "annotated" / "film.mp4").exists(), "whole or not at all"
    for name in ("predictions.csv", "unfinished.jsonl"):
        with (folder / name).open("a") as file:
            file.write("half a li")  # of a process that was killed
    capsys.readouterr()
    Squares.looked = 0
    run_here("fer.predict", *args, name="parts")
    assert "film.avi goes on at frame 24" in capsys.readouterr().out
    for name in LEFT:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    if "detector=none" not in options:
        assert {row["track"] for row in rows(folder)} == {"1", "2"}
        assert 0 < Squares.looked < looked_at_all / 2, "the frames before are not looked at again"
    assert not (folder / "unfinished.jsonl").exists()
    if "annotated=0" not in options:
        assert [path.name for path in (folder / "annotated").iterdir()] == ["film.mp4"]
        assert (folder / "annotated" / "film.mp4").read_bytes() == (whole / "annotated" / "film.mp4").read_bytes()
    run_here("fer.predict", *args, name="parts")
    assert "1 files were dealt with before" in capsys.readouterr().out
    assert (folder / LEFT[0]).read_bytes() == (whole / LEFT[0]).read_bytes()


KILLED = """
import os, signal
from fer.predicting import record
record._EVERY = -1.0
reached = record.Record.reached
def killed(self, *given):
    reached(self, *given)
    if self._video["frames"] >= 16:
        os.kill(os.getpid(), signal.SIGKILL)
record.Record.reached = killed
from fer.predict import main
main()
"""


def test_a_killed_video_goes_on(run: Path, run_here: Here, tmp_path: Path) -> None:
    write_two(tmp_path / "film.avi")
    args = (f"ckpt={run}", "source=film.avi", "detector=none", "smooth=0.4", *CPU)
    whole = run_here("fer.predict", *args, name="whole")
    folder = tmp_path / "parts"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *args, f"hydra.run.dir={folder}"], cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    assert json.loads((folder / "progress.json").read_text())["video"]["frames"] == 16
    run_here("fer.predict", *args, name="parts")
    for name in LEFT:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    film = cv2.VideoCapture(str(folder / "annotated" / "film.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert len(list((folder / "annotated").iterdir())) == 1, "what the killed one left is no more"


@pytest.mark.parametrize("change", ["another", "gone"])
def test_of_a_video_that_changed_nothing_is_kept(
    change: str, run: Path, run_here: Here, tmp_path: Path, squares: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "films").mkdir()
    write_two(tmp_path / "films" / "a.avi")
    write_video(tmp_path / "films" / "b.mp4", 10)
    args = (f"ckpt={run}", "source=films", "annotated=0", *CPU)
    folder = stop_after(monkeypatch, run_here, 2, *args, name="parts")
    if change == "another":
        write_two(tmp_path / "films" / "a.avi", seed=1)
    else:
        (tmp_path / "films" / "a.avi").unlink()
    capsys.readouterr()
    run_here("fer.predict", *args, name="parts")
    said = capsys.readouterr().out
    assert "taken back" in said
    assert "goes on at" not in said
    fresh = run_here("fer.predict", *args, name="fresh")
    for name in LEFT:
        assert (folder / name).read_bytes() == (fresh / name).read_bytes(), name


@pytest.mark.parametrize("damage", ["lines", "text"])
def test_a_damaged_trail_is_said(
    damage: str, run: Path, run_here: Here, tmp_path: Path, squares: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_two(tmp_path / "film.avi")
    args = (f"ckpt={run}", "source=film.avi", "annotated=0", *CPU)
    folder = stop_after(monkeypatch, run_here, 2, *args, name="parts")
    trail = folder / "unfinished.jsonl"
    text = trail.read_text()
    trail.write_text(text.replace("\n", " ", 3) if damage == "lines" else "x" * len(text))
    with pytest.raises(SystemExit) as stop:
        run_here("fer.predict", *args, name="parts")
    assert stop.value.code == 2
    assert "unfinished.jsonl: is damaged. Delete its folder" in capsys.readouterr().err


def test_a_video_that_a_list_no_longer_names_is_taken_back(
    run: Path, run_here: Here, tmp_path: Path, squares: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_two(tmp_path / "a.avi")
    write_video(tmp_path / "b.mp4", 10)
    (tmp_path / "list.txt").write_text("a.avi\nb.mp4\n")
    args = (f"ckpt={run}", "source=list.txt", "annotated=0", *CPU)
    folder = stop_after(monkeypatch, run_here, 2, *args, name="parts")
    (tmp_path / "list.txt").write_text("b.mp4\n")
    run_here("fer.predict", *args, name="parts")
    assert {row["file"] for row in rows(folder)} == {"b.mp4"}
    assert [row["file"] for row in rows(folder, "files.csv")] == ["b.mp4"]


def test_progress_of_an_older_version_is_taken_up(run: Path, run_here: Here, tmp_path: Path, squares: None) -> None:
    write_video(tmp_path / "film.mp4", 12)
    args = (f"ckpt={run}", "source=film.mp4", "annotated=0", *CPU)
    out = run_here("fer.predict", *args)
    whole = rows(out)
    state = json.loads((out / "progress.json").read_text())
    del state["video"], state["sizes"]["unfinished.jsonl"]
    for name in state["sizes"]:  # as after a kill in the middle: the head alone counts
        state["sizes"][name] = (out / name).read_bytes().find(b"\n") + 1 if name.endswith(".csv") else 0
    (out / "progress.json").write_text(json.dumps({**state, "format": 1}))
    run_here("fer.predict", *args)
    assert rows(out) == whole
