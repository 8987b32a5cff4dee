"""SIGKILL while files are written: is any of them read half-written, and does the same command again end the same?

``python -m benchmarks kills_writing 25`` kills each command so many times (10 without a number): an audit that decodes
images into the cache, a training while it writes a checkpoint, a report, a sweep that writes its table and pictures.
Each command tells whenever it opens, makes or renames a file of that kind, and is killed a random part of the way from
one such event to the next. Right after a kill, each file under its own name must be whole. Then the command is given
again, a training as ``resume=``, and what it leaves must equal what an uninterrupted one left, byte for byte (of a
checkpoint: its weights), with nothing half-written beside it.
"""

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.growth import QUICK

IMAGES = 6000  # so many are decoded in parts that a killed process leaves to the next
# An audit hook of Python is called before a file is opened, made or renamed. `w`: it is begun; `r`: another event. The
# command goes on once it is answered, so that the time until a kill counts from the event.
_TOLD = """
import importlib, os, re, sys
pattern, handle, module = re.compile(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
writing = os.O_WRONLY | os.O_RDWR

def tell(event, given):
    begun = event == "os.mkdir" or event == "open" and given[2] & writing
    if (begun or event in ("os.rename", "shutil.rmtree")) and isinstance(given[0], (str, os.PathLike)):
        if pattern.search(os.fspath(given[0])):
            os.write(handle, b"w" if begun else b"r")
            os.read(handle, 1)

sys.addaudithook(tell)
sys.argv[1:] = sys.argv[4:]
importlib.import_module(module).main()
"""
_TRAIN = (*QUICK, "model=simple_conv", "data.num_samples=300", "data.batch_size=32", "trainer.limit_train_batches=5")


class Case(NamedTuple):
    """A command that writes files.

    Attributes:
        what: It writes.
        prepare: Makes what the command needs, in a folder.
        command: It and its options, given in that folder.
        watched: What the names of the files contain, as a regular expression.
        results: Globs of what must be equal afterwards.
        again: The options of the command after a kill; None for the same.
    """

    what: str
    prepare: Callable[[Path], None]
    command: tuple[str, ...]
    watched: str
    results: tuple[str, ...]
    again: tuple[str, ...] | None = None


def _images(folder: Path) -> None:
    """Write small images beside the folder, some of them twice: a copy would be another dataset to the cache."""
    for number in range(IMAGES):
        path = folder.parent / "faces" / "train" / ("happy", "sad")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number % (IMAGES - 50)).integers(0, 255, (24, 24), np.uint8)
        cv2.imwrite(str(path), pixels)


def _runs(folder: Path) -> None:
    """Train a run, and copy it under other seeds."""
    _finished(folder, "fer.train", *_TRAIN, "output_dir=runs/0")
    config = (folder / "runs/0/config.yaml").read_text()
    for number in range(1, 12):
        shutil.copytree(folder / "runs/0", folder / f"runs/{number}")
        text = config.replace("\nseed: 0\n", f"\nseed: {number}\n")
        (folder / f"runs/{number}/config.yaml").write_text(text)


def _jobs(folder: Path) -> None:
    """Train a sweep's jobs, which the command then keeps."""
    _finished(folder, *_SWEEP)
    shutil.rmtree(folder / "sweep/experiment")
    for path in (folder / "sweep").glob("*.*"):
        path.unlink()


_SWEEP = ("fer.train", "-m", *_TRAIN, "optimizer.lr=1e-3,1e-2", "optimizer=sgd,adamw", "hydra.sweep.dir=sweep")
CASES = (
    Case(
        "decoded images", _images,
        ("fer.audit", "data=folder", "data.root=../faces", "copies=exact", "suspect_labels=false", "framing=false",
         "output_dir=audit"),
        "/cache/", ("cache/*/*.*", "audit/copies.csv", "audit/exclude.csv"),
    ),
    Case(
        "a checkpoint", Path.exists,
        ("fer.train", *_TRAIN, "model=small_cnn", "trainer.max_epochs=4", "output_dir=run"),
        "run/checkpoints/", ("run/checkpoints/*.ckpt", "run/history.csv", "run/predictions.csv"), ("resume=run",),
    ),
    Case(
        "a report", _runs, ("fer.report", "runs=runs", "output_dir=report"), r"report/\.?report\.", ("report/report.*",)
    ),
    Case(
        "a sweep's table and pictures", _jobs, _SWEEP, r"sweep/(experiment/)?[^/]+\.(csv|png|yaml)(\.part)?$",
        ("sweep/sweep.csv", "sweep/*.png", "sweep/experiment/*"),
    ),
)  # fmt: skip


def measure(console: Console, kills: int = 10) -> None:
    """Print, of each command, how many kills there were and after how many it ended as if there had been none."""
    table = Table(title=f"commands killed {kills} times while they write, and given again")
    for column in ("written", "kills", "of them amid a file", "all files whole", "equal afterwards"):
        table.add_column(column, justify="left" if column == "written" else "right")
    chance = random.Random(0)
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            told = _tried(Path(folder), case, kills, chance)
        table.add_row(case.what, *told)
        console.print(f"{case.what}: {' '.join(told)}")
    console.print(table)


def _tried(where: Path, case: Case, kills: int, chance: random.Random) -> list[str]:
    """Kill a command so many times, each time from the beginning; return what the table's columns say."""
    ready, work = where / "ready", where / "work"
    ready.mkdir()
    case.prepare(ready)
    shutil.copytree(ready, work)
    events = _finished(work, *case.command, watched=case.watched)
    begun = [n for n, (_, kind) in enumerate(events) if kind == "w"]
    whole = _results(work, case.results)
    if not begun or not whole:
        sys.exit(f"{case.what}: {case.command} wrote {sorted(whole)}, and told of {len(events)} events")
    done = amid = 0
    halves: list[list[str]] = []
    others: list[list[str]] = []
    while done < kills:
        shutil.rmtree(work)
        shutil.copytree(ready, work)
        number = chance.choice(begun)
        # On all scales: a small file is there within a thousandth of the time until the next one.
        delay = (events[number + 1][0] - events[number][0]) * 10 ** chance.uniform(-4, 0)
        if not _killed(work, case, number, delay):
            continue  # it was through before
        done += 1
        amid += bool(_leftovers(work))
        halves.append(_half(work, case, whole))
        started = (work / "run/config.yaml").exists()
        _finished(work, case.command[0], *(case.again if case.again and started else case.command[1:]))
        after = _results(work, case.results)
        unequal = [name for name in whole.keys() | after.keys() if whole.get(name) != after.get(name)]
        others.append(unequal + _leftovers(work))
    return [f"{done}", f"{amid}", _count(halves), _count(others)]


def _count(wrong: list[list[str]]) -> str:
    """Say after how many kills nothing was wrong, and what was after the others."""
    names = ", ".join(sorted({name for one in wrong for name in one}))
    return f"{sum(not one for one in wrong)} of {len(wrong)}" + (f": not {names}" if names else "")


def _started(work: Path, watched: str, *command: str) -> "tuple[subprocess.Popen[str], socket.socket]":
    """Start a command; return it, and a socket that says ``w`` or ``r`` of each event and waits for an answer."""
    ours, theirs = socket.socketpair()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FER_CACHE": str(work / "cache")}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _TOLD, watched, f"{theirs.fileno()}", *command],
            cwd=work, env=environment, pass_fds=[theirs.fileno()], start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    return process, ours


def _finished(work: Path, *command: str, watched: str = "(?!)") -> list[tuple[float, str]]:
    """Let a command come to its end; return when each event was, and which, and at last the end."""
    process, told = _started(work, watched, *command)
    events = []
    with told:
        while one := told.recv(1):
            events.append((time.monotonic(), one.decode()))
            told.send(one)
    events.append((time.monotonic(), "end"))
    _, said = process.communicate()
    if process.returncode or "damaged" in said:
        sys.exit(f"{' '.join(command)} failed:\n{said[-3000:]}")
    return events


def _killed(work: Path, case: Case, number: int, delay: float) -> bool:
    """Start a command and kill it, some seconds after an event; say whether it was still there."""
    process, told = _started(work, case.watched, *case.command)
    with told, suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(number + 1):
            told.send(told.recv(1))
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def _results(work: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return what a command left: the content of files, of checkpoints what stands for all weights."""
    paths = sorted(path for name in names for path in work.glob(name) if path.is_file())
    visible = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(work).parts)]
    return {
        str(path.relative_to(work)): _weights(path) if path.suffix == ".ckpt" else path.read_bytes() for path in visible
    }


def _weights(path: Path) -> bytes:
    digest = hashlib.sha256()
    for name, value in torch.load(path, weights_only=True)["state_dict"].items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.digest()


def _half(work: Path, case: Case, whole: dict[str, bytes]) -> list[str]:
    """Return which files stand there under their own names and are not whole."""
    if case.again:  # they change from epoch to epoch: a whole one can be read
        for path in work.glob(case.results[0]):
            try:
                _weights(path)
            except Exception:
                return [path.name]
        return []
    return [name for name, content in _results(work, case.results).items() if content != whole.get(name)]


def _leftovers(work: Path) -> list[str]:
    """Return what is half-written, or was when its process was killed."""
    hidden = [path for path in work.rglob(".*") if path.name != ".hydra"]
    return [str(path.relative_to(work)) for path in hidden if path.name[-5:] == ".part" or path.parent.name == "cache"]
