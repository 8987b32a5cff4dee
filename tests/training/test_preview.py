"""A preview tells what a training would be like, and leaves nothing that could be taken for a run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from fakes import write_fer2013_csv, write_image_folder
from PIL import Image

from fer.cli.continuing import runs_in
from fer.config.groups import conf_dir, option_names
from fer.training import preview

Train = Callable[..., Path]


def test_a_preview_shows_the_training_and_leaves_no_run(train_here: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train_here(*TINY, "preview=true", "loss.class_weights=balanced", "mixup=both", "trainer.devices=2")
    out = capsys.readouterr().out
    for text in ("happy", "weight", "MiB", " steps an epoch; ", "2 epochs: ", "GiB at most", "one device of"):
        assert text in out, text
    assert "F1" not in out
    with Image.open(folder / "preview.png") as picture:
        assert picture.width > 800
    assert {path.name for path in folder.iterdir()} <= {"preview.png", "train.log"}
    assert runs_in(folder.parent) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "; 4 epochs: 81 s"),  # 10 batches of 2 s and a validation of 0.25 s each
        ({"check_val_every_n_epoch": 2}, "; 4 epochs: 80.5 s"),
        ({"max_steps": 25}, "; 25 steps (trainer.max_steps): 50.5 s"),
        ({"max_steps": 7, "accumulate_grad_batches": 3}, "; 7 steps (trainer.max_steps): 38.25 s"),  # 10 + 9 batches
        ({"max_steps": 25, "max_epochs": -1}, "; 25 steps (trainer.max_steps): 50.5 s"),
        ({"max_steps": 99}, "; 4 epochs: 81 s"),
        ({"max_epochs": -1}, ""),
    ],
    ids=str,
)
def test_the_whole_run_is_what_ends_first(options: dict[str, int], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "duration", lambda seconds: f"{seconds:.4g} s")
    trainer = {"max_epochs": 4, "max_steps": -1, "accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, **options}
    assert preview._whole(trainer, batches=10, step=2.0, val=0.25, once=0.0) == said


def test_a_preview_of_a_frozen_backbone(train_here: Train, capsys: pytest.CaptureFixture[str], cache_dir: Path) -> None:
    before = set(cache_dir.glob("features-*"))
    train_here(
        *TINY[1:-1], "model=resnet18", "model.pretrained=false", "model.freeze=true", "transforms=none", "preview=true",
        "scheduler=plateau", "trainer.limit_train_batches=3", "trainer.max_steps=4",
    )  # fmt: skip
    out = capsys.readouterr().out
    assert "of them trained" in out
    assert "3 steps an epoch" in out
    assert "; 4 steps (trainer.max_steps): " in " ".join(out.split())
    assert "features of the frozen backbone" in out
    assert set(cache_dir.glob("features-*")) == before  # none were computed


def test_a_preview_of_several_datasets(train_here: Train, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_fer2013_csv(tmp_path / "csv" / "fer2013.csv", per_class=4)
    classes = ["happy", "contempt", "sad"]
    write_image_folder(tmp_path / "tree", splits=("train", "test"), per_class=6, classes=classes, size=64, channels=3)
    folder = train_here(
        "data=combined", "data.datasets=[fer2013,folder]", f"+data.options.fer2013.root={tmp_path / 'csv'}",
        f"+data.options.folder.root={tmp_path / 'tree'}", "data.batch_size=8", "data.num_workers=0", "preview=true",
        "model=simple_conv", "trainer.accelerator=cpu", "transforms=strong", "scheduler=onecycle", "mixup=cutmix",
    )  # fmt: skip
    out = capsys.readouterr().out
    assert out.index("happy") < out.index("sad") < out.index("speed: ")
    with Image.open(folder / "preview.png") as picture:
        assert picture.height < picture.width  # two classes


def test_what_a_preview_is_not_of(train_here: Train, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.yaml").touch()
    with pytest.raises(SystemExit):
        train_here(*TINY, "preview=true")
    assert "already holds a run" in capsys.readouterr().err


def test_every_shipped_augmentation_can_be_shown() -> None:
    from conftest import composed

    from fer.data.augment import Augment

    images = np.zeros((3, 48, 48), np.uint8)
    for name in option_names(conf_dir(), "transforms"):
        augment = Augment(composed(f"transforms={name}")["transforms"] or {})
        assert augment(images, (0, 1)).shape[:1] == (3,)
