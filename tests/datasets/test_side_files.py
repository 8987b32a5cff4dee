"""Files called ``._name``, which macOS leaves beside each file on disks of other systems."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import write_image_folder
from fakes_lab import write_ckplus
from fakes_shards import labelled, plain, same
from fakes_web import write_affectnet_npy

from fer.data.base import FERDataModule
from fer.datasets.affectnet import AffectNet
from fer.datasets.ckplus import CKPlus
from fer.datasets.folder import Folder
from fer.datasets.shards import Shards

FORMS: dict[str, tuple[Callable[[Path], object], Callable[..., FERDataModule]]] = {
    "ckplus": (write_ckplus, CKPlus),
    "affectnet": (write_affectnet_npy, AffectNet),
    "folder": (write_image_folder, Folder),
    "shards": (lambda root: plain(root, {"train-000000.tar": labelled()}), Shards),
}


@pytest.mark.parametrize("form", FORMS)
def test_they_are_passed_over(tmp_path: Path, form: str) -> None:
    write, read = FORMS[form]
    write(tmp_path / "data")
    before = read(str(tmp_path / "data"), image_size=24, cache_dir=str(tmp_path / "a")).read()
    for path in [path for path in (tmp_path / "data").rglob("*") if path.is_file()]:
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    same(read(str(tmp_path / "data"), image_size=24, cache_dir=str(tmp_path / "b")).read(), before)
