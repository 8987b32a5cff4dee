"""Loggers beside TensorBoard: each gets the scores, choices, figures and files of a run, without a network."""

import csv
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import WITH_PICTURES

OPTIONS = (*WITH_PICTURES, "trainer.log_every_n_steps=2", "trainer.max_epochs=1")


def test_wandb_and_mlflow_get_the_whole_run_and_go_on_with_it(
    train_here: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = train_here(*OPTIONS, "logger=[default,wandb,mlflow]")
    train_here(f"resume={run}", "trainer.max_epochs=2")
    accuracy = json.loads((run / "metrics.json").read_text())["test"]["accuracy"]

    offline = sorted((run / "wandb").glob("offline-run-*"))
    assert len(offline) == 2  # a part for each time, which wandb sync joins
    assert len({path.name.rpartition("-")[2] for path in offline}) == 1  # by the run's id
    files = offline[-1] / "files"
    assert {"metrics.json", "predictions.csv", "confusion.png", "curves.png"} <= {path.name for path in files.iterdir()}
    assert list((files / "media/images/val").glob("confusion_*.png"))

    with sqlite3.connect(tmp_path / "outputs/mlflow.db") as database:
        runs = database.execute("select run_uuid, status, artifact_uri from runs").fetchall()
        latest = dict(database.execute("select key, value from latest_metrics").fetchall())
        steps = {row[0] for row in database.execute("select step from metrics where key = 'val/accuracy'")}
        params = dict(database.execute("select key, value from params").fetchall())
        tags = dict(database.execute("select key, value from tags").fetchall())
    assert len(runs) == 1  # the resumed run is the same
    assert runs[0][0] == (run / "mlflow_run_id.txt").read_text().strip()
    assert latest["final/test_accuracy"] == pytest.approx(accuracy)
    assert len(steps) == 2
    assert params["model"] == "simple_conv"
    assert (params["trainer.max_epochs"], tags["resumed.trainer.max_epochs"]) == ("1", "2")
    kept = {path.name for path in Path(runs[0][2]).rglob("*")}
    assert {"metrics.json", "predictions.csv", "step_000000.png"} <= kept


def test_tables_alone(train_here: Callable[..., Path]) -> None:
    run = train_here(*OPTIONS, "logger=csv")
    with (run / "csv/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["train/loss_step"]] == ["1", "3", "5"]
    assert (run / "history.csv").exists()
    assert not list(run.glob("events.out.*"))


def test_no_logger(train_here: Callable[..., Path]) -> None:
    run = train_here(*OPTIONS, "logger=none")
    assert not list(run.glob("events.out.*"))
    assert not (run / "history.csv").exists()
    assert json.loads((run / "metrics.json").read_text())["test"]["n"] > 0
