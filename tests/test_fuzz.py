"""Damaged files of every kind end in a sentence: no traceback, nothing run, no hang, memory bounded.

A second or two for each kind of file here; ``FER_FUZZ_SECONDS=3600 make test ARGS=tests/test_fuzz.py`` is the long
run, and ``FER_FUZZ_SEED`` begins it elsewhere.
"""

import copy
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import torch
from conftest import TINY
from fakes_ferplus import write as write_ferplus
from fakes_model import DESCRIPTION
from fakes_shards import labelled, pack, plain, shards
from fakes_tree import read as read_folder

from fer.data.fingerprints import fingerprints
from fer.datasets.fer2013 import FER2013
from fer.datasets.ferplus import FERPlus
from fer.datasets.folder import Folder
from fer.errors import FERError
from fer.reporting import comparison, mcnemar
from fer.training.module import FERModule

SECONDS = float(os.environ.get("FER_FUZZ_SECONDS", "1.5"))
SEED = int(os.environ.get("FER_FUZZ_SEED", "0"))
LONGEST = 20  # seconds for one file, on a machine that does other things too
MOST_MEMORY = 1 << 30  # bytes more than before


class TooLong(BaseException):
    """No Exception, which the code that is tried might take for a fault of the file."""


_forbidden: list[str] = []
_watching = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect"):
        _forbidden.append(f"{event} {arguments!r:.200}")


sys.addaudithook(_audit)  # for good: a hook cannot be taken away


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Return a file's bytes with a few of them changed, left out, doubled, or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(changed) or 1)
        kind = rng.randrange(7)
        if kind == 0 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 64)]
        elif kind == 3:
            changed[at:at] = changed[at : at + rng.randrange(1, 256)]
        elif kind == 4:
            changed[at : at + 4] = rng.randbytes(4)
        elif kind == 5:
            changed[at:at] = rng.choice(
                (b"\0", b"\n", b'"', b",", b"nan", b"-1", b"1e999", b"\xff", b"[/x]", b"9" * 40)
            )
        else:
            changed[at : at + 64] = bytes(64)
    return bytes(changed)


def fuzz(use: Callable[[random.Random], Any]) -> int:
    """Use spoilt files until the time is up; returns how many were refused.

    Args:
        use: Spoils a file and reads it; may end in a :class:`FERError`, and in no other way.
    """
    global _watching
    before, end = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic() + SECONDS
    number = refused = said = 0
    while time.monotonic() < end:
        signal.alarm(LONGEST)
        _watching = True
        try:
            use(random.Random(f"{SEED} {number}"))
        except FERError as error:
            refused += bool(str(error).strip()) and "Traceback" not in str(error)
            said += 1
        except BaseException as error:
            raise AssertionError(f"seed {SEED}, file {number}: {type(error).__name__}: {error}") from error
        finally:
            _watching = False
            signal.alarm(0)
        number += 1
    assert not _forbidden
    assert refused == said
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY
    print(f"{number} files, {refused} refused")
    assert number > 1
    return refused


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise TooLong(f"longer than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, too_long)
    yield
    signal.signal(signal.SIGALRM, before)


ODD = (None, True, -1, 0, 2**63, 10**30, math.nan, math.inf, "", "x" * 5000, "${oc.env:HOME}", [], {}, [[1]], b"x", 1.5)


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of nested mappings and lists."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from nodes(inner, (*path, key))


def twist(content: Any, rng: random.Random) -> Any:
    """Return plain data with one value replaced, left out or added."""
    content = copy.deepcopy(content)
    *way, last = rng.choice(list(nodes(content)))
    parent = content
    for key in way:
        parent = parent[key]
    odd = (
        *ODD,
        torch.zeros(2, 3),
        torch.full((1,), math.nan),
        torch.zeros(0),
        copy.deepcopy(content.get("state_dict")),
    )
    kind = rng.randrange(4)
    if kind == 0:
        del parent[last]
    elif kind == 1 and isinstance(parent, dict):
        parent[rng.choice(("_target_", "_args_", "extra", 3))] = rng.choice(odd)
    else:
        parent[last] = rng.choice(odd)
    return content


def test_checkpoints(tmp_path: Path) -> None:
    module = FERModule(**DESCRIPTION)
    prints = torch.from_numpy(fingerprints(np.zeros((4, 48, 48), dtype=np.uint8)))
    seen = {"dataset": "folder", "selected_on_test": False, "train": prints, "val": prints}
    content = {
        "state_dict": dict(module.state_dict()), "hyper_parameters": json.loads(json.dumps(dict(module.hparams))),
        "seen_images": seen, "epoch": 1, "global_step": 10,
    }  # fmt: skip
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    whole = path.read_bytes()
    FERModule.load_from_checkpoint(path)

    def use(rng: random.Random) -> None:
        if rng.random() < 0.5:
            path.write_bytes(spoil(whole, rng))
        else:
            torch.save(twist(content, rng), path)
        FERModule.load_from_checkpoint(path)

    assert fuzz(use)


def test_csv_files(tmp_path: Path) -> None:
    write_ferplus(tmp_path)
    kept = {name: (tmp_path / name).read_bytes() for name in ("fer2013.csv", "fer2013new.csv")}

    def use(rng: random.Random) -> None:
        spoilt = rng.choice(list(kept))
        for name, data in kept.items():
            (tmp_path / name).write_bytes(spoil(data, rng) if name == spoilt else data)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        dataset = FERPlus if spoilt == "fer2013new.csv" else FER2013
        dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"), num_workers=0).read()

    assert fuzz(use)


def test_images(tmp_path: Path) -> None:
    fakes.write_image_folder(tmp_path / "data")
    images = sorted(path for path in (tmp_path / "data").rglob("*") if path.is_file())
    kept = {path: path.read_bytes() for path in images}

    def use(rng: random.Random) -> None:
        path = rng.choice(images)
        path.write_bytes(spoil(kept[path], rng))
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        try:
            read_folder(tmp_path / "data")
        finally:
            path.write_bytes(kept[path])

    assert fuzz(use)


def test_shards(tmp_path: Path) -> None:
    fakes.write_image_folder(tmp_path / "data", classes=["happy", "sad"])
    pack(Folder(str(tmp_path / "data")), tmp_path / "packed", shard_mb=1)
    plain(tmp_path / "others", {"train-0.tar": labelled(), "val-0.tar": labelled("json")})
    files = sorted(path for folder in ("packed", "others") for path in (tmp_path / folder).iterdir())
    kept = {path: path.read_bytes() for path in files}

    def use(rng: random.Random) -> None:
        path = rng.choice(files)
        if path.suffix == ".json" and rng.random() < 0.5:
            path.write_text(json.dumps(twist(json.loads(kept[path]), rng), default=repr))
        else:
            path.write_bytes(spoil(kept[path], rng))
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        try:
            shards(path.parent).read()
        finally:
            path.write_bytes(kept[path])

    assert fuzz(use)


def test_run_folders(train_here: Callable[..., Path], tmp_path: Path) -> None:
    run = train_here(*TINY, "trainer.max_epochs=1", name="runs/a")
    shutil.copytree(run, tmp_path / "runs/b")
    kept = {
        path: path.read_bytes()
        for path in run.iterdir()
        if path.is_file() and path.suffix in (".csv", ".json", ".yaml", ".jsonl")
    }
    assert len(kept) >= 5

    def use(rng: random.Random) -> None:
        path = rng.choice(list(kept))
        data = kept[path]
        if path.suffix == ".json" and rng.random() < 0.5:
            path.write_text(json.dumps(twist(json.loads(data), rng), default=str))
        else:
            path.write_bytes(spoil(data, rng))
        try:
            found = comparison.find([str(tmp_path / "runs")], "accuracy")
            if len(found.runs) == 2:
                mcnemar.compare(found)
        finally:
            path.write_bytes(data)

    fuzz(use)  # a run that cannot be read is left out and named: nothing is refused as long as another is there
