"""Tar shards: packed by fer.pack, and as others write them."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from fakes import face
from PIL import Image

from fer.data.base import FERDataModule
from fer.data.samples import Samples
from fer.datasets.shards import Shards
from fer.packing import writing


def shards(root: Path, **options: object) -> Shards:
    return Shards(str(root), **{"cache_dir": str(root.parent / "cache"), **options})  # type: ignore[arg-type]


def pack(datamodule: FERDataModule, to: Path, shard_mb: float = 0.002) -> Path:
    datamodule.as_files = True
    datamodule.use_own_splits()
    own = (datamodule.name, datamodule.fit, datamodule.draw_targets, datamodule.image_size, datamodule.channels)
    writing.pack(datamodule.samples, to, shard_mb, *own)
    return to


def same(one: Samples, two: Samples) -> None:
    np.testing.assert_array_equal(one.images, two.images)
    for name in ("ids", "labels", "splits", "subjects", "targets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert one.classes == two.classes
    assert one.attributes.keys() == two.attributes.keys()
    for name, values in one.attributes.items():
        np.testing.assert_array_equal(values, two.attributes[name])


def png(label: int = 0, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(face(label, np.random.default_rng(seed))).save(file, "PNG")
    return file.getvalue()


def labelled(ending: str = "cls", labels: tuple[str, ...] = ("happy", "sad", "Happiness", "sad")) -> dict[str, bytes]:
    members = {}
    for number, label in enumerate(labels):
        said = json.dumps({"label": label}) if ending == "json" else f"{label}\n"
        members |= {f"{number:03}.png": png(number, number), f"{number:03}.{ending}": said.encode()}
    return members


def plain(root: Path, tars: Mapping[str, Mapping[str, bytes]]) -> Path:
    for name, members in tars.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(root / name, "w") as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return root
