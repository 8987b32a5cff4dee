"""Changed source files are noticed."""

import hashlib
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import write_image_folder
from fakes_tree import read

from fer.data import source_files
from fer.data.source_files import fingerprint


def test_fingerprint(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        for name in ("a.png", "sub/b.png"):
            (tmp_path / folder / name).write_bytes(name.encode())
            os.utime(tmp_path / folder / name, ns=(10**18, 10**18))
    one = tmp_path / "one"
    first = fingerprint(["a.png", "sub/b.png"], one)
    assert first == fingerprint(["sub/b.png", "a.png"], one)
    assert first == fingerprint([one / "a.png", one / "sub/b.png"], one)
    assert first != fingerprint(["a.png", "sub/b.png"], tmp_path / "two")  # another folder
    (tmp_path / "link").symlink_to(one)
    assert first == fingerprint(["a.png", "sub/b.png"], tmp_path / "link")
    assert first != fingerprint(["a.png"], one)
    os.utime(one / "a.png", ns=(10**18, 10**18 + 1))
    assert first != fingerprint(["a.png", "sub/b.png"], one)


def test_in_blocks_it_is_the_hash_of_all_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}.png" for number in (3, 1, 20, 2, 0)] + [os.fsdecode(b"caf\xe9.png")]
    for name in names:
        (tmp_path / name).write_text(name, errors="surrogateescape")
    digest = hashlib.sha256(os.fsencode(os.path.realpath(tmp_path)))
    for name in sorted(names):
        found = (tmp_path / name).stat()
        line = f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}\n"
        digest.update(os.fsencode(line))
    for name in sorted(names):
        digest.update((tmp_path / name).read_bytes())
    monkeypatch.setattr(source_files, "_BLOCK", 4)
    assert fingerprint(names, tmp_path) == digest.hexdigest()


def test_what_is_no_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    for name in ("a.png", "b.png"):
        with pytest.raises(OSError, match=name):
            fingerprint([name], tmp_path)


def test_a_cached_dataset_s_files_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_image_folder(tmp_path / "data", per_class=2)
    read(tmp_path / "data")
    real, seen = os.stat, Counter[str]()

    def counted(path: str, **options: bool) -> os.stat_result:
        seen[str(path)] += 1
        return real(path, **options)

    monkeypatch.setattr(source_files.os, "stat", counted)
    read(tmp_path / "data")
    assert {seen[str(tmp_path / "data" / name)] for name in written} == {1}


@pytest.mark.parametrize("size", [5, 300_000])
def test_content_changed_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Size and time of the content are as before; where a file system has no time of the last change, it is read."""
    monkeypatch.setattr(source_files, "_SAMPLED_BYTES", 2**16)
    real = os.stat

    def without(path: str) -> SimpleNamespace:
        found = real(path)
        return SimpleNamespace(st_mode=found.st_mode, st_size=found.st_size, st_mtime_ns=0, st_ctime_ns=0)

    monkeypatch.setattr(source_files.os, "stat", without)
    (tmp_path / "a.bmp").write_bytes(bytes(size))
    first = fingerprint(["a.bmp"], tmp_path)
    (tmp_path / "a.bmp").write_bytes(bytes([1]) * size)
    assert first != fingerprint(["a.bmp"], tmp_path)
