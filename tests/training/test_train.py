"""A whole run on few faces: what it leaves, that it learns, and that it can be killed and go on."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from conftest import TINY
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

Train = Callable[..., Path]


class Killed(RuntimeError):
    """What ends a run in the middle of a step."""


class Kill(pl.Callback):
    """Ends the run at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == self.step:
            raise Killed


class NoteRows(pl.Callback):
    """Notes which images each epoch's batches hold."""

    epochs: ClassVar[list[list[list[int]]]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: object) -> None:
        self.epochs.append([])

    def on_train_batch_start(self, trainer: pl.Trainer, module: object, batch: Any, batch_idx: int) -> None:
        self.epochs[-1].append(batch["row"].tolist())


def weights(run: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_what_a_run_leaves(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    run = train_here(*TINY)
    for name in (
        "config.yaml",
        "environment.jsonl",
        "history.csv",
        "metrics.json",
        "predictions.csv",
        "train.log",
    ):
        assert (run / name).stat().st_size > 0, name
    for name in ("confusion.png", "curves.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG"), name
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert list(run.glob("events.out.tfevents.*"))

    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["num_samples"] == 280
    assert config["output_dir"] == str(run)
    with (run / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2"]
    for row in history:
        for split in ("train", "val"):
            for score in ("loss", "accuracy", "balanced_accuracy", "f1_macro", "f1/happy", "f1/disgust"):
                assert float(row[f"{split}/{score}"]) >= 0, (split, score)

    out = capfd.readouterr().out
    assert "synthetic: train 22" in out
    metrics = json.loads((run / "metrics.json").read_text())
    averages = {"macro precision": "precision_macro", "balanced accuracy": "balanced_accuracy", "macro F1": "f1_macro"}
    for name, key in averages.items():
        assert re.search(rf"{name} .*{metrics['val'][key]:.3f} .*{metrics['test'][key]:.3f} ", out), (name, out)
    assert f"run: {run}" in out
    # What is no terminal gets a line an epoch, without control codes, and so does the log, which holds the table too.
    text = (run / "train.log").read_text()
    for said in (out, text):
        assert re.search(r"epoch 1/2  loss \d\.\d{3}  val loss .* F1 0\.\d{3}  \(0:\d\d, 0:\d\d left\)\n", said), said
        assert re.search(r"epoch 2/2 .*\(0:\d\d\)\n", said), said
        assert "macro F1 " in said
        assert not {"\r", "\x1b"} & set(said)
    assert max(len(line) for line in out.splitlines() if line.startswith("epoch")) <= 80


def test_scores_are_those_of_the_predictions(train_here: Train) -> None:
    run = train_here(*TINY)
    metrics = json.loads((run / "metrics.json").read_text())
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == len(rows)
    for split in ("val", "test"):
        part = [row for row in rows if row["split"] == split]
        labels, predicted = [row["label"] for row in part], [row["predicted"] for row in part]
        assert metrics[split]["n"] == len(part)
        assert metrics[split]["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
        names = list(metrics[split]["per_class"])
        assert metrics[split]["confusion"] == confusion_matrix(labels, predicted, labels=names).tolist()
        per_class = f1_score(labels, predicted, labels=names, average=None, zero_division=0)
        assert [metrics[split]["per_class"][name]["f1"] for name in names] == pytest.approx(per_class)
        for row in part:
            p = [float(row[f"p_{name}"]) for name in names]
            assert sum(p) == pytest.approx(1, abs=1e-4)
            assert names[int(np.argmax(p))] == row["predicted"]
    # The best checkpoint is the best epoch's, and its score is that epoch's.
    with (run / "history.csv").open() as file:
        history = [float(row["val/f1_macro"]) for row in csv.DictReader(file)]
    assert metrics["best_score"] == pytest.approx(max(history))
    assert metrics["best_epoch"] == int(np.argmax(history)) + 1
    assert metrics["val"]["f1_macro"] == pytest.approx(metrics["best_score"], abs=1e-5)


def test_a_last_epoch_that_was_not_kept_has_no_scores(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    never = ("monitor=val/f1/disgust", "optimizer=sgd", "optimizer.lr=0.3")  # better than at first
    run = train_here(*TINY, *never, "callbacks.last=null")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["best_epoch"] == 1
    assert metrics["last_epoch"] == {"epoch": 2}
    assert "last epoch" not in capfd.readouterr().out


def test_it_learns(train_here: Train) -> None:
    run = train_here(*TINY, "data.num_samples=1400", "trainer.max_epochs=4", "transforms=none", "optimizer.lr=3e-3")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["val"]["accuracy"] > 0.35  # always "happy" would be 0.25


def test_same_seed_same_weights_other_seed_other_weights(train_here: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, compile_net = [], torch.nn.Module.compile

    def compile_eagerly(net: torch.nn.Module) -> None:  # generating code would take a compiler, and a minute
        compiled.append(net)
        compile_net(net, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_eagerly)
    first = train_here(*TINY, name="a")
    assert not compiled
    again = train_here(*TINY, "data.num_workers=2", "compile=true", name="b")
    assert compiled
    assert same(weights(first), weights(again))  # whatever the number of workers, and with the same keys
    assert not same(weights(first), weights(train_here(*TINY, "seed=1", name="c")))


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1.0", "loss=logit_adjusted"),
        ("scheduler=step", "scheduler.step_size=1", "optimizer=sgd"),
        ("scheduler=onecycle", "mixup=both", "callbacks=[default,ema]"),
        ("callbacks=[default,ema]", "callbacks.ema.decay=0.5", "callbacks.ema.update_starting_at_step=19"),
        ("trainer.accumulate_grad_batches=2", "trainer.max_steps=10", "+callbacks.kill.step=7"),
        ("model=simple_conv", "trainer.precision=bf16-mixed", "loss=focal"),  # small: many processors only imitate it
        ("model=simple_conv", "trainer.precision=bf16-true"),
        ("model=timm", "model.name=test_resnet", "data.image_size=32", "callbacks=[default,finetuning]"),
        ("data.sampler=weighted", "loss.class_weights=balanced", "trainer.gradient_clip_val=1"),
    ],
    ids=[
        "cosine", "plateau", "step", "onecycle-mixup-ema", "late-ema", "accumulation", "bf16-mixed",
        "bf16-true", "finetuning", "imbalance",
    ],
)  # fmt: skip
def test_resumed_run_equals_uninterrupted_run(train_here: Train, options: tuple[str, ...]) -> None:
    model = (
        "model=emotion_net",
        "data.image_size=16",
    )  # with dropout, which draws random numbers in each step
    kill = [o for o in options if "kill.step" in o] or ["+callbacks.kill.step=17"]
    recipe = (*TINY, *model, "trainer.max_epochs=4", *(o for o in options if "kill.step" not in o))
    whole = train_here(*recipe, name="whole")
    # Killed in its third epoch, a run has the second one's checkpoint.
    with pytest.raises(Killed):
        train_here(*recipe, "+callbacks.kill._target_=test_train.Kill", *kill, name="cut")
    cut = whole.parent / "cut"
    assert torch.load(cut / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    train_here(f"resume={cut}", "callbacks.kill=null")
    assert same(weights(whole), weights(cut))
    assert same(weights(whole, "best.ckpt"), weights(cut, "best.ckpt"))
    a, b = ((run / "history.csv").read_text() for run in (whole, cut))
    assert a == b
    # Their checkpoints are two files.
    own = {"checkpoint": "", "checkpoint_mark": ""}
    a, b = (json.loads((run / "metrics.json").read_text()) | own for run in (whole, cut))
    assert a == b


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        (("+trainer.overfit_batches=2",), [2, 2]),
        (("+trainer.reload_dataloaders_every_n_epochs=1", "trainer.limit_train_batches=4"), [4, 4]),
    ],
    ids=["overfit", "reload"],
)
def test_batches_of_each_epoch(train_here: Train, options: tuple[str, ...], batches: list[int]) -> None:
    note = ("+callbacks.note._target_=test_train.NoteRows", "data.batch_size=16", *options)
    NoteRows.epochs.clear()
    train_here(*TINY, *note)
    first, second = NoteRows.epochs
    assert [len(first), len(second)] == batches
    assert (first == second) == ("overfit" in options[0])
