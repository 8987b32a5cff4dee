"""A checkpoint alone rebuilds the model; a bad one is refused without anything in it being run."""

import csv
import errno
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import TINY

from fer.errors import FERError
from fer.training import checkpoint_content
from fer.training.module import FERModule

Train = Callable[..., Path]
PLAIN = {
    "classes": ["angry", "happy", "sad"],
    "preprocessing": {"image_size": 24, "channels": 1, "mean": [0.4], "std": [0.2]},
    "model": {"_target_": "fer.models.emotion_net.EmotionNet", "dropout": 0.5},
    "loss": {"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": 0.1, "class_weights": [1.0, 2.0, 1.0]},
    "optimizer": {},
    "scheduler": {},
    "mixup": {"mixup_alpha": 0.0, "cutmix_alpha": 0.0},
}


def save(path: Path, **changes: object) -> FERModule:
    module = FERModule(**PLAIN)
    content = {"state_dict": module.state_dict(), "hyper_parameters": {**dict(module.hparams), **changes}}
    torch.save(content, path)
    return module


def test_rebuilt_from_the_file_alone(tmp_path: Path) -> None:
    module = save(tmp_path / "a.ckpt").eval()
    again = FERModule.load_from_checkpoint(tmp_path / "a.ckpt")
    images = torch.randint(0, 256, (5, 48, 48), dtype=torch.uint8)
    assert torch.equal(module(images), again(images))
    assert again.classes == ["angry", "happy", "sad"]
    assert again.preprocess == module.preprocess


def test_a_runs_checkpoint_gives_its_predictions(train_here: Train) -> None:
    from fer.datasets.synthetic import Synthetic

    run = train_here(*TINY, "model=small_cnn", "data.image_size=24", "data.classes=[sad,happy,neutral]")
    module = FERModule.load_from_checkpoint(run)
    assert module.classes == ["sad", "happy", "neutral"]
    with (run / "predictions.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    samples = Synthetic(num_samples=280).samples
    index = {name: number for number, name in enumerate(samples.ids.tolist())}
    images = torch.from_numpy(np.stack([samples.images[index[name]] for name in rows]))
    with torch.no_grad():
        p = module(images).softmax(1).numpy()
    expected = [[float(row[f"p_{name}"]) for name in module.classes] for row in rows.values()]
    np.testing.assert_allclose(p, expected, atol=2e-5)
    assert all(samples.classes[samples.labels[index[name]]] == row["label"] for name, row in rows.items())


def test_pretrained_weights_are_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = {"_target_": "fer.models.timm_model.TimmModel", "name": "test_resnet"}
    module = FERModule(**{**PLAIN, "model": timm})
    hparams = {**dict(module.hparams), "model": {**timm, "pretrained": True, "checkpoint_path": "gone.pth"}}
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": hparams}, tmp_path / "a.ckpt")
    again = FERModule.load_from_checkpoint(tmp_path / "a.ckpt")
    assert all(
        torch.equal(a, b) for a, b in zip(module.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_truncated_at_any_place(tmp_path: Path) -> None:
    save(tmp_path / "a.ckpt")
    whole = (tmp_path / "a.ckpt").read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.ckpt").write_bytes(whole[:size])
        with pytest.raises(FERError, match=rf"cut.ckpt: cannot be read \({size} bytes\)"):
            FERModule.load_from_checkpoint(tmp_path / "cut.ckpt")


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(FERError, match="no such file"):
        FERModule.load_from_checkpoint(tmp_path / "none.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(FERError, match="is not a checkpoint of fer"):
        FERModule.load_from_checkpoint(tmp_path / "foreign.ckpt")


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("harmed"),)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"hyper_parameters": Harmful()}, "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps(Harmful()))
    for name in ("a.ckpt", "b.ckpt"):
        with pytest.raises(FERError, match="Nothing in it was run"):
            FERModule.load_from_checkpoint(name)
    harmful = {"_target_": "pathlib.Path.touch", "self": "harmed"}
    for changes, said in (
        ({"model": {**PLAIN["model"], "_target_": "os.system"}}, r"trust=\[os\]"),
        ({"model": {**PLAIN["model"], "head": harmful}}, r"its model\.head holds '_target_'"),
        ({"loss": {**PLAIN["loss"], "reduction": harmful}}, r"its loss\.reduction holds '_target_'"),
    ):
        save(tmp_path / "c.ckpt", **changes)
        with pytest.raises(FERError, match=said):
            FERModule.load_from_checkpoint(tmp_path / "c.ckpt")
    assert not (tmp_path / "harmed").exists()


def test_full_disk_keeps_the_last_checkpoint(
    train_here: Train, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    saved = []
    save_really = torch.save

    def save(content: object, file: object) -> None:
        saved.append(file)
        save_really(content, file)
        if len(saved) > 3:  # best and last of two epochs
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(SystemExit) as end:
        train_here(*TINY)
    assert end.value.code == 2
    assert "no space left to write" in capfd.readouterr().err
    folder = next(Path.cwd().glob("run/checkpoints"))
    assert {p.name for p in folder.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 0


class Poison(pl.Callback):
    """Makes the loss infinite from a step on."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: FERModule, *args: object) -> None:
        if trainer.global_step == 9:
            next(pl_module.net.parameters()).data.fill_(float("nan"))


def test_non_finite_loss_stops_and_keeps_the_last_checkpoint(
    train_here: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        train_here(*TINY, "+callbacks.poison._target_=test_checkpoint.Poison")
    assert end.value.code == 2
    assert "the loss is nan in epoch 2, step 9, at lr" in capfd.readouterr().err
    state = torch.load(Path.cwd() / "run/checkpoints/last.ckpt", weights_only=True)
    assert state["epoch"] == 0
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())


def test_the_hyper_parameters_that_are_checked_are_those_of_the_module() -> None:
    taken = inspect.signature(FERModule).parameters
    assert tuple(name for name, p in taken.items() if p.default is p.empty) == checkpoint_content.REQUIRED
    optional = {name: type(p.default) for name, p in taken.items() if p.default is not p.empty}
    assert {**checkpoint_content.OPTIONAL, "load_weights": bool} == optional
