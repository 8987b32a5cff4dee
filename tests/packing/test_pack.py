"""fer.pack: what stands in the shards, packing that was killed, and what is refused."""

import hashlib
import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fakes import write_image_folder
from fakes_ferplus import make as make_ferplus
from fakes_ferplus import write as write_ferplus
from fakes_lab import write_jaffe
from fakes_web import write_expw
from PIL import Image

from fer.data.base import FERDataModule
from fer.datasets.expw import ExpW
from fer.datasets.folder import Folder
from fer.datasets.jaffe import JAFFE
from fer.datasets.synthetic import Synthetic
from fer.files.shards import Index, read_index
from fer.packing import writing


def packed(datamodule: FERDataModule, to: Path, shard_mb: float = 256) -> tuple[Index, int]:
    datamodule.as_files = True
    datamodule.use_own_splits()
    return writing.pack(datamodule.samples, to, shard_mb, datamodule.name, datamodule.fit, datamodule.draw_targets)


def samples_in(folder: Path) -> dict[str, dict[str, object]]:
    """Return what the tar files alone say of each id, as another program reads them."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        for name in [name for name in members if name.endswith(".json")]:
            key = name.removesuffix(".json")
            (image,) = (member for member in members if member.startswith(f"{key}.") and member[len(key) :] not in
                        (".json", ".cls"))  # fmt: skip
            said = json.loads(members[name])
            found[said["id"]] = {
                **said, "split": path.name.partition("-")[0], "image": image, "content": members[image],
                "cls": int(members[f"{key}.cls"]),
            }  # fmt: skip
    return found


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_image_files_are_packed_as_they_are(tmp_path, run_here, capsys):
    write_image_folder(tmp_path / "data")
    (tmp_path / "data/train/happy").mkdir(exist_ok=True)
    odd = tmp_path / "data/train/happy/a.b c.JPE"  # a size, an ending and a name unlike the others'
    Image.fromarray(np.arange(60 * 40, dtype=np.uint8).reshape(60, 40)).save(odd, "JPEG")
    run_here("fer.pack", "data=folder", "data.root=data", "to=shards", "shard_mb=0.002", name=None)
    said = capsys.readouterr().out
    index = read_index((tmp_path / "shards/shards.json").read_bytes(), "")
    found = samples_in(tmp_path / "shards")
    files = {path.relative_to(tmp_path / "data").as_posix(): path for path in (tmp_path / "data").rglob("*.*")}
    assert found.keys() == files.keys()
    for id_, sample in found.items():
        split, label, _ = id_.split("/")
        assert sample["content"] == files[id_].read_bytes()
        assert (sample["split"], sample["label"], index.classes[sample["cls"]]) == (split, label, label)
    assert found["train/happy/a.b c.JPE"]["image"].endswith(".jpg")
    assert "train on them: python -m fer.train data=shards data.root=shards" in said
    assert re.search(rf"all +64 +{len(index.shards)} ", said)

    assert len(index.shards) > 3
    for shard in index.shards:
        path = tmp_path / "shards" / shard.file
        assert (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) == (shard.bytes, shard.sha256)
        listed = json.loads((tmp_path / "shards" / shard.index).read_text())["samples"]
        assert len(listed) == shard.samples
        assert sum(sample["size"] for sample in listed[:-1]) <= 2_000
        for sample in listed:
            place = slice(sample["offset"], sample["offset"] + sample["size"])
            assert path.read_bytes()[place] == found[sample["id"]]["content"]
    keys = [sample["image"] for _, sample in sorted(found.items())]
    assert keys == sorted(keys)  # by the dataset's order


def test_carved_splits_of_several_datasets_are_told_of(tmp_path, run_here, capsys):
    write_image_folder(tmp_path / "data", splits=("train", "test"), per_class=4)
    options = ["data=combined", "data.datasets=[folder,synthetic]", "+data.options.folder.root=data", "data.channels=1"]
    options += ["+data.options.synthetic.num_samples=80", "data.split_seed=3"]
    run_here("fer.pack", *options, "to=shards", name=None)
    said = " ".join("".join(capsys.readouterr()).split())
    assert "carved when it was packed (val of folder), with data.split_seed=3" in said
    run_here("fer.pack", "data=folder", "data.root=data", "to=alone", name=None)
    assert "carved when it was packed" not in "".join(capsys.readouterr())


def test_pixels_become_png(tmp_path):
    datamodule = Synthetic(num_samples=60, cache_dir=str(tmp_path / "cache"))
    index, _ = packed(datamodule, tmp_path / "shards")
    samples, found = datamodule.samples, samples_in(tmp_path / "shards")
    for row, id_ in enumerate(samples.ids):
        assert found[id_]["image"] == f"{row:09d}.png"
        np.testing.assert_array_equal(pixels(found[id_]["content"]), samples.images[row])
        assert found[id_]["cls"] == samples.labels[row]
        assert found[id_]["split"] == samples.splits[row]
    assert index.classes == samples.classes


def test_faces_in_a_picture_become_png_and_keep_its_subject(tmp_path):
    faces = write_expw(tmp_path / "expw")
    index, _ = packed(ExpW(str(tmp_path / "expw"), min_confidence=0, fit="stretch"), tmp_path / "shards")
    found = samples_in(tmp_path / "shards")
    assert found.keys() == faces.keys()
    for id_, (emotion, _, face) in faces.items():
        np.testing.assert_allclose(pixels(found[id_]["content"]).astype(int), face.astype(int), atol=12)
        assert (found[id_]["label"], found[id_]["subject"]) == (emotion, id_.partition("#")[0])
    assert index.fit == "stretch"


def test_votes_are_packed_and_samples_without_a_label_are_not(tmp_path):
    write_ferplus(tmp_path / "ferplus")
    datamodule = make_ferplus(tmp_path / "ferplus", mode="probability")
    index, _ = packed(datamodule, tmp_path / "shards")
    samples, found = datamodule.samples, samples_in(tmp_path / "shards")
    assert index.draw_targets
    assert set(found) == set(samples.ids[samples.splits != ""]) < set(samples.ids)
    for row in np.flatnonzero(samples.splits != ""):
        target = found[samples.ids[row]]["target"]
        assert [np.float32(target.get(name, 0)) for name in samples.classes] == samples.targets[row].tolist()


def test_a_killed_packing_goes_on(tmp_path, monkeypatch):
    write_image_folder(tmp_path / "data")

    def datamodule() -> Folder:
        return Folder(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))

    whole, _ = packed(datamodule(), tmp_path / "whole", 0.002)

    class Killed(BaseException):
        pass

    encode, asked = writing.encoded, []

    def killed(*args):
        for number, item in enumerate(encode(*args)):
            if number == 50:
                raise Killed
            yield item

    monkeypatch.setattr(writing, "encoded", killed)
    with pytest.raises(Killed):
        packed(datamodule(), tmp_path / "shards", 0.002)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.tar")}
    assert kept
    assert not (tmp_path / "shards/shards.json").exists()

    def counting(samples, rows, *args):
        asked.extend(rows)
        return encode(samples, rows, *args)

    monkeypatch.setattr(writing, "encoded", counting)
    index, before = packed(datamodule(), tmp_path / "shards", 0.002)
    assert index == whole
    assert 63 - len(asked) == before > 20
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "shards" / path.name).read_bytes() == path.read_bytes()
        assert path.name not in kept or (tmp_path / "shards" / path.name).stat().st_mtime_ns == kept[path.name]
    assert {path.name for path in (tmp_path / "shards").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}

    last = max(shard.file for shard in index.shards if shard.split == "train")
    for path in (tmp_path / "shards").glob(last.replace("tar", "*")):
        path.unlink()
    asked.clear()
    assert packed(datamodule(), tmp_path / "shards", 0.002)[0] == whole  # what was lost is packed again
    assert 0 < len(asked) < 63
    assert packed(datamodule(), tmp_path / "shards", 0.002) == (whole, 63)  # and nothing, where nothing is missing


@pytest.mark.parametrize("change", ["shard_mb", "an image", "a label", "another dataset"])
def test_a_folder_of_other_shards_is_refused(tmp_path, run_here, capsys, change):
    write_image_folder(tmp_path / "data", per_class=1)
    run_here("fer.pack", "data=folder", "data.root=data", "to=shards", name=None)
    options = ["data=folder", "data.root=data"]
    if change == "shard_mb":
        options.append("shard_mb=1")
    elif change == "an image":
        Image.new("L", (48, 48)).save(tmp_path / "data/val/sad/0.png")
    elif change == "a label":
        options.append("data.label_map={sad: fear}")
    else:
        options = ["data=synthetic", "data.num_samples=40"]
    with pytest.raises(SystemExit) as stop:
        run_here("fer.pack", *options, "to=shards", name=None)
    assert stop.value.code == 2
    assert "to=shards: holds shards of other data, of a changed dataset, or of another shard_mb" in (
        capsys.readouterr().err
    )


def test_all_broken_images_are_named_and_no_index_is_written(tmp_path, run_here, capsys):
    write_image_folder(tmp_path / "data")
    for broken in ("train/sad/1.png", "test/fear/0.png"):
        path = tmp_path / "data" / broken
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SystemExit):
        run_here("fer.pack", "data=folder", "data.root=data", "to=shards", name=None)
    said = capsys.readouterr().err
    assert "2 of 63 images in data cannot be used" in said
    assert "train/sad/1.png: cut off or damaged" in said
    assert "test/fear/0.png: cut off or damaged" in said
    assert not (tmp_path / "shards/shards.json").exists()

    (tmp_path / "out.csv").write_text("id\ntrain/sad/1.png\ntest/fear/0.png\n")
    run_here("fer.pack", "data=folder", "data.root=data", "data.exclude=out.csv", "to=rest", name=None)
    assert len(samples_in(tmp_path / "rest")) == 61


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "data: which dataset?"),
        (("data=folder", "data.root=data", "to=data/shards"), "to=data/shards: lies in the dataset's folder."),
        (("data=folder", "data.root=data", "to=other"), "to=other: is not empty, and holds no shards of fer.pack."),
        (("data=synthetic", "shard_mb=0"), "shard_mb=0: must be above 0"),
        (
            ("data=synthetic", "data.select_on_test=true"),
            "data.select_on_test: says how to train and not what",
        ),
        (("data=synthetic", "data.refine=data"), "data.refine: says how to train and not what to pack."),
        (("data=synthetic", "data.fold=0"), "data.fold: says how to train and not what to pack."),
    ],
)
def test_refused(tmp_path, run_here, capsys, options, said):
    write_image_folder(tmp_path / "data", per_class=1)
    shutil.copytree(tmp_path / "data", tmp_path / "other")
    to = () if any(option.startswith("to=") for option in options) else ("to=shards",)
    with pytest.raises(SystemExit) as stop:
        run_here("fer.pack", *options, *to, name=None)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_pictures_of_several_sizes_need_no_image_size(tmp_path):
    written = write_jaffe(tmp_path / "jaffe")
    first = tmp_path / "jaffe" / next(iter(written))
    Image.open(first).resize((40, 50)).save(first)
    packed(JAFFE(str(tmp_path / "jaffe"), cache_dir=str(tmp_path / "cache")), tmp_path / "shards")
    found = samples_in(tmp_path / "shards")
    assert {sample["subject"] for sample in found.values()} == {subject for subject, _ in written.values()}
    assert {Path(sample["image"]).suffix for sample in found.values()} == {".tiff"}
    assert not (tmp_path / "cache").exists()  # nothing was decoded into it
