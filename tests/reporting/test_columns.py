"""A report's columns: which scores stand side by side, and what is said of images that were in training."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes_report import make_run, make_test, scores

from fer.data.corruptions import KINDS
from fer.reporting.experiments import choices_of
from fer.reporting.runs import Run

Here = Callable[..., Path]
SEEN = {
    "known": True, "complete": True, "trained_on": "folder", "images": 9, "in_training": 4, "in_training_exactly": 4,
    "chose_the_checkpoint": 1,
}  # fmt: skip


def table_of(report: Path) -> dict[str, dict[str, str]]:
    with (report / "report.csv").open(newline="") as file:
        return {row["run"].rpartition("/")[2]: row for row in csv.DictReader(file)}


def said(report: Path) -> str:
    return (report / "report.md").read_text().replace("\\", "")


def test_test_time_augmentation_is_named_in_a_runs_own_columns(tmp_path: Path, run_here: Here) -> None:
    last = {"epoch": 2, "val": scores(0.66)}
    make_run(tmp_path / "runs" / "flipped", 0.7, tta="flip", last_epoch=last, augment=False)
    make_run(tmp_path / "runs" / "plain", 0.6, tta="none", lr=0.2, augment=False)
    make_run(tmp_path / "runs" / "old", 0.5, lr=0.3, augment=False)  # does not say
    report = run_here("fer.report", "runs=runs", name="report")
    rows = table_of(report)
    scored = [column for column in rows["plain"] if "95%" not in column]
    assert scored[-6:] == ["train", "val flip", "val flip, last epoch", "val", "test flip", "test"]
    assert (rows["flipped"]["test flip"], rows["flipped"]["test"]) == ("0.700", "")
    assert (rows["plain"]["test flip"], rows["plain"]["test"], rows["old"]["val"]) == ("", "0.600", "0.500")
    text = said(report)
    assert "test flip:" not in text, "there is no other to lead"
    assert "| flipped | test flip | 100 |" in text
    latex = (report / "report.tex").read_text()
    assert [line.split(" & ")[1] for line in latex.splitlines() if line.strip().startswith("net & ")] == [
        "lr=0.1", "lr=0.2", "lr=0.3",
    ]  # fmt: skip


def test_mcnemar_says_which_run_has_test_time_augmentation(tmp_path: Path, run_here: Here) -> None:
    make_run(tmp_path / "runs" / "a", 0.7, tta="flip")
    make_run(tmp_path / "runs" / "b", 0.6)
    assert "| test flip / test | 9 | 0 | 0 | 1 |" in said(run_here("fer.report", "runs=runs", name="report"))


def test_leaks_of_a_trainings_own_test_are_reported(tmp_path: Path, run_here: Here) -> None:
    make_run(tmp_path / "runs" / "parent", 0.6)
    child = make_run(tmp_path / "runs" / "child", 0.7, lr=0.2, seen=SEEN, clean={**scores(0.42), "n": 4})
    make_test(tmp_path / "tests" / "t", child, 0.5)
    report = run_here("fer.report", f"runs={tmp_path}", name="report")
    rows = table_of(report)
    assert (rows["child"]["test clean"], rows["parent"]["test clean"]) == ("0.420", "")
    text = said(report)
    assert "child, test: 4 of 9 test images (44.4 %) were in training, 4 as equal pixels" in text
    assert "No image of 1 of the 2 tests was in training." in text
    make_run(tmp_path / "runs" / "broken", 0.7, seen={"known": True})
    assert "images is missing" in said(run_here("fer.report", f"runs={tmp_path}", name="again"))


def test_tests_with_other_corruptions_or_augmentation_are_all_shown(tmp_path: Path, run_here: Here) -> None:
    def worse(mean: float, *kinds: str) -> dict[str, Any]:
        return {"mean_corruption_accuracy": mean, "accuracy": {kind: [0.5] * 5 for kind in kinds}}

    run = make_run(tmp_path / "runs" / "a", 0.6)
    make_test(tmp_path / "tests" / "1", run, 0.55, corruptions=worse(0.31, "blur"))
    make_test(tmp_path / "tests" / "2", run, 0.55, corruptions=worse(0.32, "jpeg"))
    make_test(tmp_path / "tests" / "3", run, 0.55, corruptions=worse(0.33, *KINDS))
    make_test(tmp_path / "tests" / "4", run, 0.55, corruptions=worse(0.31, "blur"))
    make_test(tmp_path / "tests" / "5", run, 0.55, tta="flip")  # of equal scores, and another test
    make_test(tmp_path / "tests" / "6", run, 0.57)
    make_test(tmp_path / "tests" / "7", run, 0.57, corruptions=worse(0.34, "blur"))
    (row,) = table_of(run_here("fer.report", f"runs={tmp_path}", name="report")).values()
    shown = {
        column.removeprefix("folder (y) all").strip(): value
        for column, value in row.items()
        if column.startswith("folder") and "95%" not in column
    }
    mean = "mean corruption accuracy"
    assert shown == {
        "": "0.550", "#2": "0.570", f"#2 {mean} (blur)": "0.340", "flip": "0.550", mean: "0.330",
        f"{mean} (blur)": "0.310", f"{mean} (jpeg)": "0.320",
    }  # fmt: skip


def test_a_folder_of_a_short_name_hides_no_choice(tmp_path: Path, run_here: Here) -> None:
    for number, lr in enumerate((0.1, 0.01)):
        run = make_run(tmp_path / "runs" / str(number), 0.5 + number / 100, lr=lr)
        config = yaml.safe_load((run / "config.yaml").read_text())
        config |= {"output_dir": str(lr), "callbacks": {"best": {"dirpath": f"{lr}/checkpoints"}}}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    rows = table_of(run_here("fer.report", "runs=runs", name="report"))
    assert {name: row["choices"] for name, row in rows.items()} == {"0": "lr=0.1", "1": "lr=0.01"}


@pytest.mark.parametrize(
    ("home", "value", "chosen"),
    [("adamw", "adamw", True), ("a", "adamw", True), ("adamw", "adamw/checkpoints", False), ("", "adamw", True),
     ("outputs/x", "outputs/x", False), ("outputs/x", "outputs/xy", True), ("1", 0.1, True), ("0.1", 0.1, True)],
)  # fmt: skip
def test_a_choice_is_left_out_where_it_is_a_path_in_the_runs_folder(home: str, value: object, chosen: bool) -> None:
    run = Run(Path("x"), config=json.loads(json.dumps({"output_dir": home, "optimizer": {"name": value}})))
    assert ("optimizer.name" in choices_of(run)) is chosen


def test_exports_and_loose_checkpoints_are_rows_of_their_own(tmp_path: Path, run_here: Here) -> None:
    for name, accuracy in (("A", 0.6), ("B", 0.4), ("C", 0.6)):
        export = tmp_path / "exports" / name
        export.mkdir(parents=True)
        for file in ("model.onnx", "config.json"):
            (export / file).touch()
        for made, model, mark in (
            ("exports", export / "model.onnx", f"mark of {name}"),
            ("loose", tmp_path / "models" / f"{name}.ckpt", f"other {name}"),
        ):
            make_test(tmp_path / "tests" / made / name, tmp_path, accuracy, checkpoint=str(model), checkpoint_mark=mark)
    rows = table_of(run_here("fer.report", f"runs={tmp_path}/tests", name="report"))
    (column,) = {key for key in rows["A"] if key.startswith("folder") and "95%" not in key}
    assert {name: row[column] for name, row in rows.items()} == {
        "A": "0.600", "B": "0.400", "C": "0.600", "A.ckpt": "0.600", "B.ckpt": "0.400", "C.ckpt": "0.600",
    }  # fmt: skip


def test_what_else_differs_between_tests_is_named(tmp_path: Path, run_here: Here) -> None:
    one, two = (make_run(tmp_path / "runs" / name, 0.6, lr=lr) for name, lr in (("a", 0.1), ("b", 0.2)))
    make_test(tmp_path / "tests" / "1", one, 0.51, clean={**scores(0.42), "n": 4})
    make_test(tmp_path / "tests" / "2", two, 0.52, clean={**scores(0.43), "n": 7})
    make_test(tmp_path / "tests" / "3", one, 0.53, precision="bf16-mixed", frame="match")
    rows = table_of(run_here("fer.report", f"runs={tmp_path}", name="report"))
    found = {column: value for column, value in rows["a"].items() if value and "95%" not in column}
    assert [value for column, value in found.items() if column.endswith("frame match bf16-mixed")] == ["0.530"]
    assert [value for column, value in found.items() if column.endswith("clean (n 4)")] == ["0.420"]
    assert not any(column.endswith("clean (n 7)") for column in found)


def test_tests_of_one_run_with_other_images_are_told_apart_by_them(tmp_path: Path, run_here: Here) -> None:
    run = make_run(tmp_path / "runs" / "a", 0.6)
    for number, fit in enumerate(("pad", "crop")):
        kept = {"name": "kdef", "root": "/k", "classes": [], "ids": "i", "labels": "l", "pixels": fit}
        kept["input"] = [48, 48, fit]
        make_test(tmp_path / "tests" / str(number), run, 0.5 + number / 10, dataset=kept)
    rows = table_of(run_here("fer.report", f"runs={tmp_path}", name="report"))
    assert (rows["a"]["kdef all"], rows["a"]["kdef all (48x48 crop)"]) == ("0.500", "0.600")
