"""Names in data are only data, wherever they are shown or written."""

import csv
import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import write_image
from rich.console import Console
from rich.table import Table

from fer.display import Formatter, cell, latex, markdown, plain
from fer.files.csv_table import csv_cell, from_csv, read_csv, write_csv
from fer.plots import figures

NAMES = (
    "[/x]",
    "[red]",
    "\x1b[2J",
    "<b>x</b>",
    "$\\frac{1}$",
    "=cmd()",
    "a\nb",
    "+1+1",
    "-x",
    "@x",
    "'=x",
    "'",
    "a|b",
    "",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_terminal_shows_a_name_as_it_is(name: str) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    table = Table(title=cell(name))
    table.add_column(cell(name))
    table.add_row(cell(name))
    console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[2J" not in shown
    assert all(part in shown for part in plain(name, keep="\n").split("\n"))


@pytest.mark.parametrize("name", NAMES)
def test_a_csv_file_gives_a_name_back_and_holds_no_formula(name: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", ["id", "n"], [[name, -1.5]])
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(read_csv(file)[1]) == [{"id": name, "n": "-1.5"}]
    with (tmp_path / "x.csv").open(newline="") as file:
        assert not list(csv.reader(file))[1][0].startswith(("=", "+", "-", "@"))
    assert from_csv(str(csv_cell(name))) == name


def test_numbers_stay_numbers() -> None:
    assert csv_cell("-1e-3") == "-1e-3"
    assert csv_cell(-2) == -2


def test_markdown_and_latex_say_no_more_than_the_name() -> None:
    assert markdown("<img onerror=x>") == "&lt;img onerror=x&gt;"
    assert markdown("a|b_c") == "a\\|b\\_c"
    assert latex("50 % of_a$") == "50 \\% of\\_a\\$"


def test_a_log_line_is_one_line_without_controls() -> None:
    record = logging.makeLogRecord({"msg": "file %s\nnext", "args": ("a\nb\x1b[2J",)})
    assert Formatter("%(message)s").format(record) == "file a\\nb\\x1b[2J\nnext"


def test_a_figure_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    figure = figures.confusion_figure(np.eye(2, dtype=np.int64), ["$\\frac{$", "$x$"], "$\\bad{$")
    figure.savefig(tmp_path / "x.png")


def test_training_and_testing_on_names_that_mean_something(
    train_here: Callable[..., Path], run_here: Callable[..., Path], tmp_path: Path
) -> None:
    names = ("[red]", "=cmd()", "$\\frac{$")
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        for image in range(20):
            path = tmp_path / "faces" / name / f"[bold]{image}$.png"
            write_image(path, rng.integers(0, 255, (24, 24), dtype=np.uint8) // (number + 1))
    own = (
        "data=folder",
        f"data.root={tmp_path}/faces",
        "data.own_classes=true",
        "data.num_workers=0",
        "data.val_fraction=0.2",
    )
    run = train_here(*own, "model=simple_conv", "data.image_size=24", "trainer.max_epochs=1", "trainer.accelerator=cpu")
    with (run / "predictions.csv").open(newline="") as file:
        assert {row["label"] for row in read_csv(file)[1]} == set(names)
    run_here("fer.test", f"ckpt={run}", "split=all", "accelerator=cpu", "progress=false", name="tested")
    run_here("fer.report", f"runs={run}", name="reported")
    run_here("fer.audit", *own[:3], name="audited")
