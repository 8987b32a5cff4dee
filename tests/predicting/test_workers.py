"""Several workers: each picture is dealt with once, in the source's order, whatever happens to one of them."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import composed
from fakes import face, write_image
from fakes_model import write_run

from fer.errors import ConfigError, FERError
from fer.predicting import parts, workers
from fer.predicting.sources import Files

parquet = pytest.importorskip("pyarrow.parquet")

Here = Callable[..., Path]
OPTIONS = ("accelerator=cpu", "progress=false", "detector=none")
NUMBER = 300  # five parts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of pictures, one of them broken."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(NUMBER):
        write_image(folder / f"{number:03}.png", face(0, rng))
    (folder / "100.png").write_bytes(b"no picture")
    order = rng.permutation(NUMBER)
    (folder / "list.txt").write_text("".join(f"{number:03}.png\n" for number in order))
    return folder / "list.txt"


def table(folder: Path) -> dict[str, list[Any]]:
    return parquet.read_table(sorted((folder / "parts").glob("*.parquet"))).to_pydict()


def kill_one(folder: Path, killed: list[int]) -> None:
    for _ in range(20_000):
        working = multiprocessing.active_children()
        if working and list((folder / "parts").glob(".part-*.lock")):
            os.kill(int(working[0].pid or 0), signal.SIGKILL)
            killed.append(1)
            return
        time.sleep(0.01)


def test_killed_workers_lose_nothing(
    run: Path, source: Path, run_here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed: list[int] = []
    killer = threading.Thread(target=kill_one, args=(tmp_path / "many", killed))
    killer.start()
    several = ("fer.predict", f"ckpt={run}", f"source={source}", *OPTIONS, "workers=2")
    many = run_here(*several, name="many")
    killer.join()
    assert killed
    assert "was killed (exit code -9); another takes its place" in capsys.readouterr().out
    found = table(many)
    assert found["picture"] == list(range(NUMBER)), "once, in the source's order"
    assert [Path(name).name for name in found["file"]] == source.read_text().split()
    assert [Path(name).name for name, error in zip(found["file"], found["error"], strict=True) if error] == ["100.png"]
    assert not list((many / "parts").glob(".part-*")), "nothing half done is left"

    one = run_here("fer.predict", f"ckpt={run}", f"source={source}", *OPTIONS, name="one")
    with (one / "predictions.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    for name, emotion, p in zip(found["file"], found["emotion"], found["p_happy"], strict=True):
        assert emotion == (rows[name]["emotion"] if name in rows else None)
        assert p is None or p == pytest.approx(float(rows[name]["p_happy"]), abs=2e-6)

    (many / "parts" / "part-00002.parquet").unlink()
    before = (many / "parts" / "part-00001.parquet").stat().st_mtime_ns
    run_here(*several, name="many")
    said = capsys.readouterr().out
    assert "4 of 5 parts were done before; they are passed over." in said
    assert "64 pictures in" in said
    assert (many / "parts" / "part-00001.parquet").stat().st_mtime_ns == before
    for column, values in table(many).items():  # another number of cores for a worker may round otherwise
        same = pytest.approx(found[column], abs=2e-6) if isinstance(values[0], float) else found[column]
        assert values == same, column


def test_a_part_is_made_by_one_worker_alone(source: Path, tmp_path: Path) -> None:
    first, second = (parts.Parts(tmp_path, Files(str(source)), {}) for _ in range(2))
    taken = first.taken()
    number, pictures = next(taken)
    assert (number, len(pictures)) == (0, 64)
    assert [other for other, _ in second.taken()] == [1, 2, 3, 4]
    taken.close()  # as if its worker had been killed
    assert [other for other, _ in second.taken()] == [0, 1, 2, 3, 4]
    assert first.pictures(range(5)) == NUMBER


def test_a_source_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    rng, folder = np.random.default_rng(0), tmp_path / "pictures"
    for number in range(70):
        write_image(folder / f"{number:03}.png", face(0, rng))
    made = parts.Parts(tmp_path / "parts", Files(str(folder)), {})
    assert [number for number, _ in made.taken()] == [0, 1]
    write_image(folder / "000a.png", face(0, rng))  # in front: each later picture moves on by one
    with pytest.raises(FERError, match="changed while they were predicted"):
        list(made.taken())


def test_a_picture_that_was_changed_is_not_taken_for_done(tmp_path: Path) -> None:
    rng, folder = np.random.default_rng(0), tmp_path / "pictures"
    write_image(folder / "0.png", face(0, rng))
    parts.Parts(tmp_path / "parts", Files(str(folder)), {})
    write_image(folder / "0.png", face(1, rng, 64))
    with pytest.raises(ConfigError, match="holds predictions of other pictures, or of some that were changed since"):
        parts.Parts(tmp_path / "parts", Files(str(folder)), {})


def test_other_pictures_or_another_model_are_refused(source: Path, tmp_path: Path) -> None:
    parts.Parts(tmp_path / "parts", Files(str(source)), {"tta": "none"})
    with pytest.raises(ConfigError, match="holds predictions of tta=none"):
        parts.Parts(tmp_path / "parts", Files(str(source)), {"tta": "flip"})
    with pytest.raises(ConfigError, match="holds predictions of other pictures"):
        parts.Parts(tmp_path / "parts", Files(str(source.parent)), {"tta": "none"})


def test_a_worker_that_is_killed_again_and_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork = multiprocessing.get_context("fork")

    def start(number: int, *arguments: object) -> multiprocessing.process.BaseProcess:
        process = fork.Process(target=lambda: os.kill(os.getpid(), signal.SIGKILL))
        process.start()
        return process

    monkeypatch.setattr(workers, "_start", start)
    config = {**composed("ckpt=x", "source=y", "workers=2", config="predict"), "output_dir": str(tmp_path)}
    with pytest.raises(FERError, match="5 workers were killed one after the other"):
        workers.run(config, Files(str(source)), {})


def test_each_core_is_one_workers() -> None:
    for cores in ([3], [0, 1], [2, 5, 6, 7, 9, 11, 12]):
        for many in range(1, len(cores) + 1):
            shares = [workers.share(cores, number, many) for number in range(many)]
            assert [core for share in shares for core in share] == cores
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [workers.share([4, 8], number, 5) for number in range(5)] == [[4], [8], [4], [8], [4]]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tie processes to cores")
def test_a_worker_runs_on_its_cores_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before, started = os.sched_getaffinity(0), []

    class Process:
        def __init__(self, args: tuple[Any, ...], **others: object) -> None:
            self.threads = args[1]

        def start(self) -> None:
            echo = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
            started.append((self.threads, subprocess.run(echo, capture_output=True, text=True).stdout.strip()))

    monkeypatch.setattr(multiprocessing.get_context("spawn"), "Process", Process)
    many = len(before)
    for number in range(many):
        workers._start(number, many, {}, {})
    assert started == [(1, f"[{core}]") for core in sorted(before)]
    assert os.sched_getaffinity(0) == before, "the first process keeps all of them"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("source=0",), "is a camera. Leave workers out"),
        (("source={videos}",), "holds 1 videos"),
        (("source={videos}/a.png", "explain=true"), "Leave explain out, or workers"),
    ],
)
def test_what_workers_cannot_do(
    overrides: tuple[str, ...], expected: str, run: Path, tmp_path: Path, run_here: Here,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_image(tmp_path / "a.png", face(0, np.random.default_rng(0)))
    (tmp_path / "b.mp4").write_bytes(b"")
    filled = [override.format(videos=tmp_path) for override in overrides]
    with pytest.raises(SystemExit):
        run_here("fer.predict", f"ckpt={run}", "detector=none", "workers=2", *filled)
    assert expected in capsys.readouterr().err
