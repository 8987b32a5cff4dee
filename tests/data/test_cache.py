"""The cache: exact, atomic, rebuilt when damaged, and clear when there is no space."""

import errno
import hashlib
import json
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer.data import cache, cache_lock
from fer.data.cache import cached, default_cache_dir
from fer.data.cache_lock import machine
from fer.data.samples import Samples
from fer.errors import DatasetError

KEY = {"files": "abc", "image_size": None}


def samples(count: int = 5, channels: int = 1, seed: int = 0) -> Samples:
    shape = (count, 6, 6) if channels == 1 else (count, 6, 6, 3)
    return Samples(
        images=np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8),
        labels=np.arange(count, dtype=np.int64) % 2,
        splits=np.array(["train", "val", "test"])[np.arange(count) % 3],
        ids=np.array([f"größe/{number}.png" for number in range(count)]),
        classes=("happy", "sad"),
        subjects=np.array(["S1", "S2", "S3"])[np.arange(count) % 3],
        targets=np.random.default_rng(seed).random((count, 2), dtype=np.float32),
        attributes={"gender": np.array(["f", "m"])[np.arange(count) % 2], "age": np.array(["4-19"] * count)},
    )


def never() -> Samples:
    raise AssertionError("the dataset was read although it is in the cache")


def assert_equal(found: Samples, expected: Samples) -> None:
    assert list(found.attributes) == list(expected.attributes)
    for attribute, values in expected.attributes.items():
        np.testing.assert_array_equal(found.attributes[attribute], values)
    for name in ("images", "labels", "splits", "ids", "subjects", "targets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert found.classes == expected.classes


def only_folder(cache_dir: Path) -> Path:
    (folder,) = cache_dir.iterdir()
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_second_opening_reads_the_same_from_disk(tmp_path: Path, channels: int) -> None:
    first = cached(tmp_path, "fake", KEY, lambda: samples(channels=channels))
    second = cached(tmp_path, "fake", KEY, never)
    for found in (first, second):
        assert_equal(found, samples(channels=channels))
        assert isinstance(found.images, np.memmap)
        assert not found.images.flags.writeable


def test_meta_is_readable(tmp_path: Path) -> None:
    cached(tmp_path, "fake", {**KEY, "root": Path("a/b")}, samples)
    assert only_folder(tmp_path).name.startswith("fake-")
    meta = json.loads((only_folder(tmp_path) / "meta.json").read_text())
    assert meta["count"] == 5
    assert meta["classes"] == ["happy", "sad"]
    assert meta["key"] == {"files": "abc", "image_size": None, "root": "a/b", "format": cache.FORMAT}


def test_another_key_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(tmp_path, "fake", KEY, samples)
    found = cached(tmp_path, "fake", {**KEY, "image_size": 6}, lambda: samples(seed=1))
    assert_equal(found, samples(seed=1))
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    cached(tmp_path, "fake", KEY, samples)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 2500])
def test_a_list_in_a_key_is_hashed_in_pieces_as_if_whole(count: int) -> None:
    items = [(f"größe/{number}.png", "train", None, [("age", "4")], (0, 0, number, 9)) for number in range(count)]
    whole = json.dumps(items, sort_keys=True, default=str).encode()
    assert cache.hash_of_list(iter(items)) == hashlib.sha256(whole).hexdigest()


def test_a_view_is_stored_as_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = samples(channels=3)
    view = Samples(whole.images[..., 1], whole.labels, whole.splits, whole.ids, whole.classes)
    found = cached(tmp_path, "fake", KEY, lambda: view)
    np.testing.assert_array_equal(found.images, whole.images[..., 1])


def test_arrays_larger_than_a_block(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 2048, 2048), dtype=np.uint8)
    fake = samples(9)
    large = replace(fake, images=images)
    assert_equal(cached(tmp_path, "fake", KEY, lambda: large), large)


@pytest.mark.parametrize(
    "name",
    ["images.npy", "labels.npy", "splits.npy", "ids.npy", "meta.json", "subjects.npy", "attributes/age.npy"],
)
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "garbage"])
def test_damage_is_noticed_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str) -> None:
    cached(tmp_path, "fake", KEY, samples)
    file = only_folder(tmp_path) / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"truncated": content[:-7], "empty": b"", "garbage": b"\x93\xff{]" * 50}[damage])
    with caplog.at_level(logging.WARNING):
        assert_equal(cached(tmp_path, "fake", KEY, samples), samples())
    assert f"{only_folder(tmp_path)} is damaged" in caplog.text
    assert_equal(cached(tmp_path, "fake", KEY, never), samples())


def _shift_labels(folder: Path) -> None:
    np.save(folder / "labels.npy", np.roll(np.load(folder / "labels.npy"), 1))


def _other_type(folder: Path) -> None:
    np.save(folder / "images.npy", np.load(folder / "images.npy").astype(np.float32))


def _other_shape(folder: Path) -> None:
    np.save(folder / "images.npy", np.load(folder / "images.npy")[:, :5])


def _flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "images.npy").read_bytes())
    content[-3] ^= 1
    (folder / "images.npy").write_bytes(content)


def _reverse_classes(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta["classes"].reverse()
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize("change", [_shift_labels, _other_type, _other_shape, _flip_a_bit, _reverse_classes])
def test_a_cache_that_was_changed_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Path], None]
) -> None:
    cached(tmp_path, "fake", KEY, samples)
    change(only_folder(tmp_path))
    assert_equal(cached(tmp_path, "fake", KEY, samples), samples())
    assert "is damaged" in caplog.text
    assert_equal(cached(tmp_path, "fake", KEY, never), samples())


def test_of_a_large_file_some_blocks_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_BLOCK", 16)
    monkeypatch.setattr(cache, "_CHECKED", 3)
    cached(tmp_path, "fake", KEY, samples)
    assert_equal(cached(tmp_path, "fake", KEY, never), samples())
    with (only_folder(tmp_path) / "images.npy").open("r+b") as file:
        file.write(bytes(200))  # most of it
    seeds = iter(range(9))
    random = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda: random(next(seeds)))
    with pytest.raises(AssertionError, match="although it is in the cache"):
        cached(tmp_path, "fake", KEY, never)


def test_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    ids = np.array(["a.png", os.fsdecode(b"caf\xe9.png"), "größe.png"])
    odd = Samples(samples(3).images, samples(3).labels, samples(3).splits, ids, ("happy", "sad"))
    assert cached(tmp_path, "fake", KEY, lambda: odd).ids.tolist() == ["a.png", r"caf\xe9.png", "größe.png"]


def test_a_failed_read_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Samples:
        raise DatasetError("broken")

    with pytest.raises(DatasetError, match="broken"):
        cached(tmp_path / "cache", "fake", KEY, fail)
    assert not list((tmp_path / "cache").iterdir())


def _build_slowly(cache_dir: Path, built: Path, barrier: "multiprocessing.synchronize.Barrier") -> None:
    def build() -> Samples:
        (built / str(os.getpid())).touch()
        time.sleep(0.5)
        return samples()

    barrier.wait(timeout=60)
    assert_equal(cached(cache_dir, "fake", KEY, build), samples())


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    built, barrier = tmp_path / "built", context.Barrier(2)
    built.mkdir()
    arguments = (tmp_path / "cache", built, barrier)
    processes = [context.Process(target=_build_slowly, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list(built.iterdir())) == 1
    assert_equal(cached(tmp_path / "cache", "fake", KEY, never), samples())
    assert only_folder(tmp_path / "cache").name.startswith("fake-")


def _hold(folder: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with cache_lock.alone(folder):
        # What a library forks meanwhile, such as a pool's worker, may outlive it.
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(5,)).start()
        ready.set()
        time.sleep(60)


def test_a_stopped_holder_is_named_and_a_dead_one_keeps_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "fake", ready))
    holder.start()
    assert ready.wait(60)
    assert holder.pid
    os.kill(holder.pid, signal.SIGSTOP)
    monkeypatch.setattr(cache_lock, "_SAY_S", 0.3)
    monkeypatch.setattr(cache_lock, "_LOOK_S", 0.02)
    real, said = time.sleep, []

    def sleep(seconds: float) -> None:
        real(seconds)
        said[:] = [record.getMessage() for record in caplog.records]
        if len(said) == 3:
            os.kill(holder.pid, signal.SIGKILL)

    monkeypatch.setattr(cache_lock.time, "sleep", sleep)
    with caplog.at_level(logging.INFO), cache_lock.alone(tmp_path / "fake"):
        pass
    first, *more = said
    assert first.startswith(f"waiting for process {holder.pid} on {os.uname().nodename}, which reads the same images")
    assert len(more) == 2
    for line in more:
        assert "It is stopped. If it hangs: on" in line
        assert f"'kill -CONT {holder.pid}'" in line
        assert "data.cache_dir=<another folder>" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", ["", "[]", '{"process": 1}', '{"process": "x", "host": 1, "machine": 2, "since": 1e99}']
)
def test_a_lock_that_does_not_say_who_holds_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with (tmp_path / "lock").open() as file:
        assert cache_lock._holder(file.fileno()) is None


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(cache_lock.fcntl, "flock", no_locks)
    assert_equal(cached(tmp_path, "fake", KEY, samples), samples())
    assert f"{tmp_path}: this file system has no file locks (No locks available)." in caplog.text


def _write_for_ever(cache_dir: Path) -> None:
    cache._write = lambda path, array: path.write_bytes(b"half") and time.sleep(60)
    cached(cache_dir, "fake", KEY, samples)


def test_a_killed_build_is_not_taken_for_a_cache(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(tmp_path,))
    process.start()
    for _ in range(1000):
        if list(tmp_path.glob(".fake-*/images.npy")):
            break
        time.sleep(0.01)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert len(list(tmp_path.glob(".fake-*/images.npy"))) == 1
    living = tmp_path / f".fake-{'0' * 12}-{machine()}-{os.getpid()}-{'0' * 32}"
    elsewhere = tmp_path / f".fake-{'0' * 12}-{'f' * 8}-{process.pid}-{'0' * 32}"
    forgotten = tmp_path / f".fake-{'0' * 12}-{'f' * 8}-{process.pid}-{'1' * 32}"
    for folder in (living, elsewhere, forgotten, tmp_path / ".mine"):
        folder.mkdir()
    os.utime(forgotten, (0, 0))
    assert_equal(cached(tmp_path, "fake", KEY, samples), samples())
    assert set(tmp_path.glob(".*")) == {living, elsewhere, tmp_path / ".mine"}
    assert_equal(cached(tmp_path, "fake", KEY, never), samples())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(path: Path, array: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(cache, "_write", full)
    large = samples(200_000)
    with pytest.raises(DatasetError) as error:
        cached(tmp_path, "fake", KEY, lambda: large)
    message = str(error.value)
    assert str(tmp_path / "fake-") in message
    assert "no space left" in message
    arrays = [value for value in vars(large).values() if isinstance(value, np.ndarray)]
    megabytes = sum(array.nbytes for array in (*arrays, *large.attributes.values())) / 1e6
    assert f"{megabytes:.0f} MB are needed" in message
    assert "data.cache_dir=<other folder>" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_says_so() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as error:
        cache._write(Path("/dev/full"), np.zeros((4, 1024, 1024), np.uint8))
    assert error.value.errno == errno.ENOSPC


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"cannot write .*file.*data\.cache_dir="):
        cached(tmp_path / "file" / "cache", "fake", KEY, samples)


def test_default_cache_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("FER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache_dir() == Path("/home/someone/.cache/fer")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert default_cache_dir() == Path("/scratch/fer")
    monkeypatch.setenv("FER_CACHE", "~/faces")
    assert default_cache_dir() == Path("/home/someone/faces")
