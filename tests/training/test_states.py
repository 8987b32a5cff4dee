"""Optimiser, schedule, averaged weights and loops of a checkpoint: what does not fit is refused in words."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import TINY, composed

from fer.errors import ConfigError
from fer.training import states
from fer.training.optim import GROUPING, build_optimizer, parameter_groups

Edit = Callable[[dict[str, Any]], Any]


def kept(key: str, value: Any) -> Edit:
    """Change what the optimiser keeps of the first weights."""
    return lambda c: c["optimizer_states"][0]["state"][0].update({key: value})


def group(**values: Any) -> Edit:
    return lambda c: c["optimizer_states"][0]["param_groups"][0].update(values)


def schedule(**values: Any) -> Edit:
    return lambda c: c["lr_schedulers"][0].update(values)


def loop(*path: str, value: Any) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        place = content["loops"]["fit_loop"]
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return edit


WRONG: dict[str, tuple[Edit, str]] = {
    "another shape": (kept("exp_avg", torch.zeros(3, 10)), "exp_avg of shape [3, 10] of weights number 0, which needs"),
    "not a number": (kept("exp_avg", torch.full((10, 1, 3, 3), math.nan)), "exp_avg of weights number 0, holds values"),
    "negative squares": (kept("exp_avg_sq", torch.tensor(-1.0)), "holds negative values"),
    "no steps": (lambda c: c["optimizer_states"][0]["state"][0].pop("step"), "lack step of weights number 0"),
    "a text": (kept("exp_avg", "x"), "lack exp_avg of weights number 0"),
    "weights that are not there": (
        lambda c: c["optimizer_states"][0]["state"].update({99: {"step": torch.tensor(1.0)}}), "weights number 99",
    ),
    "a group less": (lambda c: c["optimizer_states"][0]["param_groups"].pop(), "of other groups of weights"),
    "no optimiser": (lambda c: c["optimizer_states"].clear(), "its optimizer_states are 0, and this run has 1"),
    "upwards": (group(maximize=True), "maximize=True of group 0, and the run False"),
    "a rate that is text": (group(lr="x"), "lr=x of group 0"),
    "a negative rate": (group(lr=-1.0), "lr=-1.0 of group 0"),
    "another decay": (group(weight_decay=7.0), "weight_decay=7.0 of group 0"),
    "three betas": (group(betas=(0.9, 0.9, 0.9)), "betas="),
    "another base rate": (schedule(base_lrs=[9.0, 9.0]), "its lr_schedulers say base_lrs=[9.0, 9.0]"),
    "one base rate": (schedule(base_lrs=[0.001]), "base_lrs=[0.001]"),
    "a schedule's method": (schedule(step=3), "its lr_schedulers say step=3"),
    "before the beginning": (schedule(last_epoch=-5), "last_epoch=-5"),
    "loops that are text": (loop("epoch_progress", value="x"), "its loops, which count epochs and steps"),
    "a negative count": (loop("epoch_progress", "total", "ready", value=-1), "its loops, which count epochs and steps"),
    "far ahead": (loop("epoch_progress", "current", "completed", value=900), "its loops count 900 where its epoch is"),
    "averages": (
        lambda c: c["averaging_state"].update(n_averaged=torch.tensor(math.nan)), "its averaging_state, n_averaged,",
    ),
    "trained weights": (
        lambda c: next(iter(c["current_model_state"].values())).fill_(math.inf), "its current_model_state, net.",
    ),
}  # fmt: skip


def content_of(run: Path) -> dict[Path, bytes]:
    """Return a run's files; each attempt adds lines to its log, and an empty file of events."""
    files = (path for path in run.rglob("*") if path.is_file() and path.suffix != ".log")
    return {path: path.read_bytes() for path in files if "events.out" not in path.name}


class TriesEach(pl.Callback):
    """Compares each wrong checkpoint with a run that is about to go on, and writes down what is said."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        good = torch.load(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt", weights_only=True)
        for name, (edit, _) in WRONG.items():
            content = copy.deepcopy(good)
            edit(content)
            with pytest.raises(ConfigError) as error:
                states.check(content, trainer, pl_module.hparams["optimizer"])
            assert "\n" not in str(error.value)
            Path("said", name).write_text(str(error.value))


def test_each_is_one_sentence_and_the_run_stays_as_it_was(
    train_here: Callable[..., Path], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = train_here(*TINY, "trainer.max_epochs=1", "callbacks=[default,ema]", "data.num_samples=140")
    last = run / "checkpoints" / "last.ckpt"
    good = torch.load(last, weights_only=True)
    content = copy.deepcopy(good)
    WRONG["another shape"][0](content)
    torch.save(content, last)
    before = content_of(run)
    with pytest.raises(SystemExit) as ended:
        train_here(f"resume={run}", "trainer.max_epochs=2")
    assert ended.value.code == 2
    assert f"ckpt={last}: cannot be gone on from: its optimizer_states hold exp_avg of" in capfd.readouterr().err
    assert content_of(run) == before

    torch.save(good, last)
    (tmp_path / "said").mkdir()
    train_here(f"resume={run}", "trainer.max_epochs=2", "+callbacks.tries._target_=test_states.TriesEach")
    assert torch.load(last, weights_only=True)["epoch"] == 1
    for name, (_, said) in WRONG.items():
        assert said in (tmp_path / "said" / name).read_text(), name


@pytest.mark.parametrize("name", ["sgd", "muon", "adafactor", "lion", "adam"])
def test_the_states_of_any_optimiser_pass(name: str) -> None:
    """Of factors, momenta and matrices alike: a state that was saved is one that is taken up."""
    node = composed(f"optimizer={name}" if name in ("sgd", "muon", "adam") else "optimizer=timm", *(
        () if name in ("sgd", "muon", "adam") else (f"optimizer.name={name}",)
    ))["optimizer"]  # fmt: skip
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(130, 140))
    groups = {key: node[key] for key in GROUPING}
    optimizer = build_optimizer(node, parameter_groups(net, **groups))
    for _ in range(2):
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    states._check_optimizer(build_optimizer(node, parameter_groups(net, **groups)), optimizer.state_dict(), node)
