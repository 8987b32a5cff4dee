"""Several datasets as one: common classes, splits of each, one size and colour."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, composed
from fakes import write_fer2013_csv, write_image, write_image_folder
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from fer.config.groups import conf_dir
from fer.data.base import FERDataModule
from fer.datasets.combined import Combined
from fer.datasets.fer2013 import FER2013
from fer.datasets.folder import Folder
from fer.errors import ConfigError, DatasetError

OPTIONS = {"fer2013": {"root": "csv"}, "folder": {"root": "tree"}}


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_fer2013_csv(tmp_path / "csv" / "fer2013.csv", per_class=4)
    write_image_folder(
        tmp_path / "tree",
        splits=("train", "test"),
        per_class=6,
        classes=["happy", "contempt", "sad"],
        size=64,
        channels=3,
    )
    return tmp_path


def combined(**options: object) -> Combined:
    return Combined(["fer2013", "folder"], OPTIONS, cache_dir="cache", **options)  # type: ignore[arg-type]


def test_common_classes_sizes_and_splits(two: Path) -> None:
    data = combined(val_fraction=0.3)
    assert data.classes == ("happy", "sad")
    assert data.samples.images.shape[1:] == (64, 64, 3)
    count = {
        (name, split): sum(data.samples.ids[row].startswith(f"{name}/") for row in data.rows(split))
        for name in OPTIONS
        for split in ("train", "val", "test")
    }
    assert [count["fer2013", split] for split in ("train", "val", "test")] == [8, 8, 8]
    assert [count["folder", split] for split in ("train", "val", "test")] == [10, 2, 12]  # val is carved
    assert set(data.samples.attributes["dataset"].tolist()) == set(OPTIONS)
    assert len(set(data.samples.ids.tolist())) == len(data.samples)


def test_labels_are_matched_by_name(two: Path) -> None:
    data = combined()
    for sample, label in zip(data.samples.ids, data.samples.labels, strict=True):
        if sample.startswith("folder/"):
            assert sample.split("/")[2] == data.classes[label]


def test_grey_and_small_when_asked(two: Path) -> None:
    data = combined(channels=1, image_size=32)
    assert data.samples.images.shape[1:] == (32, 32)
    assert data.samples.images.std() > 10


def test_a_changed_dataset_is_read_again(two: Path) -> None:
    before = combined().samples.images.copy()
    write_fer2013_csv(two / "csv" / "fer2013.csv", per_class=4, seed=5)
    assert not np.array_equal(combined().samples.images, before)


def test_labels_that_a_part_makes_after_its_cache(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = combined().samples.labels
    read = FER2013.read  # FER+ gives FER2013's images the labels that its votes make
    monkeypatch.setattr(FER2013, "read", lambda self: replace(read(self), labels=read(self).labels[::-1].copy()))
    assert (combined().samples.labels != before).any()


@pytest.mark.parametrize(
    ("datasets", "options", "said"),
    [
        (["fer2013"], {}, "needs two or more"),
        (["fer2013", "fer2013"], {}, "needs two or more"),
        (["fer2013", "folder"], {"rafdb": {}}, "data.options.rafdb: is none of"),
        (
            ["fer2013", "folder"],
            {"folder": {"root": "x", "rot": 1}},
            "data.options.folder.rot: Folder has no such option",
        ),
        (["fer2013", "folder"], {"folder": 3}, "data.options.folder=3: "),
        (
            ["fer2013", "folder"],
            {"fer2013": {"select_on_test": True}},
            "data.options.fer2013.select_on_test: the check",
        ),
        (
            ["fer2013", "folder"],
            {"fer2013": {"batch_size": 8}},
            "data.options.fer2013.batch_size: .* Say data.batch_si",
        ),
        (["fer2013", "folder"], {"fer2013": {"val_fraction": "x"}}, "data.options.fer2013.val_fraction=x: must be a n"),
        (["fer2013", "folder"], {"fer2013": {"seed": 1}}, "data.options.fer2013.seed: is filled in by the program"),
        (["fer2013", "mine"], {}, r"there is no 'mine'\. .*rafdb.*--config-dir <folder>, which holds data/mine\.yaml"),
        (["fer2013", "combined"], {}, "data.datasets: combined is a combined dataset itself"),
    ],
)
def test_errors(datasets: list[str], options: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Combined(datasets, options)


def sides(data: FERDataModule, below: str = "") -> dict[str, tuple[str, str]]:
    """Return the split and class of each sample in a split, by its id."""
    samples = data.samples
    return {
        str(samples.ids[row]).removeprefix(below): (str(samples.splits[row]), samples.classes[samples.labels[row]])
        for row in data.rows("all")
        if str(samples.ids[row]).startswith(below)
    }


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("fer2013", {"exclude": "fer2013.txt"}),
        ("fer2013", {"classes": ["sad", "happy"]}),
        ("folder", {"exclude": "folder.txt"}),
        ("folder", {"classes": ["contempt", "happiness", "sad"]}),
        ("folder", {"val_fraction": 0.7}),
        ("folder", {"label_map": {"contempt": "disgust"}, "image_size": 32}),
    ],
)
def test_a_part_is_what_it_is_alone_with_the_same_option(two: Path, name: str, option: dict[str, object]) -> None:
    write_image_folder(two / "tree", splits=("train", "test"), per_class=6, classes=["fear"], size=64, channels=3)
    (two / "fer2013.txt").write_text("id\n" + "".join(f"fer2013.csv:{row}\n" for row in range(0, 80, 3)))
    (two / "folder.txt").write_text("id\ntrain/happy/1.png\ntest/sad/2.png\n")
    both = Combined(["fer2013", "folder"], {**OPTIONS, name: {**OPTIONS[name], **option}}, cache_dir="cache")
    kind: type[FERDataModule] = {"fer2013": FER2013, "folder": Folder}[name]
    alone = sides(kind(**OPTIONS[name], cache_dir="cache", **option))  # type: ignore[arg-type]
    assert sides(both, f"{name}/") == {id_: side for id_, side in alone.items() if side[1] in both.classes}
    assert sides(both) != sides(combined())  # the option has an effect


def test_a_part_without_subjects_has_no_folds(two: Path) -> None:
    data = Combined(["fer2013", "folder"], {**OPTIONS, "fer2013": {"root": "csv", "fold": 3}}, cache_dir="cache")
    with pytest.raises(ConfigError, match=r"^data\.options\.fer2013\.fold=3: fer2013 does not say who"):
        data.setup("fit")


def test_folds_are_of_the_whole_or_of_a_part() -> None:
    with pytest.raises(ConfigError, match=r"options\.fer2013\.fold: data\.fold=1 makes the splits of all parts"):
        Combined(["fer2013", "folder"], {"fer2013": {"fold": 3}, "folder": {"root": "tree"}}, fold=1)


def test_what_is_said_of_the_whole_holds_for_each_part(two: Path) -> None:
    write_image(two / "tree/train/happy/oblong.png", np.full((64, 30, 3), 200, np.uint8))
    write_image_folder(two / "tree", splits=("train",), per_class=1, classes=["odd"], size=64)
    data = combined(classes=["sad", "happy"], fit="stretch", image_size=64)  # `odd` alone would be refused
    assert data.classes == ("sad", "happy")
    row = data.samples.ids.tolist().index("folder/train/happy/oblong.png")
    assert (data.samples.images[row] == 200).all()  # not padded
    padded = combined(classes=["sad", "happy"], image_size=64).samples.images[row]
    assert not padded[:, 0].any()


def test_an_excluded_image_may_be_broken(two: Path) -> None:
    (two / "tree/train/happy/1.png").write_bytes(b"no picture")
    (two / "bad.csv").write_text("id\nfolder/train/happy/1.png\n")
    with pytest.raises(DatasetError, match=r"happy/1\.png: not an image"):
        combined().setup("fit")
    data = combined(exclude="bad.csv")
    assert "folder/train/happy/1.png" not in sides(data)
    assert len(sides(data)) == 47


def test_a_broken_row_can_be_excluded(two: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = sides(combined())
    path = two / "csv/fer2013.csv"
    head, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, *rest, "x,1 2,Nowhere"]) + "\n")
    (two / "bad.csv").write_text(f"id\nfer2013/fer2013.csv:{len(rest)}\n")
    assert sides(combined(exclude="bad.csv")) == whole
    assert "are no samples" not in caplog.text


def test_own_classes_are_common_too(two: Path) -> None:
    for root in ("a", "b"):
        write_image_folder(two / root, splits=("train", "val", "test"), classes=["happy", "bored", root], per_class=2)
    (two / "conf/data").mkdir(parents=True)
    (two / "conf/data/mine.yaml").write_text("defaults: [folder, _self_]\nroot: b\nown_classes: true\n")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"hydra.searchpath=[file://{two}/conf]"], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)  # as a command with --config-dir does
    data = Combined(["folder", "mine"], {"folder": {"root": "a", "own_classes": True}}, cache_dir="cache")
    assert data.classes == ("happy", "bored")
    assert sum(id_.startswith("mine/") for id_ in sides(data)) == 12


def test_labels_are_drawn_if_a_part_draws_them(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not combined().draw_targets
    monkeypatch.setattr(FER2013, "draw_targets", True)
    assert combined().draw_targets


def test_unknown_names_are_found_before_torch(command: Run) -> None:
    done = command("data=combined", "data.datasets=[fer2013,rafbd]")
    assert done.returncode == 2
    assert "Did you mean 'rafdb'" in done.stderr


def test_wrong_options_of_parts_are_found_with_the_config() -> None:
    with pytest.raises(ConfigError) as error:
        composed(
            "data=combined", "data.datasets=[fer2013,folder]", "+data.options.fer2013.val_fraction=x",
            "+data.options.folder.sampler=weighted", "+data.options.folder.root=tree",
        )  # fmt: skip
    assert "data.options.fer2013.val_fraction=x: must be a number" in str(error.value)
    assert "data.options.folder.sampler: " in str(error.value)


def test_trains_and_is_scored_by_dataset(
    two: Path, train_here: Callable[..., Path], run_here: Callable[..., Path]
) -> None:
    options = [f"+data.options.{name}.root={two / node['root']}" for name, node in OPTIONS.items()]
    run = train_here(
        "data=combined", "data.datasets=[fer2013,folder]", *options, "data.channels=1", "data.image_size=48",
        "data.batch_size=8", "data.num_workers=0", "model=simple_conv", "trainer.max_epochs=1", "transforms=none",
        "trainer.accelerator=cpu",
    )  # fmt: skip
    out = run_here("fer.test", f"ckpt={run}", "accelerator=cpu", "progress=false")
    slices = json.loads((out / "metrics.json").read_text())["slices"]["dataset"]
    assert {name: scores["n"] for name, scores in slices.items()} == {"fer2013": 8, "folder": 12}
