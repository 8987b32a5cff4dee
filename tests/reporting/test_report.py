"""fer.report: runs and their tests side by side."""

import csv
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import REPO, TINY, Run
from fakes import write_image
from fakes_report import dataset, make_run, make_test
from scipy.stats import binomtest

from fer.data.corruptions import KINDS

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


def table_of(report: Path) -> list[dict[str, str]]:
    with (report / "report.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_runs_and_their_tests(
    two_runs: tuple[Path, Path], run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = run_here("fer.report", f"runs=[{tmp_path}/runs,{tmp_path}/tests]", name="report")
    rows = table_of(report)
    metrics = {run.name: json.loads((run / "metrics.json").read_text()) for run in two_runs}
    best = max(metrics, key=lambda name: metrics[name]["val"]["accuracy"])
    assert [row["run"] for row in rows] == [best, *(name for name in metrics if name != best)]
    (tested_on,) = {key for key in rows[0] if key.startswith("synthetic") and key.endswith("test")}
    for row in rows:
        own = metrics[row["run"]]
        tested = json.loads((tmp_path / "tests" / row["run"] / "metrics.json").read_text())
        assert row["val"] == f"{own['val']['accuracy']:.3f}"
        assert row["test"] == f"{own['test']['accuracy']:.3f}"
        assert row["val, last epoch"] == f"{own['last_epoch']['val']['accuracy']:.3f}"
        assert "test, last epoch" not in row
        assert row[tested_on] == f"{tested['test']['accuracy']:.3f}"
        assert row[f"{tested_on} 95% low"] == f"{tested['test']['accuracy_95'][0]:.3f}"
        assert "train" not in row, "the runs augment: it would be of other images"
        assert tested["checkpoint"] == str(tmp_path / "runs" / row["run"] / "checkpoints" / "best.ckpt")
        assert tested["checkpoint_mark"] == own["checkpoint_mark"]
        assert tested["dataset"] != own["dataset"]
    assert {row["run"]: row["model"] for row in rows} == {"first": "simple_conv", "second": "test_resnet"}
    order = [next(run for run in two_runs if run.name == row["run"]) for row in rows]
    first, second = (answers(run, "test") for run in order)
    only = sum(first[i] and not second[i] for i in first), sum(second[i] and not first[i] for i in first)
    p = f"{binomtest(only[0], sum(only), 0.5).pvalue:.2g}"
    markdown = (report / "report.md").read_text()
    assert f"| test | {len(first)} | {only[0]} | {only[1]} | {p} |" in markdown
    assert f"{metrics[best]['test']['per_class']['happy']['f1']:.3f}" in markdown
    html = (report / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 1
    assert html.count('<table class="matrix">') == 4
    assert "http" not in html.replace("http-equiv", "")  # nothing is fetched from anywhere
    assert "McNemar" in capfd.readouterr().out


def test_each_dataset_has_its_group_in_the_order_of_validation(tmp_path: Path, run_here: Here) -> None:
    runs = tmp_path / "runs"
    make_run(runs / "a", 0.5, best_score=0.1)
    make_run(runs / "b", 0.7, best_score=0.9, monitor="val/f1_macro")  # each by its own monitor: a loss, a score
    make_run(runs / "moved", 0.6, dataset=dataset("folder", "/tmp/node7/x"))  # a copy of the same images
    make_run(runs / "larger", 0.4, dataset={**dataset("folder", "/data/x", "other"), "input": [96, 96, "pad"]})
    make_run(runs / "other", 0.9, dataset=dataset("folder", "/data/y", "q"))
    make_run(runs / "replaced", 0.8, dataset=dataset("folder", "/data/x", "r"))  # other images of the same names
    make_run(runs / "few", 0.95, dataset={**dataset("folder", "/data/x"), "classes": ["happy", "sad"]})
    rows = table_of(run_here("fer.report", "runs=runs", name="report"))
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row["data"], []).append(row["run"])
    assert sorted(groups.values()) == [["b", "moved", "a", "larger"], ["few"], ["other"], ["replaced"]]


def test_tests_find_their_run_and_two_datasets_of_one_name_are_two_columns(
    tmp_path: Path, run_here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    run = make_run(runs / "a", 0.5)
    make_test(runs / "t" / "y", run, 0.31)
    make_test(runs / "t" / "z", run, 0.32, dataset=dataset("folder", "/data/z", "r"))
    make_test(runs / "t" / "relative", Path("runs/a"), 0.33, split="train", checkpoint_mark=None)
    make_test(runs / "t" / "moved", Path("/somewhere/else/a"), 0.34, split="val")
    make_test(runs / "t" / "older", run, 0.35, split="train", tta="flip", checkpoint_mark=None)
    os.utime(runs / "t" / "older" / "metrics.json", (1000, 1000))
    make_test(runs / "t" / "no_run", tmp_path / "gone" / "b", 0.36, checkpoint_mark="of none")
    (tmp_path / "elsewhere" / "runs" / "a").mkdir(parents=True)  # of the same relative path, and another run
    (run / "checkpoints").mkdir()
    with zipfile.ZipFile(run / "checkpoints" / "best.ckpt", "w"):
        pass
    os.utime(run / "checkpoints" / "best.ckpt", (2000, 2000))
    monkeypatch.chdir(tmp_path / "elsewhere")
    report = run_here("fer.report", f"runs={runs}", name="report")
    row, other = table_of(report)
    assert (other["data"], other["folder (y) all"]) == ("checkpoints whose runs are not here", "0.360")
    assert "folder (y) train flip" not in row, "the checkpoint is younger than the test"
    assert "older: is a test of an earlier checkpoint" in (report / "report.html").read_text()
    assert (row["folder (y) all"], row["folder (z) all"]) == ("0.310", "0.320")
    assert (row["folder (y) train"], row["folder (y) val"]) == ("0.330", "0.340")


def test_corrupted_images_have_a_column_beside_the_test(tmp_path: Path, run_here: Here) -> None:
    worse = {"mean_corruption_accuracy": 0.321, "mean_corruption_accuracy_95": [0.3, 0.34]}
    values = {kind: [0.5, 0.4, 0.3, 0.2, 0.1] for kind in KINDS}
    first = make_run(tmp_path / "runs" / "a", 0.6)
    make_test(tmp_path / "tests" / "plain", first, 0.55)  # the same test without: one column, and the other stays
    make_test(tmp_path / "tests" / "full", first, 0.55, corruptions={**worse, "accuracy": values})
    second = make_run(tmp_path / "runs" / "b", 0.7)
    few = {"blur": values["blur"], "jpeg": values["jpeg"]}
    make_test(tmp_path / "tests" / "some", second, 0.5, corruptions={**worse, "accuracy": few})
    third = make_run(tmp_path / "runs" / "c", 0.65)
    make_test(tmp_path / "tests" / "broken", third, 0.5, corruptions={"accuracy": few})
    report = run_here("fer.report", f"runs={tmp_path}")
    rows = {row["run"].rpartition("/")[2]: row for row in table_of(report)}
    (column,) = (name for name in rows["a"] if name.endswith("mean corruption accuracy"))
    (part,) = (name for name in rows["a"] if name.endswith("mean corruption accuracy (blur, jpeg)"))
    assert (rows["a"][column], rows["a"][f"{column} 95% low"], rows["a"][part]) == ("0.321", "0.300", "")
    assert (rows["b"][column], rows["b"][part]) == ("", "0.321")
    assert "mean_corruption_accuracy is missing" in (report / "report.md").read_text().replace("\\", "")


def test_a_test_of_an_earlier_checkpoint_is_left_out(
    tmp_path: Path, run_here: Here, capfd: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "runs" / "a", 0.5)
    make_test(tmp_path / "runs" / "t", run, 0.31, checkpoint_mark="mark of an earlier one")
    report = run_here("fer.report", "runs=runs", name="report")
    assert "0.310" not in (report / "report.csv").read_text()
    for text in (capfd.readouterr().out, (report / "report.md").read_text().replace("\\", "")):
        assert f"runs/t: is a test of an earlier checkpoint of {run}" in text


def test_no_mcnemar_on_different_images(tmp_path: Path, run_here: Here, capfd: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "runs" / "a", 0.5)
    run = make_run(tmp_path / "runs" / "b", 0.6)
    run_here("fer.report", "runs=runs", name="same")
    assert re.search(r"^test +9 +0 +0 +1$", capfd.readouterr().out, re.MULTILINE)
    text = (run / "predictions.csv").read_text()
    (run / "predictions.csv").write_text(text.replace("test,im3,", "test,im300,"))
    run_here("fer.report", "runs=runs", name="other_split")
    said = capfd.readouterr().out
    assert "test: the two runs have answered on other images" in said
    assert re.search(r"^val +9 +0 +0 +1$", said, re.MULTILINE)
    shutil.rmtree(run)
    make_run(run, 0.6, dataset=dataset("folder", "/data/y", "q"))
    run_here("fer.report", "runs=runs", name="other_data")
    said = capfd.readouterr().out
    assert "test: is of two different datasets" in said
    assert "McNemar" not in said


def spoil(run: Path, how: str) -> None:
    metrics = run / "metrics.json"
    if how == "null":
        metrics.write_text("null")
    elif how == "truncated":
        metrics.write_text(metrics.read_text()[:200])
    elif how == "a word for a number":
        metrics.write_text(metrics.read_text().replace('"accuracy": 0.6', '"accuracy": "[/x]"'))
    elif how == "no table":
        metrics.write_text(metrics.read_text().replace("[60, 39, 0]", "[60]"))
    elif how == "nested":
        metrics.write_text("[" * 100_000)
    elif how == "bytes":
        metrics.write_bytes(b"\xff\xfe{}")
    elif how == "pipe":
        metrics.unlink()
        os.mkfifo(metrics)
    elif how == "folder":
        metrics.unlink()
        metrics.mkdir()
    elif how == "history of far epochs":
        (run / "history.csv").write_text("epoch,val/loss\n1e300,1\n")
    elif how.startswith("history"):
        (run / "history.csv").unlink()
        os.mkfifo(run / "history.csv") if "pipe" in how else (run / "history.csv").write_text("epoch,x\n1,[/b]\n\0")
    elif how == "config":
        (run / "config.yaml").write_text("a: &a [1]\nb: *a")


@pytest.mark.parametrize(
    "how",
    ["null", "truncated", "a word for a number", "no table", "nested", "bytes", "pipe", "folder",
     "history", "history is a pipe", "history of far epochs", "config"],
)  # fmt: skip
def test_one_bad_run_is_named_and_the_report_goes_on(
    tmp_path: Path, run_here: Here, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    make_run(tmp_path / "runs" / "good", 0.5)
    bad = make_run(tmp_path / "runs" / "[/b]=bad", 0.6)
    spoil(bad, how)
    report = run_here("fer.report", "runs=runs", name="report")
    names = [row["run"].lstrip("'") for row in table_of(report)]
    assert names == (["[/b]=bad", "good"] if how.startswith(("history", "config")) else ["runs/good"])
    assert re.search(rf"{re.escape(str(bad))}: \S+ cannot be read", capfd.readouterr().out)
    assert "[/b]=bad" in (report / "report.html").read_text()


def test_a_folder_without_permission_is_named(
    tmp_path: Path, run_here: Here, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "runs" / "good", 0.5)
    make_run(tmp_path / "runs" / "closed", 0.5)
    scandir = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    run_here("fer.report", "runs=runs", name="report")
    assert "closed: the folder cannot be read (Permission denied)" in capfd.readouterr().out


def test_names_that_are_no_text_are_escaped(tmp_path: Path, run_here: Here, capfd: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "runs" / "a", 0.5, model="\ud800 <b>\x1b[2J")
    run.rename(os.fsdecode(os.fsencode(tmp_path / "runs") + b"/caf\xe9"))
    report = run_here("fer.report", "runs=runs", name="report")
    for text in [capfd.readouterr().out, *((report / f"report.{kind}").read_text() for kind in ("md", "csv", "html"))]:
        assert "caf\\udce9" in text.replace("\\\\", "\\")
        assert "\\ud800" in text
        assert "\x1b" not in text


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (0.6, 0.6, "a and b have the same score to the digits shown (0.600)"),
        (0.6, 0.5996, "a and b have the same score to the digits shown (0.600)"),
        (0.6006, 0.6004, "a leads b by less than 0.001, within its 95 % interval"),
        (0.6, 0.5992, "a leads b by 0.001, within its 95 % interval"),
    ],
)
def test_leads_of_a_digit_and_less(tmp_path: Path, run_here: Here, first: float, second: float, said: str) -> None:
    make_run(tmp_path / "runs" / "a", first, lr=0.1)
    make_run(tmp_path / "runs" / "b", second, lr=0.2)
    report = run_here("fer.report", "runs=runs", name="report")
    assert said in (report / "report.md").read_text()


def test_means_over_seeds_and_what_may_be_chance(tmp_path: Path, run_here: Here) -> None:
    for seed, accuracy in enumerate((0.60, 0.64)):
        make_run(tmp_path / "runs" / f"low{seed}", accuracy, seed=seed)
    make_run(tmp_path / "runs" / "high", 0.61, lr=0.3)
    report = run_here("fer.report", "runs=runs", name="report")
    latex = (report / "report.tex").read_text()
    assert "net & lr=0.1 & 2 & \\textbf{0.620} $\\pm$ 0.028" in latex
    assert "net & lr=0.3 & 1 & 0.610 {\\scriptsize (0.560--0.660)}" in latex
    assert "leads net lr=0.3 by 0.010, within its deviation over seeds or folds" in latex
    markdown = (report / "report.md").read_text()
    assert "| **0.640** (0.590-0.690) |" in markdown
    assert "by 0.030, within its 95 % interval (0.590-0.690)" in markdown
    assert "| 0.600 | 0.400 | - |" in markdown, "a class without images has no score"


def test_a_seed_counts_once_in_a_mean_and_a_mean_of_fewer_says_so(
    tmp_path: Path, run_here: Here, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, seed, accuracy in (("a", 0, 0.60), ("again", 0, 0.60), ("b", 1, 0.64), ("c", 2, 0.65)):
        run = make_run(tmp_path / "runs" / name, accuracy, seed=seed)
        if name in ("a", "again", "b"):
            make_test(tmp_path / "tests" / name, run, accuracy - 0.1)
    report = run_here("fer.report", f"runs={tmp_path}", name="report")
    line = "again and a are one experiment with one seed; the means count again alone."
    assert line in capfd.readouterr().out
    assert line in (report / "report.md").read_text()
    assert "| net | 3 | 0.630 ± 0.026 |" in (report / "report.md").read_text()
    assert "0.520 ± 0.028 (n 2)" in (report / "report.md").read_text()
    assert "0.520 $\\pm$ 0.028 (n 2)" in (report / "report.tex").read_text()


def test_experiments_of_other_optimizers_are_told_apart_by_name(tmp_path: Path, run_here: Here) -> None:
    adam = {"name": "adamw", "lr": 0.1, "eps": 1e-8, "betas": [0.9, 0.99], "weight_decay": 0.05}
    sgd = {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    for number, optimizer in enumerate((adam, sgd | {"lr": 0.1}, sgd | {"lr": 0.2})):
        run = make_run(tmp_path / "runs" / f"{number}", 0.5 + number / 100)
        config = yaml.safe_load((run / "config.yaml").read_text()) | {"optimizer": optimizer}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    report = run_here("fer.report", "runs=runs", name="report")
    assert {row["run"]: row["choices"] for row in table_of(report)} == {
        "0": "optimizer=adamw lr=0.1", "1": "optimizer=sgd lr=0.1", "2": "optimizer=sgd lr=0.2",
    }  # fmt: skip
    latex = (report / "report.tex").read_text()
    told = [line.split(" & ")[1] for line in latex.splitlines() if line.strip().startswith("net & ")]
    assert told == ["optimizer=sgd lr=0.2", "optimizer=sgd lr=0.1", "optimizer=adamw lr=0.1"]


def test_the_training_score_is_shown_of_runs_that_do_not_augment(tmp_path: Path, run_here: Here) -> None:
    make_run(tmp_path / "runs" / "plain", 0.61, augment=False)
    make_run(tmp_path / "runs" / "augmented", 0.6)
    assert [row["train"] for row in table_of(run_here("fer.report", "runs=runs", name="report"))] == ["0.750", ""]


def test_a_terminal_of_80_columns_shows_every_number_whole(
    tmp_path: Path, run_here: Here, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(2):
        name = f"2026-01-0{number}_12-00-00_an_experiment_of_a_long_name"
        run = make_run(
            tmp_path / "runs" / name / "run", 0.5 + number / 100, seed=number, model="vit_base_patch16_224.augreg_in21k"
        )
        for test in range(6):
            where = dataset("a_dataset_of_a_long_name", f"/data/{test}", str(test))
            make_test(
                tmp_path / "runs" / f"t{number}{test}", run, 0.1 * test + 0.001, dataset=where, checkpoint_mark=None
            )
    run_here("fer.report", "runs=runs", name="report")
    tables = capfd.readouterr().out.partition("\nreport: ")[0].splitlines()
    assert not [line for line in tables if len(line) > 80]
    shown = " ".join(tables)
    assert "…" in shown
    assert max(len(line.rstrip()) for line in tables) > 60, "the width is used"
    assert all(shown.count(f" {0.1 * test + 0.001:.3f}") >= 2 for test in range(6))


def test_a_report_of_many_runs_needs_no_torch(tmp_path: Path, command: Run) -> None:
    for number in range(40):
        make_run(tmp_path / "runs" / f"{number}", number / 40)
    done = command("runs=runs", "hydra.run.dir=report", module="fer.report", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0, done.stderr
    imported = set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "matplotlib" in imported
    assert not imported & {"torch", "pytorch_lightning", "pandas", "scipy", "sklearn"}
    assert "Of the 10 best of 40 runs: 39, 38," in (tmp_path / "report" / "report.html").read_text()


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


def test_a_dataset_is_known_again_by_its_content(tmp_path: Path) -> None:
    from fer.datasets.folder import Folder
    from fer.files.metrics import Dataset, dataset_of
    from fer.training.predict import identity

    def known(root: Path, **options: Any) -> Dataset:
        found = Folder(root=str(root), cache_dir=str(tmp_path / "cache"), **options)
        found.setup("fit")
        noted = json.loads(json.dumps(identity(found).as_dict()))
        assert dataset_of({"dataset": noted}, {}) == identity(found)
        return dataset_of({"dataset": noted}, {})

    for label, name in enumerate(("happy", "sad", "fear")):
        for number in range(30):
            write_image(tmp_path / "x" / name / f"{number}.png", np.full((8, 8), 40 * label + number, dtype=np.uint8))
    shutil.copytree(tmp_path / "x", tmp_path / "copy")
    shutil.copytree(tmp_path / "x", tmp_path / "other")
    first = known(tmp_path / "x")
    assert first.same(known(tmp_path / "x", seed=3, val_fraction=0.2)), "splits do not matter"
    assert first.same(known(tmp_path / "copy"))
    assert first.same(known(tmp_path / "x", image_size=6))
    assert not first.same(known(tmp_path / "x", classes=["happy", "sad"]))
    write_image(tmp_path / "other" / "happy" / "0.png", np.full((8, 8), 200, dtype=np.uint8))
    assert not first.same(known(tmp_path / "other")), "of the same names"
    write_image(tmp_path / "x" / "happy" / "new.png", np.full((8, 8), 200, dtype=np.uint8))
    assert not first.same(known(tmp_path / "x")), "images were added"


def test_what_must_be_fast_imports_neither_torch_nor_lightning(command: Run, tmp_path: Path) -> None:
    done = command("runs=nowhere", module="fer.report", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 2
    assert "runs=nowhere: there is no such folder" in done.stderr
    assert not set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE)) & {"torch", "pytorch_lightning", "numpy"}
    rooms = ("files", "config", "reporting", "cli")
    modules = [f"fer.{room}.{path.stem}" for room in rooms for path in (REPO / "fer" / room).glob("[!_]*.py")]
    assert len(modules) > 20
    imports = f"import sys, {', '.join(modules)}, fer.scores.registry"
    (tmp_path / "fast_rooms.py").write_text(f"{imports}; print({{'torch', 'pytorch_lightning'}} & {{*sys.modules}})")
    done = command(module="fast_rooms", env={"PYTHONPATH": f"{REPO}:{tmp_path}"})
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
