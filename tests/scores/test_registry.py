"""A score is one entry and its formula: everything else follows."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import REPO, TINY
from sklearn.metrics import cohen_kappa_score

from fer.scores import registry
from fer.scores.metrics import Confusion, Corrupted, Probabilities
from fer.scores.registry import SCORES, Score


def test_every_score_has_its_formula() -> None:
    for score in SCORES.values():
        home = {"confusion": Confusion, "probabilities": Probabilities, "corrupted": Corrupted}.get(score.source)
        assert home is None or callable(getattr(home, score.name)), score.name
        assert score.name == "loss" or home is not None
        assert not (score.each_epoch and score.source == "probabilities"), "an epoch keeps no probabilities"


def test_the_configs_name_the_scores() -> None:
    train, report = ((REPO / "conf" / f"{name}.yaml").read_text() for name in ("train", "report"))
    assert ", ".join(f"val/{name}" for name in [*registry.each_epoch(), "f1/<class>"]) in train
    assert re.search(rf"^score: .* {' [|] '.join(registry.reported())}$", report, re.MULTILINE)


def kappa_error(confusion: Confusion) -> npt.NDArray[np.float64]:
    """Return 1 minus Cohen's kappa: how far the answers are from the labels, chance taken out."""
    n = confusion.support.sum(-1)
    chance = (confusion.support * confusion.predicted).sum(-1) / n**2
    error: npt.NDArray[np.float64] = (1 - confusion.hits.sum(-1) / n) / (1 - chance)
    return error


def test_a_new_score_is_an_entry_and_its_formula(
    train_here: Callable[..., Path],
    run_here: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    entry = Score("kappa_error", "kappa error", lower_is_better=True, each_epoch=True, headline=True, averages="recall")
    monkeypatch.setitem(SCORES, "kappa_error", entry)
    monkeypatch.setattr(Confusion, "kappa_error", kappa_error, raising=False)

    # It is logged, chooses the best checkpoint (the lowest), and is scored.
    run = train_here(*TINY, "monitor=val/kappa_error", name="runs/first")
    with (run / "history.csv").open() as file:
        best = min(float(row["val/kappa_error"]) for row in csv.DictReader(file))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["best_score"] == pytest.approx(best)
    with (run / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    expected = 1 - cohen_kappa_score([row["label"] for row in rows], [row["predicted"] for row in rows])
    assert metrics["val"]["kappa_error"] == pytest.approx(expected)
    low, high = metrics["val"]["kappa_error_95"]
    assert low <= metrics["val"]["kappa_error"] <= high
    assert re.search(rf"kappa error +{metrics['val']['kappa_error']:.3f} ", capfd.readouterr().out)

    # A test shows it, and a report can be made by it: the lowest first.
    run_here("fer.test", "ckpt=runs/first", "resamples=0", "mistakes=0", name="tests/first")
    assert "kappa error" in capfd.readouterr().out
    worse = Path("runs/second")
    worse.mkdir()
    metrics["val"] = {**metrics["val"], "kappa_error": metrics["val"]["kappa_error"] + 0.5}
    (worse / "metrics.json").write_text(json.dumps(metrics))
    run_here("fer.report", "runs=[runs,tests]", "score=kappa_error", name="report")
    with Path("report/report.csv").open() as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["first", "second"]
