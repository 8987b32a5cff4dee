"""The experiment that a sweep leaves: its best job's config, or the choice that is best over seeds and folds."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import composition
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from fer.cli import sweep, sweep_best, sweep_jobs
from fer.files import run_folder, run_record

MINE = """# @package _global_
defaults:
  - optuna_lr
  - _part
  - override /model: simple_conv
  - override /callbacks: [default, early_stopping]
  - override /hydra/sweeper/sampler: random
  - _self_

data:
  label_map: {happy: joy}
optimizer:
  lr: 1e-5
select_by: gap
"""
PART = """# @package _global_
defaults:
  - override /transforms: flip_rotate

model:
  dropout: 0.3
optimizer:
  weight_decay: ${optimizer.lr}
"""


def job(folder: Path, overrides: Sequence[str], score: float = 0.5, gap: float = 0.0, image: str = "a.png") -> None:
    """Leave what a finished job leaves, but for its config."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    found = {"monitor": "val/f1_macro", "best_score": score, "best_epoch": 2, "stamp": None, "tta": "none"}
    (folder / "metrics.json").write_text(json.dumps(found | {"val": {"accuracy": score, "f1_macro": score}}))
    (folder / "history.csv").write_text(f"epoch,train/loss,val/loss\n2,1,{1 + gap}\n")
    (folder / "predictions.csv").write_text(f"split,id,label,predicted,p_happy\nval,{image},happy,happy,1\n")


def config(*overrides: str) -> dict[str, Any]:
    """Return a resolved config without what belongs to a sweep."""
    whole = composition(*overrides)
    whole.get("callbacks", {}).pop("pruning", None)
    resolved = OmegaConf.to_container(whole, resolve=True)
    assert isinstance(resolved, dict)
    return resolved


def report(folder: Path, monkeypatch: pytest.MonkeyPatch, select_by: str = "score") -> dict[str, Any]:
    monkeypatch.setattr(sweep, "_folder", folder)
    monkeypatch.setattr(sweep, "_select_by", select_by)
    sweep.report()
    written: dict[str, Any] = yaml.safe_load((folder / "experiment" / "best.yaml").read_text())
    return written


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=three_classes_vgg16", "transforms=none", "sweep=adam_eps", "optimizer.eps=0.1"],
        ["sweep=cnn_search", "model.filters=[64,128]", "optimizer.lr=0.002"],
        ["sweep=mine", "optimizer.eps=0.1", "seed=3"],
        ["sweep=mine", "model=cnn", "model.dropout=0.1", "~optimizer.weight_decay", "optimizer.lr=0.01"],
        ["experiment=[fer2013_minute,three_classes_vgg16]", "callbacks=[default,ema]", "optimizer.eps=0.1"],
        ["callbacks=[default,early_stopping]", "~callbacks.early_stopping", "~transforms.erase", "transforms=strong"],
    ],
)
def test_the_experiment_is_the_jobs_config_with_all_that_its_sweep_set(tmp_path: Path, overrides: list[str]) -> None:
    (tmp_path / "my own" / "sweep").mkdir(parents=True)
    (tmp_path / "my own" / "sweep" / "mine.yaml").write_text(MINE)
    (tmp_path / "my own" / "sweep" / "_part.yaml").write_text(PART)
    own, run = f"hydra.searchpath=['{tmp_path}/my own']", tmp_path / "swept" / "0"
    job(run, overrides)
    trained = config(*overrides, own)
    run_folder.write_config(run, trained)
    choices = {str(group): choice for group, choice in HydraConfig.get().runtime.choices.items()}
    run_record.write(run, run_record.RunRecord(overrides, searchpath=[own], choices=choices))

    (tmp_path / "my own" / "sweep" / "mine.yaml").write_text(MINE.replace("1e-5", "1e-3"))  # edited since
    sweep_best.write_best(run.parent, sweep_jobs.collect(run.parent), 1, "score")
    text = (run.parent / "experiment" / "best.yaml").read_text()
    assert "pruning" not in text
    assert "hydra/" not in text
    said = next(line for line in text.splitlines() if line.startswith("# Command:"))
    *_, flag, folder, best, where = (part for part in shlex.split(said) if not part.startswith("~"))
    assert (flag, folder, best) == ("--config-dir", str(run.parent), "experiment=best")
    assert where == f'hydra.searchpath=["{tmp_path}/my own"]'
    left = [part for part in shlex.split(said) if part.startswith("~")]
    assert left == [override for override in overrides if override.startswith("~")]
    again = config(best, where.replace("[", f'["{folder}",'), *left)
    assert again == trained
    assert HydraConfig.get().mode is None  # one run


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("sweep=gone", "sweep=gone: there is no sweep/gone.yaml"),
        ("experiment=best", "the jobs build on experiment=best"),  # its file would name itself
    ],
)
def test_where_no_experiment_can_be_left_the_sweep_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], override: str, why: str
) -> None:
    job(tmp_path / "0", [override, "optimizer.lr=0.1"])
    with pytest.raises(FileNotFoundError, match=r"best\.yaml"):
        report(tmp_path, monkeypatch)
    assert f"job 0; no experiment=best: {why}" in capsys.readouterr().out


def test_the_command_that_trains_the_best_again_leaves_out_what_the_job_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for lr in (0.1, 0.2):
        job(tmp_path / str(lr), [f"optimizer.lr={lr}", "~transforms.erase=null", "~loss.label_smoothing=0.1"], score=lr)
    report(tmp_path, monkeypatch)
    said = capsys.readouterr().out
    assert f"{tmp_path} experiment=best '~transforms.erase' '~loss.label_smoothing=0.1'\n" in said


# Scores and gaps of three seeds: the first has the luckiest one, the second the best mean, the third the smallest gaps.
RATES = {
    "0.1": [(0.9, 0.4), (0.3, -0.4), (0.3, 0.9)],
    "0.2": [(0.6, 0.5), (0.6, 0.5), (0.5, 0.5)],
    "0.3": [(0.5, 0.2), (0.5, 0.2), (0.6, 0.3)],
    "0.4": [(0.1, 0.0), (0.1, 0.0), (0.1, 0.0)],
}


def repeats(folder: Path, key: str = "seed") -> None:
    for rate, seeds in RATES.items():
        for seed, (score, gap) in enumerate(seeds):
            job(folder / f"{rate}-{seed}", [f"optimizer.lr={rate}", f"{key}={seed}", "data.folds=5"], score, gap)


@pytest.mark.parametrize(("select_by", "chosen"), [("score", "0.2"), ("gap", "0.3")])
@pytest.mark.parametrize(("key", "name"), [("seed", "seeds"), ("data.fold", "folds")])
def test_choices_are_compared_by_their_means_over_seeds_or_folds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    name: str,
    select_by: str,
    chosen: str,
) -> None:
    repeats(tmp_path, key)
    written = report(tmp_path, monkeypatch, select_by)
    assert written == {"defaults": ["_self_"], "optimizer": {"lr": float(chosen)}, "data": {"folds": 5}}
    said = capsys.readouterr().out
    assert f"best by the mean {select_by} of 3 {name}: jobs {chosen}-" in said
    assert "not compared" not in said
    means = {"0.2": "0.5667", "0.3": "0.5333"}
    head = f"# The best of 12 jobs by the mean {select_by} of 3 {name}: val/f1_macro {means[chosen]}.\n"
    assert head in (tmp_path / "experiment" / "best.yaml").read_text()


def test_the_lowest_mean_is_the_best_of_a_loss(tmp_path: Path) -> None:
    repeats(tmp_path)
    for path in tmp_path.glob("*/metrics.json"):
        path.write_text(path.read_text().replace("val/f1_macro", "val/loss"))
    best = sweep_best.choose(sweep_jobs.collect(tmp_path), ["optimizer.lr", "seed"], "score")
    assert {row["overrides"]["optimizer.lr"] for row in best} == {"0.4"}


def test_choices_with_fewer_finished_repeats_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repeats(tmp_path)
    (tmp_path / "0.2-2" / "metrics.json").unlink()
    written = report(tmp_path, monkeypatch)
    assert written["optimizer"]["lr"] == 0.3
    said = capsys.readouterr().out
    assert "not compared: optimizer.lr=0.2, of which 2 of 3 jobs have a score\n" in said
    assert said.count("not compared") == 1


def test_a_seed_that_every_job_had_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in (0.1, 0.2):
        for fold in (0, 1):
            job(tmp_path / f"{rate}-{fold}", [f"optimizer.lr={rate}", f"data.fold={fold}", "seed=5"], rate)
    assert report(tmp_path, monkeypatch) == {"defaults": ["_self_"], "optimizer": {"lr": 0.2}, "seed": 5}


def test_means_of_other_folds_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first fold is easy: a choice that lacks it would look worse than it is."""
    scores = {"0.1": {0: 0.9, 1: 0.6}, "0.2": {1: 0.65, 2: 0.65}, "0.3": {0: 0.8, 1: 0.5}}
    for rate, folds in scores.items():
        for fold, score in folds.items():
            job(tmp_path / f"{rate}-{fold}", [f"optimizer.lr={rate}", f"data.fold={fold}"], score, image=f"{fold}.png")
    assert report(tmp_path, monkeypatch)["optimizer"]["lr"] == 0.1
    assert "not compared: optimizer.lr=0.2, of which 1 of 2 jobs have a score\n" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["seed", None])
def test_scores_on_other_images_call_no_job_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str | None
) -> None:
    for number, image in enumerate(("a.png", "b.png")):
        for seed in (0, 1) if key else (0,):
            job(tmp_path / f"{number}{seed}", [f"data.split_seed={number}", f"seed={seed}"], image=f"{seed}{image}")
    monkeypatch.setattr(sweep, "_folder", tmp_path)
    sweep.report()
    said = capsys.readouterr().out
    assert "no job is called the best: their scores are of different validation images or classes\n" in said
    assert not (tmp_path / "experiment").exists()


def test_a_gap_that_is_not_known_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rate in (0.1, 0.2):
        job(tmp_path / str(rate), [f"optimizer.lr={rate}"], score=rate)
        (tmp_path / str(rate) / "history.csv").unlink()
    assert report(tmp_path, monkeypatch, "gap")["optimizer"]["lr"] == 0.2
    assert "best by score (no gap is known: history.csv has none): job 0.2" in capsys.readouterr().out
