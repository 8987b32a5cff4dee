"""Bars on a terminal, nothing of them in a file."""

import io
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fer import progress
from fer.training.progress import RunProgress, planned_epochs


class Terminal(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    return screen


def trainer(**values: Any) -> Any:
    return SimpleNamespace(**{
        "is_global_zero": True, "current_epoch": 0, "max_epochs": 10, "max_steps": -1, "num_training_batches": 50,
        "num_val_batches": [7], "check_val_every_n_epoch": 1, "accumulate_grad_batches": 1, "sanity_checking": False,
        "optimizers": [SimpleNamespace(param_groups=[])],
        "callback_metrics": {}, "strategy": SimpleNamespace(root_device=torch.device("cpu")), **values,
    })  # fmt: skip


def test_the_bar_is_of_the_whole_run_and_fits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = on_terminal(monkeypatch)  # here: pytest puts its own stderr in place when the test begins
    caplog.set_level("INFO")
    run, shown = trainer(current_epoch=2), RunProgress()
    shown.on_train_start(run, SimpleNamespace())
    shown.on_train_epoch_start(run, SimpleNamespace())
    assert shown._bar.total == 570
    assert shown._bar.n == 114  # resumed after two epochs
    for _ in range(50):
        shown.on_train_batch_end(run, SimpleNamespace(), {"loss": torch.tensor(1.5)})
    for _ in range(7):
        shown.on_validation_batch_end(run)
    shown.on_validation_end(run, SimpleNamespace())
    shown._bar.refresh()
    assert shown._bar.n == 171
    line = terminal.getvalue().split("\r")[-1]
    assert line.startswith("epoch 3/10 ")
    assert "30 %" in line
    assert "left, loss 1.500" in line
    assert len(line) <= 80
    run.callback_metrics = {"train/loss": torch.tensor(1.0), "val/loss": 2.0, "val/accuracy": 0.5, "val/f1_macro": 0.25}
    run.current_epoch = 3
    shown.on_train_epoch_start(run, SimpleNamespace())
    shown.on_train_end(run, SimpleNamespace())
    assert "epoch  3/10  loss 1.000  val loss 2.000  acc 0.500  F1 0.250  (0:00, 0:00 left)" in caplog.text
    assert "epoch  4/10  loss 1.000  (" in caplog.text  # which has no validation, and no scores of the one before


def test_no_bar_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.bar("decoding", 100) as shown:
        shown.update()
    with progress.step("near copies"):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("values", "epochs"),
    [({}, 10), ({"max_steps": 120}, 3), ({"max_epochs": -1}, 0), ({"max_steps": 60, "accumulate_grad_batches": 2}, 3)],
)
def test_planned_epochs(values: dict[str, Any], epochs: int) -> None:
    assert planned_epochs(trainer(**values)) == epochs


def test_clock() -> None:
    assert [progress.clock(seconds) for seconds in (5, 65, 3665)] == ["0:05", "1:05", "1:01:05"]


def test_bars_come_without_torch() -> None:
    code = "import sys, fer.progress, fer.data.images; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout == "False\n", done.stderr
