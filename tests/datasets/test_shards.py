"""data=shards: what fer.pack packed trains as the dataset itself, others' shards are read, and damage is named."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from fakes import face, write_image_folder
from fakes_ferplus import make as make_ferplus
from fakes_ferplus import write as write_ferplus
from fakes_lab import write_kdef
from fakes_shards import labelled, pack, plain, png, same, shards
from fakes_web import write_expw, write_rafdb
from PIL import Image

from fer.data.samples import Samples
from fer.datasets import shards_plain
from fer.datasets.expw import ExpW
from fer.datasets.fer2013 import FER2013
from fer.datasets.folder import Folder
from fer.datasets.kdef import KDEF
from fer.datasets.rafdb import RAFDB
from fer.datasets.synthetic import Synthetic
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError
from fer.files.checksum import sha256


def test_a_run_on_shards_is_the_run_on_the_folder(tmp_path, train_here, run_here):
    """Bit for bit: weights, scores, and what the test knows of images that were trained on."""
    write_image_folder(tmp_path / "data", splits=("train", "test"), per_class=8)  # val is carved
    run_here("fer.pack", "data=folder", "data.root=data", "to=packed", "shard_mb=0.002", name=None)
    options = [
        option for option in TINY if not option.startswith(("data.num_samples", "data.num_workers", "trainer.max"))
    ]
    options += ["trainer.max_epochs=1", "data.batch_size=8"]
    runs = {
        workers: train_here(
            f"data={data}", f"data.root={root}", *options, f"data.num_workers={workers}", name=f"{data}{workers}"
        )
        for data, root, workers in (("folder", "data", 0), ("shards", "packed", 2))
    }
    one, two = (torch.load(run / "checkpoints/last.ckpt", weights_only=False)["state_dict"] for run in runs.values())
    assert all(torch.equal(one[key], two[key]) for key in one)
    scores = []
    for data, root in (("folder", "data"), ("shards", "packed")):
        where = f"test_{data}"
        run_here(
            "fer.test", f"ckpt={runs[0]}", f"data={data}", f"data.root={root}", f"output_dir={where}", "resamples=50",
            "name=same", name=None,
        )  # fmt: skip
        scores.append(json.loads((tmp_path / where / "metrics.json").read_text()))
        assert scores[-1]["dataset"].pop("root") == str(tmp_path / root)
        assert (tmp_path / where / "predictions.csv").read_text() == (
            tmp_path / "test_folder/predictions.csv"
        ).read_text()
    assert scores[0]["test"]["n"] == 56
    assert scores[0]["seen"]["known"]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("what", ["folder", "fer2013", "synthetic", "rafdb", "kdef", "expw", "ferplus"])
def test_every_form_comes_back_as_it_was(tmp_path, what):
    cache, source = {"cache_dir": str(tmp_path / "cache")}, tmp_path / "source"
    make = {
        "folder": lambda: (write_image_folder(source), Folder(str(source), **cache)),
        "fer2013": lambda: (write_image_folder(source, splits=("train", "test")), FER2013(str(source), **cache)),
        "synthetic": lambda: (None, Synthetic(num_samples=60, **cache)),
        "rafdb": lambda: (write_rafdb(source), RAFDB(str(source), aligned=False, image_size=40, **cache)),
        "kdef": lambda: (write_kdef(source), KDEF(str(source), image_size=32, channels=1, **cache)),
        "expw": lambda: (
            write_expw(source),
            ExpW(str(source), min_confidence=0, image_size=24, fit="stretch", **cache),
        ),
        "ferplus": lambda: (write_ferplus(source), make_ferplus(source, tmp_path / "cache", mode="crossentropy")),
    }
    _, original = make[what]()
    original.use_own_splits()
    kept = np.flatnonzero(original.samples.splits != "")
    pack(make[what]()[1], tmp_path / "packed")
    for _ in range(2):  # decoded, then from the cache
        back = shards(tmp_path / "packed")
        back.use_own_splits()
        one = original.samples
        same(
            back.samples,
            Samples(
                one.images[kept], one.labels[kept], one.splits[kept], one.ids[kept], one.classes,
                None if one.subjects is None else one.subjects[kept],
                None if one.targets is None else one.targets[kept],
                {name: values[kept] for name, values in one.attributes.items()},
            ),
        )  # fmt: skip
    assert (back.name, back.fit, back.draw_targets) == (original.name, original.fit, original.draw_targets)
    again = pack(shards(tmp_path / "packed"), tmp_path / "again")  # shards can be packed too
    same(shards(again).read(), back.samples)
    assert (back.image_size, back.channels) == (original.image_size, original.channels)
    assert shards(again, image_size=16).read().images.shape[1:3] == (16, 16), "what the user says counts"


def test_16_bit_colours_are_read_in_the_shard_as_in_the_file(tmp_path):
    import cv2

    write_image_folder(tmp_path / "data", classes=["happy", "sad"])
    wide = np.random.default_rng(0).integers(0, 2**12, (48, 48, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "data/train/sad/wide.png"), wide)
    original = Folder(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    expected = original.read()
    same(shards(pack(Folder(str(tmp_path / "data")), tmp_path / "packed")).read(), expected)


def test_faces_in_pictures_of_16_bits_are_as_bright_as_in_the_picture(tmp_path):
    write_expw(tmp_path / "expw")
    picture = min((tmp_path / "expw/data/image/origin").iterdir())
    grey = np.asarray(Image.open(picture).convert("L")).astype(np.uint16) << 4  # as a camera of 12 bits
    Image.fromarray(grey).save(picture, "PNG")
    options = {"cache_dir": str(tmp_path / "cache"), "image_size": 24, "min_confidence": 0}
    expected = ExpW(str(tmp_path / "expw"), **options).read()
    same(shards(pack(ExpW(str(tmp_path / "expw"), **options), tmp_path / "packed"), image_size=24).read(), expected)


def test_excluded_images_may_be_broken(tmp_path):
    root = plain(tmp_path / "others", {"train-0.tar": {**labelled(), "bad.png": b"no image", "bad.cls": b"sad"}})
    with pytest.raises(
        DatasetError, match=r"1 of 5 images in .*others cannot be used:\n.*train-0.tar/bad.png: not an im"
    ):
        shards(root).read()
    (tmp_path / "out.csv").write_text("id\ntrain/bad\n")
    rest = shards(root, exclude=str(tmp_path / "out.csv"))
    rest.use_own_splits()
    assert dict(zip(rest.samples.ids, rest.samples.splits, strict=True))["train/bad"] == ""
    np.testing.assert_array_equal(rest.samples.images[0], face(0, np.random.default_rng(0)))


# Shards that others wrote.


@pytest.mark.parametrize("ending", ["cls", "txt", "json"])
def test_shards_of_others(tmp_path, ending):
    root = plain(
        tmp_path / "others",
        {
            "train-000000.tar": labelled(ending),
            "train-000001.tar": {f"sub.dir/b.{name}": content for name, content in
                                 {"seg.txt": b"-", "jpeg": png(5), ending: labelled(ending)[f"000.{ending}"]}.items()},
            "validation_0.tar": {f"./{name}": content for name, content in labelled(ending).items()},
            "test/7.tar": {"._000.png": b"of a Macintosh", **labelled(ending)},
        },
    )  # fmt: skip
    samples = shards(root).read()
    assert samples.classes == ("happy", "sad")
    splits = dict(zip(samples.ids.tolist(), samples.splits.tolist(), strict=True))
    assert list(splits)[:6] == ["train/000", "train/001", "train/002", "train/003", "train/sub.dir/b", "val/000"]
    assert all(id_.partition("/")[0] == split for id_, split in splits.items())
    assert len(splits) == 13
    assert samples.labels[:5].tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(samples.images[3], face(3, np.random.default_rng(3)))


def test_labels_of_others_that_are_numbers_need_a_meaning(tmp_path):
    root = plain(tmp_path / "others", {"a.tar": labelled(labels=("0", "1", "2", "1"))})
    with pytest.raises(LabelError, match=r"labels in .*others: class '0' is a number"):
        shards(root).read()
    samples = shards(root, label_map={0: "sad", 1: "happy", 2: None}).read()
    assert [samples.classes[label] for label in samples.labels] == ["sad", "happy", "happy"]
    assert samples.splits.tolist() == ["train"] * 3
    own = plain(tmp_path / "own", {"a.tar": labelled(labels=("bored", "pain", "pain", "bored"))})
    with pytest.raises(LabelError, match="unknown emotion 'bored'"):
        shards(own).read()
    assert shards(own, own_classes=True).read().classes == ("bored", "pain")


def test_packed_shards_without_their_index_are_read_as_others(tmp_path):
    write_rafdb(tmp_path / "rafdb")
    packed = pack(RAFDB(str(tmp_path / "rafdb")), tmp_path / "packed")
    expected = shards(packed).read()
    for path in packed.glob("*.json"):
        path.unlink()
    found = shards(packed).read()
    assert set(found.ids) == set(expected.ids)
    order = [found.ids.tolist().index(id_) for id_ in expected.ids]
    np.testing.assert_array_equal(found.images[order], expected.images)
    np.testing.assert_array_equal(found.subjects is None, expected.subjects is None)
    np.testing.assert_array_equal(found.attributes["gender"][order], expected.attributes["gender"])


def test_the_lists_say_what_the_tar_files_hold(tmp_path):
    write_ferplus(tmp_path / "ferplus")
    packed = pack(make_ferplus(tmp_path / "ferplus", mode="crossentropy"), tmp_path / "packed")
    for path in packed.glob("*.tar"):
        listed = json.loads(path.with_suffix(".json").read_text())["samples"]
        assert [json.loads(json.dumps(vars(sample))) for sample in shards_plain._samples(path, "")] == listed


def described(*said: dict[str, object]) -> dict[str, bytes]:
    """Return the members of a shard, each sample's json as given."""
    members = {}
    for number, one in enumerate(said):
        members |= {f"{number:03}.png": png(number, number), f"{number:03}.json": json.dumps(one).encode()}
    return members


def test_subjects_and_ids_of_others_may_be_numbers_from_0(tmp_path):
    said = [{"label": "happy", "subject": number // 2, "id": number} for number in range(4)]
    samples = shards(plain(tmp_path / "others", {"train-0.tar": described(*said)})).read()
    assert samples.subjects is not None
    assert samples.subjects.tolist() == ["0", "0", "1", "1"]
    assert samples.ids.tolist() == ["0", "1", "2", "3"]


def test_subjects_that_not_all_samples_have_are_told_of(tmp_path, caplog):
    said = [{"label": "happy", "subject": "a"}, {"label": "sad", "subject": ""}, {"label": "sad"}]
    assert shards(plain(tmp_path / "some", {"train-0.tar": described(*said)})).read().subjects is None
    warned = "the shards do not say who is in 2 of 3 images (such as train-0.tar/001.png): persons may stand in two"
    assert warned in caplog.text
    caplog.clear()
    assert shards(plain(tmp_path / "none", {"train-0.tar": labelled()})).read().subjects is None
    assert "who is in" not in caplog.text


def test_votes_of_others_are_read_by_the_names_of_the_labels(tmp_path):
    said = [
        {"label": "Happiness", "target": {"Happiness": 6, "joy": 1, "Sadness": 3}},
        {"label": "Sadness", "target": {"Sadness": 0.5, "Happiness": 0.5, "bored": 1}},
        {"label": "Sadness"},
    ]
    root = plain(tmp_path / "others", {"train-0.tar": described(*said)})
    with pytest.raises(LabelError, match="unknown emotion 'bored'"):
        shards(root).read()
    samples = shards(root, label_map={"bored": None}).read()
    assert samples.classes == ("happy", "sad")
    np.testing.assert_allclose(samples.targets, [[0.7, 0.3], [0.5, 0.5], [0, 1]], rtol=1e-6)


def test_votes_for_no_class_are_named(tmp_path):
    said = [
        {"label": "happy", "target": {"happy": 0, "sad": 0}},
        {"label": "sad", "target": {"sad": 1}},
        {"label": "sad", "target": {"fear": 3}},  # which no sample is labelled as
        {"label": "sad", "target": {"sad": 3, "happy": -1}},
        {"label": "sad", "target": {"sad": float("nan"), "happy": 1}},  # which Python's json writes and reads
        {"label": "sad", "target": {"sad": float("inf")}},
    ]
    said = refusal(plain(tmp_path / "others", {"train-0.tar": described(*said)}))
    assert "5 of 6 images have a target without a vote for any class, or with one that is below 0 or no finite" in said
    assert "train-0.tar/000.png\n    train-0.tar/002.png\n    train-0.tar/003.png\n    train-0.tar/004.png\n" in said


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("faces-train-000000.tar", "train"), ("rafdb_validation_3.tar", "val"), ("fer2013.test.tar", "test"),
        ("2024-PrivateTest-0.tar", "test"), ("train-test-0.tar", "train"), ("a-train-test-0.tar", ""),
        ("training0.tar", "train"), ("faces-pretrain-0.tar", ""), ("latest-0.tar", ""), ("a.tar", ""),
    ],
)  # fmt: skip
def test_a_word_in_a_shards_name_names_its_split(name, split):
    assert shards_plain._split_of(name) == split


def test_shards_named_after_a_dataset_and_a_split(tmp_path):
    root = plain(tmp_path / "others", {f"faces-{split}-000000.tar": labelled() for split in ("train", "val", "test")})
    assert shards(root).read().splits.tolist() == ["test"] * 4 + ["train"] * 4 + ["val"] * 4


# What is wrong with shards.


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"])
    return pack(Folder(str(tmp_path / "data")), tmp_path / "packed", 0.001)


def refusal(root: Path, **options: object) -> str:
    with pytest.raises((DatasetError, LabelError, ConfigError)) as error:
        shards(root, **options).read()
    return str(error.value)


def test_missing_and_cut_off_shards_are_named(packed):
    (packed / "train-000001.tar").unlink()
    (packed / "test-000000.json").unlink()
    whole = (packed / "val-000000.tar").read_bytes()
    (packed / "val-000000.tar").write_bytes(whole[:1000])
    said = refusal(packed)
    assert "train-000001.tar is missing" in said
    assert "test-000000.json is missing" in said
    assert f"val-000000.tar has 1,000 bytes, and had {len(whole):,} when it was packed" in said


def test_a_changed_shard_is_named_even_once_it_was_decoded(packed):
    shards(packed).read()
    path = packed / "val-000000.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    assert "val-000000.tar is not as it was packed: its sha256 is another" in refusal(packed)


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("shards.json", '"format":1', '"format":2', "shards.json is of format 2; this release reads formats up to 1"),
        ("shards.json", '"split"', '"spilt"', "shards.json is damaged"),
        ("shards.json", "{", "", "shards.json is damaged"),
        ("shards.json", '"fit":"pad"', '"fit":"pat"', "shards.json is damaged"),
        ("shards.json", "train-000000.tar", "../000000.tar", "shards.json is damaged"),
        ("train-000000.json", '"format":1', '"format":2', "train-000000.json is of format 2"),
        ("train-000000.json", '"offset":512', '"offset":513', "train-000000.json is not as it was packed"),
        ("train-000000.json", '"label":"happy"', '"label":"fear"',
         r"train-000000.tar/000000006.png is of the class 'fear', which shards.json does not name"),
        ("train-000000.json", '"id":"train/happy/1.png"', '"id":"train/happy/0.png"',
         "train-000000.tar/000000007.png and train-000000.tar/000000006.png: train/happy/0.png"),
    ],
)  # fmt: skip
def test_a_wrong_index_is_named(packed, file, old, new, said):
    before = sha256(packed / file)
    edit(packed / file, old, new)
    if "is not as it was" not in said and file != "shards.json":  # as a program that packs wrongly would leave it
        edit(packed / "shards.json", before, sha256(packed / file))
    assert said in refusal(packed)


def test_no_folder_is_called_by_what_a_file_says(packed, tmp_path):
    edit(packed / "shards.json", '"name":"folder"', '"name":"../elsewhere/x"')
    assert shards(packed, cache_dir=str(tmp_path / "in/cache")).read().classes == ("happy", "sad")
    assert not (tmp_path / "in/elsewhere").exists()


def test_labels_of_packed_shards_need_no_map(packed):
    assert "shards.json names the classes: happy, sad" in refusal(packed, label_map={0: "happy"})
    assert "data.own_classes: " in refusal(packed, own_classes=True)


@pytest.mark.parametrize("cut", ["in an image", "in a header", "before the end"])
def test_cut_off_shards_of_others(tmp_path, cut):
    root = plain(tmp_path / "others", {"train-0.tar": labelled()})
    path = root / "train-0.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    end = {"in an image": 600, "in a header": last.offset + 100, "before the end": last.offset_data + 512}[cut]
    path.write_bytes(path.read_bytes()[:end])
    assert "train-0.tar is cut off or damaged" in refusal(root)


def test_samples_of_others_without_label_or_twice(tmp_path):
    unlabelled = {
        **labelled(),
        "x.png": png(),
        "y.png": png(),
        "y.json": b'{"width": 3}',
        "z.png": png(),
        "z.cls": b" ",
    }
    said = refusal(plain(tmp_path / "a", {"train-0.tar": unlabelled}))
    assert "3 of 7 images have no label:\n    train-0.tar/x.png\n    train-0.tar/y.png\n    train-0.tar/z.png" in said
    said = refusal(plain(tmp_path / "b", {"train-0.tar": labelled(), "train-1.tar": labelled()}))
    assert "train-1.tar/000.png and train-0.tar/000.png: train/000" in said
    said = refusal(plain(tmp_path / "c", {"train-0.tar": {**labelled(), "000.jpg": png()}}))
    assert "train-0.tar has two images with the key '000'" in said


def test_shards_not_named_after_a_split_are_left_out_and_said(tmp_path, caplog):
    root = plain(tmp_path / "others", {"train-0.tar": labelled(), "extra.tar": labelled()})
    assert len(shards(root).read()) == 4
    assert "shards not named after a split were left out: extra.tar" in caplog.text


def test_no_shards(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"shards\.json of fer\.pack, or shards that others wrote"):
        shards(tmp_path / "empty").read()


def test_own_classes_are_chosen_by_name(tmp_path, run_here, train_here, capsys):
    write_image_folder(tmp_path / "data", classes=["happy", "sad", "fear"])
    shutil.move(tmp_path / "data/train/sad", tmp_path / "data/train/bored")
    for split in ("val", "test"):
        shutil.move(tmp_path / f"data/{split}/sad", tmp_path / f"data/{split}/bored")
    options = [option for option in TINY if not option.startswith("data.num_samples")]
    run_here("fer.pack", "data=folder", "data.root=data", "data.own_classes=true", "to=packed", name=None)
    run_here("fer.train", "data=shards", "data.root=packed", "data.classes=[bored,happy]", "preview=true", *options)
    assert "bored" in capsys.readouterr().out


def test_names_with_a_second_dot_are_told_of(tmp_path, caplog):
    members = {**labelled(), "img.0003.png": png(), "img.0003.cls": b"happy"}
    root = plain(tmp_path / "tars", {"train-000000.tar": members})
    assert len(shards(root).read()) == 4
    assert "1 images with a dot within their name (such as img.0003.png) are left out" in caplog.text


def test_portraits_are_cut_in_a_test_as_they_were_packed(tmp_path, train_here, run_here):
    write_kdef(tmp_path / "kdef")
    pack(KDEF(str(tmp_path / "kdef"), cache_dir=str(tmp_path / "c")), tmp_path / "packed")
    run = train_here(*TINY)  # of a network whose images are padded
    run_here("fer.test", f"ckpt={run}", "data=shards", "data.root=packed", "split=all", "resamples=0", name="test")
    assert json.loads((tmp_path / "test/metrics.json").read_text())["dataset"]["input"][-1] == "crop"


@pytest.mark.parametrize(
    ("dataset", "fit"), [("Combined", None), ("Shards", None), ("KDEF", None), ("Folder", "stretch")]
)
def test_a_checkpoints_fit_is_for_data_without_one(monkeypatch, dataset, fit):
    from types import SimpleNamespace

    from fer.models.preprocessing import Preprocessing
    from fer.testing import evaluation

    said = SimpleNamespace(overrides=SimpleNamespace(task=[]))
    monkeypatch.setattr(evaluation, "HydraConfig", SimpleNamespace(get=lambda: said))
    place = {"KDEF": "kdef.KDEF", "Combined": "combined.Combined", "Shards": "shards.Shards", "Folder": "folder.Folder"}
    node = {"_target_": f"fer.datasets.{place[dataset]}", "fit": None, "image_size": None}
    trained = Preprocessing(32, 1, (0.5,), (0.5,), "stretch")
    assert evaluation.as_trained(node, trained, own=False) == {**node, "fit": fit, "image_size": 32}
