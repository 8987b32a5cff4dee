"""Tables as wide as there is room, with no number cut."""

import io
import logging
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from fer.plots.class_table import class_table
from fer.plots.tables import fitted, rounded, shortened, tell, told_apart


def shown(width: int, *args: object, **options: object) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for part in fitted(*args, width=width, **options):  # type: ignore[arg-type]
        console.print(part, soft_wrap=isinstance(part, Text))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("label", ["a", "outputs/a_rather_long_name_of_an_experiment/2026-01-01_12-00-00", "[/b] ばつ"])
@pytest.mark.parametrize("choice", ["0.1", "[64,128,256,512,1024,2048,4096]"])
def test_every_number_is_whole_at_every_width(width: int, label: str, choice: str) -> None:
    header = ["run", "model.filters", *(f"a_test_set test {n}" for n in range(9)), "optimizer.weight_decay"]
    numbers = [f"{0.1234 + n / 1000:.4f}" for n in range(9)]
    text = shown(
        width, "title", header, [[label, choice, *numbers, "1e-05"], [label + "!", "", *numbers, "1"]], words=2
    )
    assert max(map(len, text.splitlines())) <= width
    assert all(len(re.findall(rf"(?<!\S){number}(?!\S)", text)) == 2 for number in numbers)
    assert len(re.findall(r"(?<!\S)1e-05(?!\S)", text)) == 1
    if width == 200:
        assert label in text
        assert choice in text


def test_names_stay_apart() -> None:
    names = [f"optimizer={name} data.split_seed=None lr=0.01" for name in ("sgd", "adamw")]
    short = told_apart(names, 26)
    assert short[0] != short[1]
    assert max(map(len, short)) < 52


def test_numbers_stand_below_one_another() -> None:
    assert shown(80, "", ["run", "n"], [["a", "5"], ["b", "1,000"]]).splitlines()[1:] == ["a        5", "b    1,000"]


def test_names_lose_their_middle_and_stay_apart() -> None:
    assert shortened("outputs/a/2026-01-01", 12) == "outp…6-01-01"
    assert shortened("short.png") == "short.png"
    assert len(shortened("x" * 99)) == 34
    names = [f"outputs/an_experiment_of_seed_{n}/2026-01-01_12-00-00/a_long_end_of_the_path" for n in range(3)]
    text = shown(60, "", ["run", "x"], [[name, "1"] for name in names])
    assert len(set(text.splitlines())) >= 2
    assert rounded("0.14285714285714285") == "0.1429"
    assert rounded("0.123") == "0.123"
    assert rounded("name") == "name"


def test_a_class_without_images_has_no_score_and_the_log_holds_the_table(tmp_path: Path) -> None:
    values = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    part = {
        "n": 5, "accuracy": 0.0, "balanced_accuracy": 0.0, "f1_macro": 0.0, "precision_macro": 0.0,
        "per_class": {"happy": {**values, "support": 5}, "fear": {**values, "support": 0}},
    }  # fmt: skip
    handler = logging.FileHandler(tmp_path / "log")
    from fer.display import Formatter

    handler.setFormatter(Formatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        tell(*class_table({"val": part}, "title"))
    finally:
        logging.getLogger().removeHandler(handler)
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert ["fear", "-", "-", "-", "0"] in lines
    assert ["happy", "0.000", "0.000", "0.000", "5"] in lines
