"""What a resumed run may change, and what it refuses by name."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import TINY
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn

from fer.training import predict, results
from fer.training.module import FERModule
from fer.training.stopping import OptunaPruning

Train = Callable[..., Path]
CLASSES = ("angry", "happy", "sad")


def write(root: Path, numbers: range) -> None:
    """Write class folders of noise, without splits: those are carved."""
    for number in numbers:
        for label, name in enumerate(CLASSES):
            (root / name).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([number, label]).integers(0, 256, (24, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:03d}.png")


def fails(train: Train, capfd: pytest.CaptureFixture[str], *args: str) -> str:
    """Return the error of a command that must end with exit code 2."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        train(*args)
    assert ended.value.code == 2
    return capfd.readouterr().err


def test_what_it_cannot_follow(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    run = train_here(*TINY, "trainer.max_epochs=1", "optimizer.lr=1e-3")
    elsewhere = run.parent / "copied.ckpt"
    shutil.copy(run / "checkpoints" / "last.ckpt", elsewhere)
    resumed = (*TINY, f"ckpt={elsewhere}", "optimizer.lr=1e-3")
    message = fails(
        train_here, capfd, *resumed, "optimizer.lr=1e-5", "optimizer.weight_decay=0.9", "mixup=both", "seed=7",
        "scheduler=onecycle",
    )  # fmt: skip
    for line in (
        "optimizer.lr=1e-05: the run was begun with 0.001",
        "optimizer.weight_decay=0.9: the run was begun with 0.05",
        "mixup.mixup_alpha=",
        "seed=7: the run was begun with 0",
        "scheduler._target_=torch.optim.lr_scheduler.OneCycleLR: the run was begun with "
        "fer.training.optim.warmup_cosine",
    ):
        assert line in message
    assert "optimizer.name=sgd: the run was begun with adamw" in fails(train_here, capfd, *resumed, "optimizer=sgd")
    assert "model." in fails(train_here, capfd, *resumed, "model=emotion_net")
    assert "data.image_size=24: the run was begun with 48" in fails(train_here, capfd, *resumed, "data.image_size=24")
    assert "loss.class_weights=[" in fails(train_here, capfd, *resumed, "loss.class_weights=balanced")
    order = "data.classes=[happy,angry,disgust,fear,sad,surprise,neutral]"
    assert "data.classes: the same classes in another order: happy" in fails(train_here, capfd, *resumed, order)
    assert "data.classes: other classes: happy, sad;" in fails(train_here, capfd, *resumed, "data.classes=[happy,sad]")


def test_a_schedule_of_given_steps_goes_on_until_they_end(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    run = train_here(*TINY, "trainer.max_epochs=1", "scheduler=onecycle", "+scheduler.total_steps=14")
    train_here(f"resume={run}", "trainer.max_epochs=2")
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 12
    said = fails(train_here, capfd, f"resume={run}", "trainer.max_epochs=3")
    assert "scheduler.total_steps=14: the run has 18 steps" in said


def test_images_stay_on_their_sides(train_here: Train, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    splits = {"train": range(12), "val": range(12, 16), "test": range(16, 20)}
    for split, numbers in splits.items():
        write(tmp_path / "faces" / split, numbers)
    recipe = (*(o for o in TINY if "num_samples" not in o), "data=folder", f"data.root={tmp_path / 'faces'}")
    run = train_here(*recipe, "data.batch_size=8", "trainer.max_epochs=1")
    checkpoint = run / "checkpoints" / "last.ckpt"
    first = torch.load(checkpoint, weights_only=True)["seen_images"]

    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "faces", moved)
    for name in CLASSES:
        (moved / "train" / name / "000.png").rename(moved / "test" / name / "000.png")
        (moved / "val" / name / "012.png").rename(moved / "train" / name / "012.png")
        (moved / "val" / name / "013.png").unlink()
    message = fails(train_here, capfd, f"resume={run}", f"data.root={moved}", "trainer.max_epochs=2")
    assert "3 of 36 images that it was trained on would now be test" in message
    assert "3 of 12 images that it chose its checkpoint on would now be train" in message
    assert "3 of 12 images that it chose its checkpoint on are not in the data" in message

    write(tmp_path / "faces" / "train", range(20, 22))
    train_here(f"resume={run}", f"data.root={tmp_path / 'faces'}", "trainer.max_epochs=2")
    then = torch.load(checkpoint, weights_only=True)
    assert then["epoch"] == 1
    assert (len(first["train"]), len(then["seen_images"]["train"])) == (36, 42)


def test_a_run_that_ended_within_an_epoch_begins_the_next_one_whole(train_here: Train) -> None:
    run = train_here(*TINY, "scheduler=constant", "trainer.max_epochs=9", "trainer.max_steps=9")
    train_here(f"resume={run}", "trainer.max_steps=15")
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 15
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"], "6 steps, 3 and 6"
    assert rows[2]["val/loss"]


STOPS = (
    *TINY, "optimizer.lr=1e-12", "trainer.max_epochs=8", "callbacks=[default,early_stopping]",
    "callbacks.early_stopping.patience=1",
)  # fmt: skip


def test_a_resumed_run_takes_the_patience_that_it_is_given(train_here: Train) -> None:
    run = train_here(*STOPS)
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 2
    train_here(f"resume={run}", "callbacks.early_stopping.patience=3")
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 4


def test_a_run_that_was_killed_after_it_had_stopped_early_trains_no_further(
    train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_here(*STOPS, name="whole")
    with monkeypatch.context() as patch:
        patch.setattr("fer.training.predict.predict", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_here(*STOPS, name="cut")
    cut = whole.parent / "cut"
    train_here(f"resume={cut}")
    assert (cut / "history.csv").read_text() == (whole / "history.csv").read_text()
    own = {"checkpoint": "", "checkpoint_mark": ""}
    a, b = (json.loads((run / "metrics.json").read_text()) | own for run in (whole, cut))
    assert a == b


def test_an_epoch_that_max_steps_cut_counts_for_nothing(train_here: Train) -> None:
    ends = ("trainer.max_epochs=-1", "scheduler=constant")
    whole = train_here(*STOPS, *ends, "trainer.max_steps=18", name="whole")
    cut = train_here(*STOPS, *ends, "trainer.max_steps=7", name="cut")
    train_here(f"resume={cut}", "trainer.max_steps=18")
    with (whole / "history.csv").open() as file, (cut / "history.csv").open() as other:
        rows, others = list(csv.DictReader(file)), list(csv.DictReader(other))
    assert rows[-1]["val/loss"]
    # The cut epoch had one step of six; it is followed by whole ones, as many as patience asks for.
    assert [row["epoch"] for row in others if row["val/loss"]] == ["1", "3"]
    assert [row["epoch"] for row in rows] == ["1", "2"]


def test_a_training_score_can_stop_a_run(train_here: Train) -> None:
    watched = ("callbacks.early_stopping.monitor=train/loss", "callbacks.early_stopping.mode=min")
    run = train_here(*STOPS, *watched, "callbacks.early_stopping.min_delta=9")
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 2


class Stop(pl.Callback):
    """Ends the run by a signal in a step.

    Args:
        step: The steps before it.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def stopped(train_here: Train, step: int, *options: str) -> tuple[Path, int]:
    """Return the folder of a run that got a signal in a step, and after how many steps it was saved."""
    end = ("+callbacks.end._target_=test_resume.Stop", f"+callbacks.end.step={step}")
    with pytest.raises(SystemExit) as ended:
        train_here(*TINY, *options, *end, name="cut")
    assert ended.value.code == 143
    last = Path("cut").resolve() / "checkpoints/last.ckpt"
    return last.parent.parent, torch.load(last, weights_only=True)["global_step"]


def validated(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:  # of training scores an epoch that was stopped has a part
        return [{key: row[key] for key in row if not key.startswith("train/")} for row in csv.DictReader(file)]


@pytest.mark.parametrize(("step", "saved"), [(7, 8), (5, 7)])
def test_without_last_what_a_signal_saved_is_gone_with_the_run(train_here: Train, step: int, saved: int) -> None:
    options = ("callbacks.last=null", "trainer.max_epochs=3")
    cut, steps = stopped(train_here, step, *options)
    assert steps == saved, "after the step; or where only an epoch's end comes after it, after the next one"
    train_here(f"resume={cut}")
    assert not (cut / "checkpoints/last.ckpt").exists(), "a longer run would go on from there"
    assert validated(cut) == validated(train_here(*TINY, *options, name="whole"))


def test_a_validation_that_is_due_comes_before_a_stop(train_here: Train) -> None:
    options = ("+trainer.val_check_interval=0.5", "callbacks=[default,early_stopping]", "trainer.max_epochs=3")
    options += ("callbacks.early_stopping.patience=3", "optimizer.lr=1e-12")
    cut, steps = stopped(train_here, 8, *options)  # after 9 steps of 6 in an epoch a validation is due
    assert steps == 10
    train_here(f"resume={cut}")
    assert validated(cut) == validated(train_here(*TINY, *options, name="whole"))


def test_the_runs_own_checkpoints_are_scored_whatever_others_there_are() -> None:
    def kept(name: str, monitor: str | None = None) -> ModelCheckpoint:
        callback = ModelCheckpoint(filename=name, monitor=monitor)
        callback.best_model_path, callback.best_model_score = f"{name}.ckpt", torch.tensor(0.5)
        return callback

    others = [kept("lowloss", "val/loss"), kept("mine")]
    trainer = SimpleNamespace(checkpoint_callbacks=[*others, kept("best", "val/f1_macro")])
    assert results.best(trainer).best_model_path == "best.ckpt"  # type: ignore[arg-type]
    assert results.last(trainer) is None  # type: ignore[arg-type]
    trainer.checkpoint_callbacks.append(kept("last"))
    assert results.last(trainer) == "last.ckpt"  # type: ignore[arg-type]


def test_a_pruned_trial_stays_pruned_in_its_sweep() -> None:
    trainer = SimpleNamespace(should_stop=False, strategy=SimpleNamespace(broadcast=lambda value: value))
    for trial, stops in ((None, False), (object(), True)):
        pruning = object.__new__(OptunaPruning)
        pruning.trial = trial
        pruning.load_state_dict({"pruned": True})
        assert pruning.state_dict() == {"pruned": True}
        pruning.on_fit_start(trainer, None)  # type: ignore[arg-type]
        assert trainer.should_stop == stops


def test_behind_a_link_the_best_checkpoint_is_known_again(tmp_path: Path) -> None:
    kept = tmp_path / "real" / "run" / "checkpoints"
    kept.mkdir(parents=True)
    (kept / "best.ckpt").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    state = {
        "dirpath": str(kept), "best_model_path": str(kept / "best.ckpt"), "best_model_score": 0.5,
        "kth_best_model_path": "", "kth_value": 0.5, "last_model_path": "",
        "best_k_models": {str(kept / "best.ckpt"): 0.5},
    }  # fmt: skip
    trainer = SimpleNamespace(
        default_root_dir=str(tmp_path / "link" / "run"), strategy=SimpleNamespace(broadcast=str),
        state=SimpleNamespace(fn=TrainerFn.FITTING), is_global_zero=False,
    )  # fmt: skip
    module = SimpleNamespace(teachers=None, seen_before=None, trainer=trainer)
    FERModule.on_load_checkpoint(module, {"callbacks": {"best": state}})  # type: ignore[arg-type]
    best = ModelCheckpoint(str(tmp_path / "link" / "run" / "checkpoints"))
    best.setup(trainer, module, "fit")  # type: ignore[arg-type]
    best.load_state_dict(state)
    assert best.best_model_score == 0.5


def test_the_final_scores_are_made_on_the_runs_own_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("pytorch_lightning.Trainer", lambda **options: asked.append(options["devices"]))
    predict.scorer(tmp_path, "gpu", "32-true", False, 3)
    predict.scorer(tmp_path, "cpu", "32-true", False)
    assert asked == [[3], 1]
