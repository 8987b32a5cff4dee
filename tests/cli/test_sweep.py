"""What a sweep makes of its jobs: the one it chooses, and what the choices did to the score."""

import csv
import errno
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import composed, composition
from hydra.types import RunMode
from omegaconf import OmegaConf

from fer.cli import launch_check, sweep, sweep_best, sweep_jobs, sweep_table
from fer.errors import ConfigError
from fer.files import run_folder
from fer.files.atomic import UnwritableError
from fer.plots.importance import importances, make_axis


def job(folder: Path, number: int, score: float, train_loss: float, val_loss: float, lr: float) -> None:
    """Leave what a finished run leaves in a sweep's folder."""
    run = folder / str(number)
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"optimizer.lr={lr}"]))
    scores = {"accuracy": score, "f1_macro": score}
    metrics = {"monitor": "val/f1_macro", "best_score": score, "best_epoch": 2, "stamp": None, "val": scores}
    metrics["tta"] = "none"
    (run / "metrics.json").write_text(json.dumps(metrics))
    with (run / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "train/loss", "train/accuracy", "val/loss"])
        writer.writerow([1, 9, 0, 99])
        writer.writerow([2, train_loss, 0.7, val_loss])


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    for number, values in enumerate([(0.6, 0.5, 1.5), (0.58, 1.0, 1.1), (0.57, 1.2, 1.0), (0.2, 1.9, 1.9)]):
        job(tmp_path, number, *values, lr=10.0**-number)
    return tmp_path


@pytest.mark.parametrize(("select_by", "chosen"), [("score", "0"), ("gap", "1")])
def test_the_best_job_is_chosen_by_score_or_by_generalisation_gap(
    jobs: Path, select_by: str, chosen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sweep_jobs.collect(jobs)
    assert [row["gap"] for row in rows] == pytest.approx([1.0, 0.1, -0.2, 0.0])
    best = sweep_best.choose(rows, ["optimizer.lr"], select_by)
    assert [row["job"] for row in best] == [chosen]
    monkeypatch.setattr(sweep, "_folder", jobs)
    monkeypatch.setattr(sweep, "_select_by", select_by)
    sweep.report()
    assert f"best by {select_by}: job {chosen};" in capsys.readouterr().out
    written = yaml.safe_load((jobs / "experiment" / "best.yaml").read_text())
    assert written["optimizer"]["lr"] == 10.0 ** -int(chosen)
    lines = list(csv.DictReader((jobs / "sweep.csv").open()))
    assert [line["gap"] for line in lines] == ["+1.000", "+0.100", "-0.200", "+0.000"]
    assert {line["train acc"] for line in lines} == {"0.7000"}


def test_what_a_sweep_leaves_is_replaced_whole_or_not_at_all(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sweep_jobs.collect(jobs)
    for number, row in enumerate(rows):
        row["overrides"]["model.width"] = str(number % 2)
    choices = ["optimizer.lr", "model.width"]
    sweep_best.write_best(jobs, rows[:1], 4, "score")
    sweep_table.draw(jobs, rows, choices)
    kept = {path: path.read_bytes() for path in (*jobs.glob("*.png"), jobs / "experiment" / "best.yaml")}
    assert len(kept) == 3

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    rows[0]["score"] = 0.9
    with pytest.raises(UnwritableError, match=r"best\.yaml: cannot be written: no space is left"):
        sweep_best.write_best(jobs, rows[:1], 4, "score")
    sweep_table.draw(jobs, rows, choices)
    assert {path: path.read_bytes() for path in kept} == kept


def test_the_table_gives_the_augmented_score_beside_the_one_that_chose(
    jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "_folder", jobs)
    sweep.report()
    assert "val macro F1" not in (jobs / "sweep.csv").read_text()  # what they are sorted by
    for path in jobs.glob("*/metrics.json"):
        metrics = json.loads(path.read_text())
        path.write_text(json.dumps({**metrics, "tta": "flip", "val": {"accuracy": 0.5, "f1_macro": 0.4321}}))
    sweep.report()
    assert "scores with tta=flip" in capsys.readouterr().out
    lines = list(csv.DictReader((jobs / "sweep.csv").open()))
    assert [line["val macro F1"] for line in lines] == ["0.4321"] * 4


def test_a_searchs_many_choices_leave_room_for_the_scores(
    jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        choices = [f"model.part_{n}={number + n / 7}" for n in range(12)]
        (jobs / str(number) / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(choices))
    monkeypatch.setattr(sweep, "_folder", jobs)
    sweep.report()
    table, _, best = capsys.readouterr().out.partition("choices of the best")
    for score in ("0.6000", "0.5800", "0.5700", "0.2000", "+1.000"):
        assert score in table
    assert re.search(r"model\.part_1 +0\.1429 +1\.143 +2\.143 *\n", best)  # of the three best jobs
    assert "0.14285714285714285" in (jobs / "sweep.csv").read_text()


@pytest.mark.parametrize("content", ["null", '{"best_score": ', '{"best_score": [1]}', None])
def test_a_damaged_job_is_named_and_the_others_are_compared(
    jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    if content is None:
        (jobs / "0" / "history.csv").write_text("epoch,val/loss\n2,[/b]\n")
    else:
        (jobs / "0" / "metrics.json").write_text(content)
    monkeypatch.setattr(sweep, "_folder", jobs)
    sweep.report()
    said = capsys.readouterr().out
    assert "job 0 failed: its metrics.json or history.csv cannot be read" in said
    assert "best by score: job 1;" in said


def test_a_table_of_80_columns_cuts_no_number(
    jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "vit_base_patch16_224.augreg_in21k_ft_in1k"
    for number in range(4):
        choices = [
            f"model.name={name}{number}",
            f"optimizer.weight_decay={number / 7}",
            f"data.root=/a/{number}/{name}",
        ]
        (jobs / str(number) / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(choices))
    monkeypatch.setattr(sweep, "_folder", jobs)
    monkeypatch.setattr(sweep_table, "draw", lambda *args: None)
    sweep.report()
    table = capsys.readouterr().out.partition("best by")[0]
    assert max(map(len, table.splitlines())) <= 80
    for number in ("0.1429", "0.2857", "0.6000", "0.5800", "0.5700", "0.2000", "+1.000", "-0.200"):
        assert f" {number}" in table


def test_no_seed_is_the_best(jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        (jobs / str(number) / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"seed={number}"]))
    monkeypatch.setattr(sweep, "_folder", jobs)
    sweep.report()
    said = capsys.readouterr().out
    assert "mean and standard deviation over seed" in said
    assert "best by" not in said
    assert not (jobs / "experiment").exists()


def test_no_job_is_the_best_where_each_has_its_own_monitor(
    jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        monitor = ("val/accuracy", "val/loss")[number % 2]
        path = jobs / str(number) / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"monitor": monitor}))
        choices = [f"monitor={monitor}", f"optimizer.lr={number}", *(f"model.part_{n}={number + n}" for n in range(4))]
        (jobs / str(number) / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(choices))
    rows = sweep_jobs.collect(jobs)
    assert [row["job"] for row in rows] == ["0", "1", "2", "3"]
    assert sweep_best.choose(rows, [], "score") == sweep_best.choose(rows, [], "gap") == []
    monkeypatch.setattr(sweep, "_folder", jobs)
    sweep.report()
    said = capsys.readouterr().out
    assert "no job is called the best: their scores are of different monitors (val/accuracy, val/loss)" in said
    assert not re.search("best (by|first)|of the best", said)
    assert not (jobs / "experiment").exists()
    assert not list(jobs.glob("*.png"))
    lines = list(csv.DictReader((jobs / "sweep.csv").open()))
    assert [line["score"] for line in lines[:2]] == ["0.6000 val/accuracy", "0.5800 val/loss"]


def test_no_job_is_chosen_where_none_has_a_score(tmp_path: Path) -> None:
    assert sweep_best.choose([{"job": "0", "error": "did not finish"}], [], "gap") == []


def test_an_axis_lays_numbers_out_by_size_and_words_side_by_side() -> None:
    assert make_axis("dropout", ["0.0", "0.5", "0.25"]).places.tolist() == [0, 1, 0.5]
    assert make_axis("lr", ["0.0001", "0.01", "0.001"]).places == pytest.approx([0, 1, 0.5])
    words = make_axis("model.filters", ["[64]", "[64,128]", "[64]"])
    assert words.places[0] == words.places[2] != words.places[1]
    assert {label for _, label in words.ticks} == {"[64]", "[64,128]"}
    many = make_axis("lr", [str(10.0**-n) for n in range(9)])
    assert [label for _, label in many.ticks] == ["1e-08", "1e-06", "0.0001", "0.01", "1"]


def test_the_choice_that_makes_the_score_is_the_important_one() -> None:
    rng = np.random.default_rng(0)
    lr, dropout = rng.random(40), rng.random(40)
    found = importances([make_axis("dropout", dropout.tolist()), make_axis("lr", lr.tolist())], (lr > 0.5) * 0.3)
    assert list(found) == ["lr", "dropout"]
    assert found["lr"] > 0.9
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("launcher", "refused"), [("ray", True), ("submitit_slurm", True), ("basic", False), ("joblib", False)]
)
def test_launchers_that_send_jobs_away_need_a_sweep(
    monkeypatch: pytest.MonkeyPatch, launcher: str, refused: bool
) -> None:
    chosen = SimpleNamespace(
        mode=RunMode.RUN, runtime=SimpleNamespace(choices={"hydra/launcher": launcher}), sweeper=None
    )
    monkeypatch.setattr(launch_check.HydraConfig, "get", lambda: chosen)
    said = launch_check._unused()
    assert [f"Add -m: python -m fer.train -m hydra/launcher={launcher}" in line for line in said] == [True] * refused


@pytest.mark.parametrize(("launcher", "absolute"), [("ray", True), ("basic", False)])
def test_a_sweep_on_ray_has_one_folder_whatever_folder_its_jobs_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str, absolute: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "_folder", None)
    choices = {"hydra/launcher": launcher}
    config = OmegaConf.create(
        {"hydra": {"sweep": {"dir": "out/a b"}, "runtime": {"choices": choices}, "overrides": {"hydra": []}}}
    )
    OmegaConf.set_readonly(config, True)
    sweep.RememberFolder().on_multirun_start(config)
    assert sweep._folder == (tmp_path / "out/a b" if absolute else Path("out/a b"))
    assert config.hydra.overrides.hydra == ([f"hydra.sweep.dir='{tmp_path}/out/a b'"] if absolute else [])


def test_a_job_stands_where_its_sweep_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = SimpleNamespace(cwd=str(tmp_path / "here"), choices={"hydra/launcher": "ray"})
    chosen = SimpleNamespace(job=SimpleNamespace(chdir=False), runtime=began)
    monkeypatch.setattr(sweep.HydraConfig, "get", lambda: chosen)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"here: .* has no such folder \(No such file or directory\)\. The folder"):
        sweep.stand_where_it_began()
    (tmp_path / "here").mkdir()
    sweep.stand_where_it_began()
    assert Path.cwd() == tmp_path / "here"
    os.chdir(tmp_path)
    chosen.job.chdir = True
    sweep.stand_where_it_began()
    assert Path.cwd() == tmp_path
    chosen.job.chdir, began.choices = False, {"hydra/launcher": "ray_aws"}  # which copies the code to where it can
    sweep.stand_where_it_began()
    assert Path.cwd() == tmp_path


def test_a_finished_job_of_an_edited_experiment_is_not_kept(tmp_path: Path) -> None:
    run_folder.write_config(tmp_path, composed("model=cnn", "transforms=standard"))
    sweep._refuse_changed(tmp_path, composition("model=cnn", "transforms=standard", "data.num_workers=3"))
    edited = composition("model=cnn", "model.filters=[8]", "transforms=standard", "~transforms.erase")
    with pytest.raises(ConfigError) as error:
        sweep._refuse_changed(tmp_path, edited)
    said = str(error.value)
    assert "model.filters=[8]: it was [32,64,128]\n" in said
    assert "transforms.erase._target_=null: it was albumentations.CoarseDropout\n" in said
    assert "optimizer" not in said


def test_a_refused_job_does_not_show_the_scores_of_the_one_before(jobs: Path) -> None:
    """A repeated sweep of tests: they leave no run.yaml, and Hydra writes the new overrides before the refusal."""
    (jobs / "1" / run_folder.FAILURE).write_text("output_dir=1 already holds metrics.json\n")
    rows = {row["job"]: row for row in sweep_jobs.collect(jobs)}
    assert "score" not in rows["1"]
    assert rows["1"]["error"] == "output_dir=1 already holds metrics.json"
    assert rows["0"]["score"] == 0.6


def test_runs_chosen_on_other_test_images_are_not_compared(jobs: Path) -> None:
    """With data.select_on_test the images that chose are called test."""
    for number, image in (("0", "a"), ("1", "a"), ("2", "b")):
        (jobs / number / "predictions.csv").write_text(f"split,id,label\ntest,{image},happy\n")
    kept = {row["job"]: row["scored_on"] for row in sweep_jobs.collect(jobs)}
    assert kept["0"] == kept["1"] != kept["2"]
