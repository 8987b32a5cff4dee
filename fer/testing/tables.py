"""What a test prints: scores per class, averages with intervals, slices, calibration, leaks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer.display import cell
from fer.plots.class_table import class_table, said_of_tta
from fer.plots.tables import WIDTH, fitted, tell
from fer.scores import calibration
from fer.scores.protocol import leak_line
from fer.scores.registry import SCORES, Score
from fer.testing import robustness


def print_tables(metrics: Mapping[str, Any], run: Path) -> None:
    """Print the scores per class, with and without what limits or flatters them, and where the test lies."""
    title = f"{metrics['data']}, {metrics['split']}{said_of_tta(metrics['tta'])}"
    parts = {"all": metrics["test"]}
    if "restricted" in metrics:
        parts["common classes only"] = metrics["restricted"]
    if "clean" in metrics:
        parts["unseen images only"] = metrics["clean"]
    if "reframed" in metrics:
        parts["framed as trained on"] = metrics["reframed"]
    averages = [s for s in SCORES.values() if s.source == "probabilities" or (s.source == "confusion" and s.each_epoch)]
    lines = []
    for name, scores in parts.items():
        lines.append([name, f"{scores['n']:,}", *(average.text(scores[average.name]) for average in averages)])
        if any(f"{average.name}_95" in scores for average in averages):
            lines.append(["  95 % interval", "", *(_interval(scores, average) for average in averages)])
    tables = class_table({metrics["split"]: metrics["test"]}, title)
    tables += fitted("", ["", "n", *(_column(average) for average in averages)], lines, WIDTH)
    shown = [average for average in averages if average.headline]
    first = shown[0]
    header = ["n", first.title, "95 % interval", *(score.title for score in shown[1:])]
    for attribute, values in metrics["slices"].items():
        lines = [
            [value, f"{scores['n']:,}", first.text(scores[first.name]), _interval(scores, first)]
            + [score.text(scores[score.name]) for score in shown[1:]]
            for value, scores in values.items()
        ]
        tables += fitted(f"by {attribute}", [attribute, *header], lines, WIDTH)
    found = metrics[calibration.KEY]
    calm = f"{found['ece_calibrated']:.3f} with temperature {found['temperature']:g}"
    word = f"calibration error {found['ece']:.3f}, and {calm}"
    tables += fitted(word, ["probability", "decided", "accuracy"], calibration.rows(found), WIDTH)
    if "corruptions" in metrics:
        tables += robustness.tables(metrics["corruptions"], metrics["test"]["accuracy"])
    said = [cell(leak_line(metrics["seen"]))]
    if "reframed" in metrics:
        share = metrics["reframed"]["faces_found"]
        said.append(cell(f"framed as trained on: a face was found in {100 * share:.0f} % of the images"))
    said += [cell(metrics["stamp"], "bold red")] if metrics["stamp"] else []
    tell(*tables, *said, cell(f"test: {run}"))


def _column(score: Score) -> str:
    """Return a score's title, its short one where the title is long."""
    return score.short if len(score.title) > 12 and score.short else score.title


def _interval(scores: Mapping[str, Any], score: Score) -> str:
    bounds = scores.get(f"{score.name}_95")
    return score.interval(bounds) if bounds else ""
