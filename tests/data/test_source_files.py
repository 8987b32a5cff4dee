"""Changed source files are noticed."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

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


@pytest.mark.parametrize("size", [5, 300_000])
def test_content_changed_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Size and time of the content are as before; where a file system has no time of the last change, it is read."""
    monkeypatch.setattr(source_files, "_SAMPLED_BYTES", 2**16)
    real = os.stat
    without = lambda path: SimpleNamespace(st_size=real(path).st_size, st_mtime_ns=0, st_ctime_ns=0)  # noqa: E731
    monkeypatch.setattr(source_files.os, "stat", without)
    (tmp_path / "a.bmp").write_bytes(bytes(size))
    first = fingerprint(["a.bmp"], tmp_path)
    (tmp_path / "a.bmp").write_bytes(bytes([1]) * size)
    assert first != fingerprint(["a.bmp"], tmp_path)
