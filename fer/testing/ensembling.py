"""What an ensemble says and leaves: the best single member, the average and the soup, on the same images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer.data.base import FERDataModule
from fer.display import cell
from fer.files import metrics as metrics_file
from fer.files import predictions as predictions_file
from fer.files import run_folder
from fer.files.predictions import Predictions
from fer.plots.class_table import class_table, said_of_tta
from fer.plots.tables import WIDTH, fitted, tell
from fer.scores import seen_images
from fer.scores.label_space import LabelSpace
from fer.scores.protocol import leak_line, stamp_of_test
from fer.scores.registry import SCORES
from fer.scores.seen_images import KEY, Seen
from fer.testing.choosing import Part
from fer.testing.evaluation import all_scores, scored
from fer.testing.members import Member

TITLES = {"best": "best single", "average": "average", "soup": "soup"}


def seen_by(members: Sequence[Member], data: FERDataModule, answers: Predictions) -> Seen:
    """Return which images any of the members was fitted to or chosen on; of the same rows as the answers."""
    everything = seen_images.merged([member.seen for member in members])
    return seen_images.find({} if everything is None else {KEY: everything}, data.samples.images, answers.rows)


def write(
    run: Path,
    config: Mapping[str, Any],
    parts: Mapping[str, Part],
    members: Sequence[Member],
    data: FERDataModule,
    space: LabelSpace,
) -> dict[str, Any]:
    """Write ``metrics.json``, the average's ``predictions.csv`` and ``confusion.png``.

    Args:
        run: The ensemble's folder.
        config: The resolved config.
        parts: ``best``, ``average`` and, where there is one, ``soup``.
        members: All that could be chosen, best first.
        data: The scored data.
        space: How the classes meet.

    Returns:
        What stands in ``metrics.json``.

    Raises:
        ConfigError: If the members know the class of no image.
    """
    average = parts["average"].answers
    seen = seen_by(members, data, average)
    options = {"resamples": config["resamples"], "seed": config["seed"]}
    found: dict[str, Any] = {"soup": None}
    for name, part in parts.items():
        _, answers, here = scored(part.answers, space, seen)
        scores = all_scores(answers, space, here, options)
        counted = scores.pop("seen")
        found[name] = {"members": [member.name for member in part.members], "val": part.val, **scores}
    _, answers, here = scored(average, space, seen)
    fitted_to, chose = int(here.fitted.sum()), int((here.chose & ~here.fitted).sum())
    soup = run_folder.checkpoint_file(run) if "soup" in parts else None
    metrics: dict[str, Any] = {
        "name": config["name"] or data.name,
        "data": data.name,
        "split": average.split,
        "dataset": dict(average.dataset),
        "checkpoint": soup and str(soup.resolve()),
        "checkpoint_mark": soup and run_folder.checkpoint_mark(soup),
        "tta": config["tta"],
        "stamp": stamp_of_test(len(answers.labels), fitted_to, chose, here.selected_on_test),
        "label_space": space.as_dict(),
        "choose": config["choose"],
        "score": config["score"],
        "members": [_about(member, parts) for member in members],
        "seen": counted,
        **found,
    }
    extra = {
        predictions_file.IN_TRAINING: here.fitted.astype(int),
        predictions_file.CHOSE: here.chose.astype(int),
    }
    predictions_file.write(run / predictions_file.FILE, [answers], space.classes, extra)
    _draw(run, metrics, space.classes)
    return metrics_file.write(run / metrics_file.FILE, "ensemble", metrics)  # last: what has it is complete


def _about(member: Member, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Return what is written of a member."""
    return {
        "run": member.name,
        "checkpoint": str(run_folder.checkpoint_file(member.folder).resolve()),
        "checkpoint_mark": member.mark,
        "val": member.score,
        "in_average": member in parts["average"].members,
        "in_soup": "soup" in parts and member in parts["soup"].members,
    }


def _draw(run: Path, metrics: Mapping[str, Any], classes: Sequence[str]) -> None:
    from fer.plots import figures

    scores = metrics["average"]["test"]
    count = len(metrics["average"]["members"])
    title = f"average of {count} {'run' if count == 1 else 'runs'}\n{metrics['data']} {metrics['split']}"
    title += f" · n {scores['n']:,} · accuracy {scores['accuracy']:.3f}"
    figure = figures.confusion_figure(np.array(scores["confusion"]), classes, title, metrics["stamp"])
    figures.save(figure, run / "confusion.png")


def print_tables(metrics: Mapping[str, Any], run: Path) -> None:
    """Print who was chosen, and what the best single member, the average and the soup score on the same images."""
    score = SCORES[metrics["score"]]
    column = f"val {score.short or score.title}"

    def shown(value: float | None) -> str:
        return "" if value is None else score.text(value, further=1)

    rows = [
        [one["run"], shown(one["val"]), *("yes" if one[key] else "" for key in ("in_average", "in_soup"))]
        for one in metrics["members"]
    ]
    chosen = "all are taken" if metrics["choose"] == "all" else "chosen on validation, best first"
    tables = fitted(f"{len(rows)} members, {chosen}", ["member", column, "in average", "in soup"], rows, WIDTH)
    lines = []
    for name, title in TITLES.items():
        if (part := metrics[name]) is None:
            continue
        scores = part["test"]
        bounds = scores.get("accuracy_95")
        interval = SCORES["accuracy"].interval(bounds) if bounds else ""
        unseen = f"{part['clean']['accuracy']:.3f}" if "clean" in part else ""
        line = [title, str(len(part["members"])), shown(part["val"]), f"{scores['n']:,}", f"{scores['accuracy']:.3f}"]
        lines.append([*line, interval, f"{scores['balanced_accuracy']:.3f}", f"{scores['f1_macro']:.3f}", unseen])
    split = metrics["split"]
    header = [
        "",
        "members",
        column,
        "n",
        "accuracy",
        "95 % interval",
        "bal. accuracy",
        "macro F1",
        "acc, unseen",
    ]
    title = f"{metrics['data']}, {split}{said_of_tta(metrics['tta'])}"
    tables += fitted(title, header, lines, WIDTH)
    tables += class_table({split: metrics["average"]["test"]}, f"the average, {title}")
    said = [cell(leak_line(metrics["seen"]))]
    said += [cell(metrics["stamp"], "bold red")] if metrics["stamp"] else []
    if metrics["soup"] is not None:
        if len(metrics["soup"]["members"]) == 1:
            said.append(cell("the soup is the best single member alone: with another's weights in it validation falls"))
        said.append(cell(f"the soup's checkpoint: python -m fer.test ckpt={run}"))
    tell(*tables, *said, cell(f"ensemble: {run}"))
