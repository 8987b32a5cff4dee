"""fer.report: runs and their tests side by side."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY
from scipy.stats import binomtest

Here = Callable[..., Path]


@pytest.fixture
def two_runs(train_here: Here, run_here: Here) -> tuple[Path, Path]:
    first = train_here(*TINY, name="runs/first")
    second = train_here(*TINY, "model=timm", "model.name=test_resnet", name="runs/second")
    for run in (first, second):
        run_here(
            "fer.test", f"ckpt={run}", "data=synthetic", "data.num_samples=300", "data.generator_seed=5",
            "accelerator=cpu", "progress=false", name=f"tests/{run.name}",
        )  # fmt: skip
    return first, second


def answers(folder: Path, split: str) -> dict[str, bool]:
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["id"]: row["label"] == row["predicted"] for row in csv.DictReader(file) if row["split"] == split}


def test_two_runs_and_their_tests(
    two_runs: tuple[Path, Path], run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = run_here("fer.report", f"runs=[{tmp_path}/runs,{tmp_path}/tests]", name="report")
    with (report / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = {run.name: json.loads((run / "metrics.json").read_text()) for run in two_runs}
    best = max(metrics, key=lambda name: metrics[name]["best_score"])
    assert [row["run"] for row in rows] == [best, *(name for name in metrics if name != best)]
    for row in rows:
        own = metrics[row["run"]]
        tested = json.loads((tmp_path / "tests" / row["run"] / "metrics.json").read_text())
        assert row["val"] == f"{own['val']['accuracy']:.3f}"
        assert row["test"] == f"{own['test']['accuracy']:.3f}"
        assert row["val, last epoch"] == f"{own['last_epoch']['val']['accuracy']:.3f}"
        assert "test, last epoch" not in row
        assert row["synthetic test"] == f"{tested['test']['accuracy']:.3f}"
        with (tmp_path / "runs" / row["run"] / "history.csv").open(newline="") as file:
            history = list(csv.DictReader(file))
        assert row["train"] == f"{float(history[own['best_epoch'] - 1]['train/accuracy']):.3f}"
    assert {row["run"]: row["model"] for row in rows} == {"first": "simple_conv", "second": "test_resnet"}
    order = [next(run for run in two_runs if run.name == row["run"]) for row in rows]
    first, second = (answers(run, "test") for run in order)
    only = sum(first[i] and not second[i] for i in first), sum(second[i] and not first[i] for i in first)
    p = f"{binomtest(only[0], sum(only), 0.5).pvalue:.2g}"
    markdown = (report / "report.md").read_text()
    assert f"| test | {len(first)} | {only[0]} | {only[1]} | {p} |" in markdown
    assert f"{metrics[best]['test']['per_class']['happy']['f1']:.3f}" in markdown
    html = (report / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 2
    assert "http" not in html.replace("http-equiv", "")  # nothing is fetched from anywhere
    assert "McNemar" in capfd.readouterr().out


def test_the_last_epoch_stands_beside_the_best(train_here: Here) -> None:
    # With lr 0 nothing changes: every epoch is as good, and the first is the best.
    run = train_here(*TINY, "optimizer.lr=1e-30", "scheduler=constant")
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["best_epoch"], metrics["last_epoch"]["epoch"]) == (1, 2)
    assert metrics["last_epoch"]["val"]["accuracy"] == metrics["val"]["accuracy"]
    assert "test" not in metrics["last_epoch"], "the test split is scored once"
    assert metrics["stamp"] is None
    other = train_here(
        *TINY, "test_last_epoch=true", "optimizer.lr=0.3", "optimizer=sgd", "monitor=val/f1/disgust", name="other"
    )
    metrics = json.loads((other / "metrics.json").read_text())
    assert metrics["last_epoch"]["epoch"] == 2
    assert metrics["last_epoch"]["test"]["n"] == metrics["test"]["n"]
    assert metrics["stamp"].startswith("TEST SCORED TWICE")


@pytest.mark.parametrize(
    ("arg", "said"),
    [
        ("runs=nowhere", "there is no such folder"),
        ("runs=empty", "no metrics.json in it"),
        ("runs=broken", "cannot be read"),
        ("score=f1_weighted", "must be one of accuracy, balanced_accuracy, f1_macro"),  # no epoch logs it
    ],
)
def test_errors(run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str], arg: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metrics.json").write_text('{"best_score": ')
    with pytest.raises(SystemExit) as end:
        run_here("fer.report", arg)
    assert end.value.code == 2
    assert said in capfd.readouterr().err
