"""What happens beside training."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch
from conftest import TINY, WITH_PICTURES, Run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import parse_experiment_plugin_data

from fer.errors import FERError
from fer.training.loggers import HistoryLogger
from fer.training.module import FERModule
from fer.training.stopping import OptunaPruning

Train = Callable[..., Path]


class Seen(pl.Callback):
    """Notes the size of every training and validation image."""

    sizes: ClassVar[list[tuple[str, int, int]]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: FERModule, *args: object) -> None:
        self._watch(pl_module, "train", trainer.current_epoch)

    def on_validation_batch_start(self, trainer: pl.Trainer, pl_module: FERModule, *args: object) -> None:
        self._watch(pl_module, "val", trainer.current_epoch)

    def _watch(self, pl_module: FERModule, split: str, epoch: int) -> None:
        def note(net: object, inputs: tuple[object, ...]) -> None:
            self.sizes.append((split, epoch, inputs[0].shape[-1]))  # type: ignore[attr-defined]
            handle.remove()

        handle = pl_module.net.register_forward_pre_hook(note)


def test_progressive_resizing_trains_on_small_images_first(train_here: Train) -> None:
    Seen.sizes = []
    small = ("callbacks=[default,progressive_resizing]", "callbacks.progressive_resizing.image_size=16")
    train_here(*TINY, "model=small_cnn", *small, "+callbacks.seen._target_=test_callbacks.Seen")
    assert set(Seen.sizes) == {("train", 0, 16), ("train", 1, 48), ("val", 0, 48), ("val", 1, 48)}


@pytest.mark.parametrize("epochs", [-1, 40])
def test_progressive_resizing_goes_by_the_epochs_that_max_steps_leaves(train_here: Train, epochs: int) -> None:
    Seen.sizes = []
    small = ("callbacks=[default,progressive_resizing]", "callbacks.progressive_resizing.image_size=16")
    ends = (f"trainer.max_epochs={epochs}", "trainer.max_steps=12")  # two epochs
    train_here(*TINY, "model=small_cnn", *small, *ends, "+callbacks.seen._target_=test_callbacks.Seen")
    assert {size for size in Seen.sizes if size[0] == "train"} == {("train", 0, 16), ("train", 1, 48)}


def test_early_stopping_and_a_switched_off_callback(train_here: Train) -> None:
    run = train_here(
        *WITH_PICTURES, "trainer.max_epochs=6", "callbacks=[default,early_stopping]",
        "callbacks.early_stopping.patience=1", "optimizer.lr=1e-12", "callbacks.samples=null",
    )  # fmt: skip
    with (run / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) < 6
    board = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    assert "train/samples" not in board.Tags()["images"]


def test_an_epoch_without_validation_shows_no_scores_of_another(train_here: Train) -> None:
    run = train_here(*TINY, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2")
    lines = [line for line in (run / "train.log").read_text().splitlines() if "loss " in line and "epoch " in line]
    assert ["val loss" in line for line in lines] == [False, True, False]


class Weights(pl.Callback):
    """Notes the backbone's and the head's weights, and the backbone's statistics, after each epoch."""

    seen: ClassVar[list[dict[str, torch.Tensor]]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: FERModule) -> None:
        self.seen.append({key: value.clone() for key, value in pl_module.net.state_dict().items()})


def test_gradual_unfreezing(train_here: Train) -> None:
    Weights.seen = []
    unfreeze = ("callbacks=[default,finetuning]", "callbacks.finetuning.epoch=2", "optimizer.backbone_lr_factor=0.1")
    model = ("model=timm", "model.name=test_resnet", "data.image_size=32", "trainer.max_epochs=3")
    train_here(*TINY, *model, *unfreeze, "+callbacks.weights._target_=test_callbacks.Weights")
    for key in Weights.seen[0]:
        first, second, third = (seen[key] for seen in Weights.seen)
        if key.startswith("backbone."):
            assert torch.equal(first, second), key  # frozen, batch-norm statistics too
        assert not torch.equal(second, third), key


def test_what_tensorboard_shows(train_here: Train) -> None:
    run = train_here(*WITH_PICTURES)
    scalars: dict[str, list[float]] = {}
    images: set[str] = set()
    names: list[str] = []
    for file in run.glob("events.out.tfevents.*"):
        board = EventAccumulator(str(file), size_guidance={"images": 0}).Reload()
        for tag in board.Tags()["scalars"]:
            scalars.setdefault(tag, []).extend(event.value for event in board.Scalars(tag))
        images |= set(board.Tags()["images"])
        if experiment := board.summary_metadata.get("_hparams_/experiment"):
            infos = parse_experiment_plugin_data(experiment.plugin_data.content).hparam_infos
            names = sorted(info.name for info in infos)  # as the page does
    for split in ("train", "val"):
        for score in ("loss", "accuracy", "balanced_accuracy", "f1_macro", "f1/happy", "f1/disgust", "f1/neutral"):
            assert len(scalars[f"{split}/{score}"]) == 2, (split, score)
    assert [tag for tag in scalars if tag.startswith("lr")] == ["lr"]
    assert "epoch" not in scalars
    assert images == {"train/samples", "val/confusion"}
    # Final scores that the HParams tab compares runs by.
    assert len(scalars["final/val_f1_macro"]) == len(scalars["final/test_accuracy"]) == 1
    assert [name.strip() for name in names[:3]] == ["model", "optimizer", "optimizer.lr"]
    assert len({name.strip() for name in names}) == len(names)


def test_history_goes_on_where_the_checkpoint_left_it(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    first = HistoryLogger(path)
    for epoch in range(3):
        first.log_metrics({"epoch": epoch, "val/loss": 1.0 - epoch / 10}, step=epoch * 10)
        first.log_metrics({"epoch": epoch, "train/loss": 2.0, "lr-SGD": 0.1}, step=epoch * 10)
    first.log_metrics({"epoch": 2, "train/loss_step": 9.0}, step=25)
    resumed = HistoryLogger(path)  # from a checkpoint of epoch 0: what came after is repeated
    resumed.log_metrics({"epoch": 1, "val/loss": 0.5}, step=10)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [row["step"] for row in rows] == ["0", "10"]
    assert [float(row["val/loss"]) for row in rows] == [1.0, 0.5]
    assert "train/loss_step" not in rows[0]


def test_a_run_that_counted_epochs_from_0_goes_on_from_1(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,step,val/loss\n0,9,1.0\n1,19,0.5\n")
    HistoryLogger(path).log_metrics({"epoch": 2, "val/loss": 0.25}, step=29)
    assert path.read_text() == "epoch,step,val/loss\n1,9,1.0\n2,19,0.5\n3,29,0.25\n"


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,val/loss\n1,low\n")
    with pytest.raises(FERError, match=r"history.csv: cannot be continued \(could not convert"):
        HistoryLogger(path)


def test_history_outlives_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = HistoryLogger(tmp_path / "gone" / "history.csv")
    history.log_metrics({"epoch": 0, "val/loss": 1.0}, step=9)
    assert "history.csv: cannot be written: its folder is gone" in caplog.text
    (tmp_path / "gone").mkdir()
    history.log_metrics({"epoch": 1, "val/loss": 0.5}, step=19)
    assert (tmp_path / "gone" / "history.csv").read_text() == "epoch,step,val/loss\n1,9,1.0\n2,19,0.5\n"


@pytest.mark.parametrize("first", [True, False], ids=["first process", "another process"])
@pytest.mark.parametrize("poor", [True, False])
def test_pruning_ends_every_process(first: bool, poor: bool) -> None:
    reported = []
    trial = SimpleNamespace(report=lambda *args: reported.append(args), should_prune=lambda: poor)
    pruning = OptunaPruning.__new__(OptunaPruning)
    pruning.monitor, pruning.trial = "val/f1_macro", trial if first else None
    strategy = SimpleNamespace(broadcast=lambda own: own if first else poor)  # of the first process, to all
    trainer = SimpleNamespace(
        sanity_checking=False, strategy=strategy, callback_metrics={"val/f1_macro": torch.tensor(0.25)},
        current_epoch=3, should_stop=False,
    )  # fmt: skip
    pruning.on_validation_end(trainer, SimpleNamespace())
    assert trainer.should_stop == poor
    assert reported == ([(0.25, 3)] if first else [])


def test_optuna_sweep_with_pruning_goes_on_after_a_stop(command: Run, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    import optuna

    options = (
        "sweep=optuna_lr", *TINY, "trainer.max_epochs=3", "hydra.sweep.dir=sweep",
        "callbacks.pruning.startup_trials=1", "callbacks.pruning.warmup_epochs=0",
    )  # fmt: skip
    done = command(*options, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    assert "3 jobs, best first" in done.stdout
    study = optuna.load_study(study_name="optuna_lr", storage=f"sqlite:///{tmp_path}/sweep/study.db")
    assert len(study.trials) == 3
    again = command(*options, "hydra.sweeper.n_trials=4")
    assert again.returncode == 0, again.stderr
    assert "3 of 4 trials are done, 1 to go" in again.stdout
    assert "4 jobs, best first" in again.stdout
    study = optuna.load_study(study_name="optuna_lr", storage=f"sqlite:///{tmp_path}/sweep/study.db")
    assert len(study.trials) == 4
    for trial in study.trials:
        assert 1e-4 <= trial.params["optimizer.lr"] <= 0.1
        assert 1 <= len(trial.intermediate_values) <= 3
        assert trial.value == pytest.approx(max(trial.intermediate_values.values()))


def test_images_that_would_be_larger_are_refused(train_here: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_here(*TINY, "model=small_cnn", "callbacks=[default,progressive_resizing]", "data.image_size=28")
    assert (
        "progressive_resizing.image_size=32: is above the network's own, data.image_size=28" in capsys.readouterr().err
    )


def test_losses_are_means_in_float32_whatever_the_weights_are(train_here: Train) -> None:
    """256 sums of about 1.9 in bfloat16 would end at 256; the mean would be half of what it is."""
    short = ("data.num_samples=3000", "data.batch_size=8", "trainer.max_epochs=1", "trainer.precision=bf16-true")
    quick = (
        "model=fully_connected",
        "loss.class_weights=balanced",
        "optimizer.lr=1e-6",
        "transforms=none",
        "trainer.accelerator=cpu",
    )
    with (train_here(*short, *quick, "data.num_workers=0") / "history.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert 1.5 < float(row["train/loss"]) < 2.5
    assert 1.5 < float(row["val/loss"]) < 2.5


def test_answers_that_are_no_numbers_end_the_training(
    train_here: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = FERModule.forward
    monkeypatch.setattr(FERModule, "forward", lambda self, images: forward(self, images) * float("nan"))
    with pytest.raises(SystemExit):
        train_here(*TINY)
    assert "answers on validation images are not finite" in capsys.readouterr().err
