"""What is typed from habit, from other programs or wrongly: answered before torch, with what was meant."""

import sys
from typing import Any

import pytest

from fer import build
from fer.cli import hints, run_check
from fer.errors import ConfigError
from fer.scores.registry import lower_is_better


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            ["--epochs", "3"],
            "--epochs: there is no such flag. Options are written key=value, without dashes: t",
        ),
        (["--lr=0.1"], "without dashes: optimizer.lr=0.1."),
        (["--batch-size", "32"], "without dashes: data.batch_size=32."),
        (["--verbose"], "--verbose: there is no such flag."),
        (["-e", "3"], "-e: there is no such flag."),
        (["callbacks=null"], "callbacks=null: one must be chosen. callbacks=default is the least"),
        (["logger=null"], "Choose logger=none to do without."),
        (["callbacks=null"], "switch one of its parts off with callbacks.<name>=null"),
        (["mixup=null"], "Choose mixup=none to do without."),
        (["model=[cnn]"], "model=[cnn]: one can be chosen, not a list: model=<name>."),
        (["data=[fer2013,rafdb]"], "data=combined data.datasets=[fer2013,rafdb]"),
        (["output_dir=x", "-m", "seed=1,2"], "output_dir=x: all jobs of a sweep would write into this one folder."),
        (["sweep=head_lr", "output_dir=x"], "in which each job has its own: hydra.sweep.dir=x"),
    ],
    ids=lambda value: value[0],
)
def test_what_hydra_would_answer_with_its_usage_or_a_traceback(
    monkeypatch: pytest.MonkeyPatch, args: list[str], expected: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["fer.train", *args])
    with pytest.raises(ConfigError) as error:
        hints.refuse(args, "train")
    assert expected in str(error.value)


def test_flags_of_hydra_and_choices_of_none_pass() -> None:
    hints.refuse(["-m", "-cd", "x", "--cfg", "job", "experiment=null", "callbacks=[default,ema]"], "train")
    hints.refuse(["data=null"], "test")
    hints.refuse(["-m", "seed=1,2", "output_dir=out/${seed}"], "train")
    hints.refuse(["output_dir=x"], "train")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Could not override 'lr'.", "lr: there is no such key. Did you mean 'optimizer.lr'?"),
        ("Could not override 'epochs'.", "Did you mean 'trainer.max_epochs'?"),
        ("Could not override 'batch_size'.", "Did you mean 'data.batch_size'?"),
        ("Could not override 'root'.", "Did you mean 'data.root'?"),
        ("Could not override 'data.batch_size'.", "One that is to be new in it is written +data.batch_size.<key>=..."),
        (
            "Ambiguous value for argument 'data.classes=happy,sad'\n1. To use it as a list, use key=[value1,value2]",
            "data.classes=happy,sad: several values are a sweep, with -m; one list is data.classes=[happy,sad]",
        ),
        ("Could not override 'nonsense'.", "nonsense: there is no such key."),
        ("In 'train': Could not load 'callbacks/emma'.\n\nConfig search path:", "callbacks=emma: no such option. Did"),
        (
            "In 'train': Could not find 'hydra/sweeper/optuna'",
            "hydra/sweeper=optuna: this needs the package optuna, which is not installed: pip install 'fer-lightning",
        ),
        ("Could not find 'hydra/launcher/submitit_slurm'", "pip install 'fer-lightning[cluster]'"),
        ("Could not find 'hydra/launcher/ray'", "pip install hydra-ray-launcher"),
        ("Error in call to target 'x': No module named 'optuna'", "needs the package optuna"),
    ],
)  # fmt: skip
def test_hydras_messages_are_explained(monkeypatch: pytest.MonkeyPatch, message: str, expected: str) -> None:
    monkeypatch.setattr(sys, "argv", ["fer.train"])
    assert expected in hints.explain(message, "train")


def test_a_class_named_loss_is_no_loss() -> None:
    assert lower_is_better("val/loss")
    assert lower_is_better("train/loss")
    assert not lower_is_better("val/f1/loss")
    assert not lower_is_better("val/f1/closs")


@pytest.mark.parametrize("kind", [TypeError, ValueError, RuntimeError, AssertionError, KeyError, ZeroDivisionError])
def test_a_constructor_that_raises_ends_as_a_sentence(monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    class Strict:
        def __init__(self, depth: int = 1, width: int = 1) -> None:
            raise kind("depth must be even")

    monkeypatch.setattr(build, "Strict", Strict, raising=False)
    node: dict[str, Any] = {"_target_": "fer.build.Strict", "depth": 3, "width": 8}
    with pytest.raises(ConfigError) as error:
        build.build(node, "callbacks.mine")
    assert "refuses its options" in str(error.value)
    assert "callbacks.mine.depth=3" in str(error.value)
    assert "width" not in str(error.value)


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"val_check_interval": 1000}, "trainer.val_check_interval=1000: an epoch has 10 batches."),
        ({"val_check_interval": 1000, "check_val_every_n_epoch": None}, "the training ends after 20 batches"),
        ({"max_steps": 9}, "trainer.max_steps=9: the training ends before the first validation"),
        ({"max_steps": 2, "accumulate_grad_batches": 4}, "An epoch has 3 steps. Say trainer.max_steps=3 or more"),
        ({"accumulate_grad_batches": 11}, "trainer.accumulate_grad_batches=11: an epoch has 10 batches, whose"),
        ({"limit_train_batches": None, "limit_val_batches": None}, None),
        ({"limit_train_batches": 0.05}, "trainer.limit_train_batches=0.05: is less than one of the 10 batches."),
        ({"limit_val_batches": 0.2}, "trainer.limit_val_batches=0.2: is less than one of the 2 batches."),
        ({"max_steps": 8}, "Say trainer.max_steps=10 or more, or +trainer.val_check_interval=2."),
        ({"val_check_interval": 0.4}, "4 batches do not divide an epoch's 10, so the best checkpoint, written when an"),
        ({"val_check_interval": 0.4}, "Say +trainer.val_check_interval=5."),
        ({"val_check_interval": 4, "limit_train_batches": 7}, "do not divide an epoch's 7"),
        ({"val_check_interval": 4, "limit_train_batches": 7}, "Leave it out."),
        ({"val_check_interval": 15, "check_val_every_n_epoch": None}, "Say +trainer.val_check_interval=10."),
        ({"val_check_interval": 2, "max_steps": 13}, "trainer.max_steps=13: the training ends within an epoch, after"),
        ({"val_check_interval": 2, "max_steps": 13}, "Say trainer.max_steps=10."),
        ({"val_check_interval": 2, "max_steps": 33}, None),  # the last epoch comes before
        ({"val_check_interval": 2, "max_steps": 7, "accumulate_grad_batches": 2}, None),
        ({"val_check_interval": 5, "max_steps": 13}, None),
        ({"val_check_interval": 2, "max_steps": 11}, None),
        ({"val_check_interval": 2, "max_steps": 13, "check_val_every_n_epoch": 3, "max_epochs": 9}, "before the first"),
        ({"val_check_interval": 2, "max_steps": 33, "check_val_every_n_epoch": 3, "max_epochs": 9}, None),
        ({"val_check_interval": 0.5, "max_epochs": -1}, None),
        ({"max_steps": 9, "fast_dev_run": True}, None),
        ({"max_steps": 10}, None),
        ({"max_steps": 3, "accumulate_grad_batches": 4}, None),
        ({"max_steps": 5, "val_check_interval": 5}, None),
        ({"max_steps": 5, "val_check_interval": 0.5}, None),
        ({"max_steps": 4, "limit_train_batches": 4}, None),
        ({"val_check_interval": 20, "check_val_every_n_epoch": None}, None),
    ],
    ids=str,
)
def test_a_training_without_validation_at_its_epochs_ends_is_refused_before_it(
    trainer: dict[str, Any], expected: str | None
) -> None:
    options = {"max_epochs": 2, "check_val_every_n_epoch": 1, **trainer}
    if expected is None:
        run_check.refuse_too_short(options, train=10, val=2)
        return
    with pytest.raises(ConfigError) as error:
        run_check.refuse_too_short(options, train=10, val=2)
    assert expected in str(error.value)
