"""Every experiment says what it scored, where and how often, or that nobody has measured it, and why."""

import re
from itertools import takewhile
from pathlib import Path

import pytest
from conftest import REPO

EXPERIMENTS = sorted((REPO / "conf" / "experiment").glob("[!_]*.yaml"))
MEASURED = ["Hardware", "Minutes", "Score", "n"]


def faults(name: str, text: str) -> list[str]:
    """Return what is wrong with the comment at the top of an experiment's file."""
    first, *rest = text.splitlines()
    header = list(takewhile(lambda line: line.startswith("#"), rest))
    found = {match[1]: match[2] for line in header if (match := re.fullmatch(r"# (\w+): +(\S.*)", line))}
    unmeasured = any(re.match(r"# (?:Not run here\b|Untried:).*\w", line) for line in header)
    wrong = [] if first == "# @package _global_" else ["package"]
    if not re.search(rf"python -m fer\.train .*experiment={name}\b", found.get("Command", "")):
        wrong.append("Command")
    if unmeasured:
        return wrong + [f"{key} of what was not run" for key in MEASURED if key in found]
    wrong += [key for key in MEASURED if key not in found]
    shapes = {"Minutes": r"\d", "Score": r"\d\.\d+.* on \w+", "n": r"\d+ \(seeds? \d"}
    return wrong + [key for key, shape in shapes.items() if key in found and not re.match(shape, found[key])]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_says_what_was_measured(path: Path) -> None:
    assert not faults(path.stem, path.read_text())


def test_a_header_that_says_less_is_found() -> None:
    path = REPO / "conf" / "experiment" / "emotion_net_tuned.yaml"
    text = path.read_text()
    for key in ("Command", *MEASURED):
        assert faults(path.stem, re.sub(rf"^# {key}: .*\n", "", text, flags=re.MULTILINE)) == [key]
    assert faults("another", text) == ["Command"]
