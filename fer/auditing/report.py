"""What an audit prints and writes: ``audit.html``, ``audit.json``, lists of copies, suspects and exclusions."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from fer.auditing import appearance, audit_tables, copies, exclusions, page
from fer.auditing.suspect_labels import Suspects
from fer.data import near_copies, refine
from fer.data.exclude import listed_ids
from fer.data.samples import Samples
from fer.display import cell, say
from fer.files import predictions
from fer.files.csv_table import write_csv
from fer.files.predictions import Predictions
from fer.files.text import write_json
from fer.framing.framing import Framing

log = logging.getLogger(__name__)

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

_LISTED = 100  # near pairs with different labels in audit.json; near_conflicts.csv has all


@dataclass(frozen=True)
class Findings:
    """All that an audit found.

    Attributes:
        name: The dataset's name.
        samples: The dataset, without samples that are in no split.
        looks: What its images look like.
        found: Copies within it.
        suspects: Labels that look wrong; None if they were not searched for.
        left_out: What ``exclude.csv`` is to hold.
        other_name: The name of the dataset in which copies were searched; empty if there is none.
        other: That dataset.
        across: Copies of images of the first in the second.
        framing: How faces stand in its images; None if that was not or could not be measured.
        training: Probabilities of its training images, from :func:`fer.auditing.out_of_fold.of_training`; None if they
            were not asked for.
    """

    name: str
    samples: Samples
    looks: appearance.Looks
    found: copies.Copies
    suspects: Suspects | None
    left_out: exclusions.LeftOut
    other_name: str = ""
    other: Samples | None = None
    across: near_copies.Pairs | None = None
    framing: Framing | None = None
    training: Predictions | None = None

    @property
    def disputed(self) -> near_copies.Pairs:
        """The near pairs with different labels, the most similar first."""
        which = copies.disputed(self.found.pairs, self.samples)
        return near_copies.Pairs._make(values[which] for values in self.found.pairs)


def describe(name: str, samples: Samples, other_name: str | None, other: Samples | None) -> None:
    """Say what is about to be audited."""
    for title, part in ((name, samples), (other_name, other)):
        if part is not None:
            splits = ", ".join(f"{s} {counts.sum():,}" for s, counts in appearance.class_counts(part).items())
            log.info(
                "%s: %s images of %s (%s)", title, f"{len(part):,}", audit_tables.stored(part.images.shape), splits
            )


def write(run: Path, config: Mapping[str, Any], found: Findings) -> dict[str, Any]:
    """Write ``copies.csv``, ``near_conflicts.csv``, ``exclude.csv``, ``suspect_labels.csv``, a page and ``audit.json``.

    Args:
        run: The audit's folder.
        config: The resolved config.
        found: What was found.

    Returns:
        What stands in ``audit.json``.
    """
    run.mkdir(parents=True, exist_ok=True)
    samples = found.samples
    counts = _counts(config, found)
    _write_csv(run / "copies.csv", _PAIR, copies.table(found.found.pairs, samples, samples))
    _write_csv(run / "near_conflicts.csv", _PAIR, copies.table(found.disputed, samples, samples))
    if found.across is not None and found.other is not None:
        _write_csv(run / "copies_against.csv", _PAIR, copies.table(found.across, samples, found.other))
    if found.suspects is not None:
        _write_csv(run / "suspect_labels.csv", _SUSPECT, _suspect_rows(found.suspects, samples))
    if found.training is not None:
        predictions.write(run / refine.FILE, [found.training], samples.classes)
    listed = config["data"].get("exclude")
    before = listed_ids(Path(listed).expanduser()) if listed else ()
    exclusions.write(run / "exclude.csv", samples, found.left_out, before)
    page.make(run, config, found, counts).write(run / "audit.html")
    write_json(run / "audit.json", counts)  # last: it marks a complete audit
    return counts


_PAIR = ("id_a", "id_b", "split_a", "split_b", "label_a", "label_b", "similarity", "mirrored", "exact")
_SUSPECT = ("id", "split", "label", "likely", "p_label", "p_likely", "margin")


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    write_csv(path, header, ([row[name] for name in header] for row in rows))


def _suspect_rows(suspects: Suspects, samples: Samples) -> list[dict[str, Any]]:
    rows = []
    for row, likely, margin in zip(suspects.rows, suspects.likely, suspects.margin, strict=True):
        label, p = samples.labels[row], suspects.probabilities[row]
        names = {"label": samples.classes[label], "likely": samples.classes[likely]}
        values = {"p_label": f"{p[label]:.4f}", "p_likely": f"{p[likely]:.4f}", "margin": f"{margin:.4f}"}
        rows.append({"id": samples.ids[row], "split": samples.splits[row], **names, **values})
    return rows


def _counts(config: Mapping[str, Any], found: Findings) -> dict[str, Any]:
    """Return all counts as plain data, as ``audit.json`` holds them."""
    samples, looks = found.samples, found.looks
    before = appearance.class_counts(samples)
    kept = ~found.left_out.rows
    after = {
        s: np.bincount(samples.labels[kept & (samples.splits == s)], minlength=len(samples.classes)) for s in before
    }
    against = None
    if found.across is not None and found.other is not None:
        copied = copies.summary_across(found.across, samples, found.other)
        against = {"data": found.other_name, "images": len(found.other), "copies": copied}
    return {
        "name": config["name"] or found.name,
        "data": found.name,
        "images": len(samples),
        "stored_as": list(samples.images.shape[1:]),
        "file_sizes": {f"{width}x{height}": count for (width, height), count in looks.sizes.items()},
        "classes": _by_class(before, samples.classes),
        "looks": {
            "mean_brightness": float(looks.brightness.mean()),
            "mean_contrast": float(looks.contrast.mean()),
            **{key: int(getattr(looks, key).sum()) for key in ("flat", "dark", "bright", "outliers")},
            "oddities": looks.oddities,
        },
        **_copy_counts(config, found),
        "framing": found.framing and found.framing.as_dict(),
        "against": against,
        "suspect_labels": _suspect_counts(config, found.suspects, samples) if found.suspects is not None else None,
        "exclude": {
            "from": list(config["exclude_from"]),
            "images": int(found.left_out.rows.sum()),
            "reasons": {
                reason: {split: int((images & (samples.splits == split)).sum()) for split in before}
                for reason, images in found.left_out.reasons.items()
            },
            "after": _by_class(after, samples.classes),
        },
    }


def _copy_counts(config: Mapping[str, Any], found: Findings) -> dict[str, Any]:
    """Count the copies within the dataset, and those whose labels differ."""
    samples, pairs, disputed = found.samples, found.found.pairs, found.disputed
    conflicts = copies.conflicting(found.found.exact, samples.labels)
    near = copies.near_conflicting(found.found, samples)
    every = copies.summary(found.found.groups, conflicts | near, samples) if config["copies"] == "near" else None
    return {
        "copies": {
            "exact": copies.summary(found.found.exact, conflicts, samples),
            "near": every,
            "similarity": config["similarity"],
            "pairs": len(pairs.first),
            "near_pairs": int((~pairs.exact).sum()),
            "mirrored_pairs": int(pairs.mirrored.sum()),
        },
        "near_conflicts": {
            "pairs": len(disputed.first),
            "images": int(near.sum()),
            "pairs_of_one_subject": copies.of_one_subject(pairs, samples),
            "most_similar": copies.table(
                near_copies.Pairs._make(values[:_LISTED] for values in disputed), samples, samples
            ),
        },
    }


def _suspect_counts(config: Mapping[str, Any], suspects: Suspects, samples: Samples) -> dict[str, Any]:
    """Count the labels that look wrong, and say how good the model is that they look wrong to."""
    labels = samples.labels[suspects.judged]
    thresholds = zip(samples.classes, suspects.thresholds, strict=True)
    return {
        "probabilities": config["probabilities"],
        "judged": len(suspects.judged),
        "accuracy": suspects.accuracy,
        "balanced_accuracy": suspects.balanced_accuracy,
        "most_frequent": float(np.bincount(labels).max() / len(labels)),
        "suspects": len(suspects.rows),
        "thresholds": {name: None if np.isnan(value) else float(value) for name, value in thresholds},
        "joint": suspects.joint.tolist(),
    }


def _by_class(counts: Mapping[str, Rows], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    return {split: dict(zip(classes, values.tolist(), strict=True)) for split, values in counts.items()}


def print_tables(counts: Mapping[str, Any], run: Path) -> None:
    """Print what was found, what ``exclude.csv`` holds, and where the report lies."""
    console = Console()
    tables = [audit_tables.class_lines(counts), audit_tables.copy_lines(counts), audit_tables.leak_lines(counts)]
    if counts["against"]:
        tables.append(audit_tables.against_lines(counts))
    tables.append(audit_tables.exclude_lines(counts))
    for header, lines in tables:
        if not lines:
            continue
        table = Table(box=None, title_justify="left")
        for number, name in enumerate(header):
            table.add_column(cell(name), justify="right" if number else "left", no_wrap=not number)
        for line in lines:
            table.add_row(*map(cell, line))
        console.print(table)
        console.print()
    for found in audit_tables.summary(counts):
        say(console, found)
    console.print()
    for said, command in audit_tables.advice(counts, run):
        say(console, said)
        if command:
            say(console, f"  {command}")
    say(console, f"report: {run / 'audit.html'}")
