"""What an audit says and leaves: ``audit.html``, ``audit.json``, lists of copies, of suspects, of what to leave out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from fer import cleaning, copies, eda, figures, leaks
from fer.data.samples import Samples
from fer.display import cell, say, write_csv
from fer.label_noise import Suspects
from fer.page import Page
from fer.results import write_json

log = logging.getLogger(__name__)

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Lines = list[list[str]]

_PER_CLASS = 8  # samples of each class shown
_OF_A_GROUP = 3  # images of a group shown
_LISTED = 100  # near pairs with different labels in audit.json; near_conflicts.csv has all


@dataclass(frozen=True)
class Findings:
    """All that an audit found.

    Attributes:
        name: The dataset's name.
        samples: The dataset, without what is in no split.
        looks: What its images look like.
        found: Copies within it.
        suspects: Labels that look wrong; None if none was looked for.
        left_out: What ``exclude.csv`` is to hold.
        other_name: The name of the dataset in which copies were searched; empty if there is none.
        other: That dataset.
        across: Copies of images of the first in the second.
    """

    name: str
    samples: Samples
    looks: eda.Looks
    found: copies.Copies
    suspects: Suspects | None
    left_out: cleaning.LeftOut
    other_name: str = ""
    other: Samples | None = None
    across: leaks.Pairs | None = None


def describe(name: str, samples: Samples, other_name: str | None, other: Samples | None) -> None:
    """Say what is about to be audited."""
    for title, part in ((name, samples), (other_name, other)):
        if part is not None:
            splits = ", ".join(f"{s} {counts.sum():,}" for s, counts in eda.class_counts(part).items())
            log.info("%s: %s images of %s (%s)", title, f"{len(part):,}", _stored(part), splits)


def _stored(samples: Samples) -> str:
    height, width = samples.images.shape[1:3]
    return f"{width}x{height} {'grey' if samples.images.ndim == 3 else 'RGB'}"


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
    _write_csv(run / "near_conflicts.csv", _PAIR, copies.table(_disputed(found), samples, samples))
    if found.across is not None and found.other is not None:
        _write_csv(run / "copies_against.csv", _PAIR, copies.table(found.across, samples, found.other))
    if found.suspects is not None:
        _write_csv(run / "suspect_labels.csv", _SUSPECT, _suspect_rows(found.suspects, samples))
    cleaning.write(run / "exclude.csv", samples, found.left_out)
    _page(run, config, found, counts).write(run / "audit.html")
    write_json(run / "audit.json", counts)  # last: what has it is complete
    return counts


_PAIR = ("id_a", "id_b", "split_a", "split_b", "label_a", "label_b", "similarity", "mirrored", "exact")
_SUSPECT = ("id", "split", "label", "likely", "p_label", "p_likely", "margin")


def _disputed(found: Findings) -> leaks.Pairs:
    """Return the near pairs with different labels, the most similar first."""
    pairs = found.found.pairs
    which = copies.disputed(pairs, found.samples)
    return leaks.Pairs._make(values[which] for values in pairs)


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
    """Return all counts as plain data."""
    samples, looks, pairs = found.samples, found.looks, found.found.pairs
    conflicts = copies.conflicting(found.found.exact, samples.labels)
    near, disputed = copies.near_conflicting(found.found, samples), _disputed(found)
    before = eda.class_counts(samples)
    kept = ~found.left_out.rows
    after = {
        s: np.bincount(samples.labels[kept & (samples.splits == s)], minlength=len(samples.classes)) for s in before
    }
    counts: dict[str, Any] = {
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
        "copies": {
            "exact": copies.summary(found.found.exact, conflicts, samples),
            "near": copies.summary(found.found.groups, conflicts | near, samples)
            if config["copies"] == "near"
            else None,
            "similarity": config["similarity"],
            "pairs": len(pairs.first),
            "near_pairs": int((~pairs.exact).sum()),
            "mirrored_pairs": int(pairs.mirrored.sum()),
        },
        "near_conflicts": {
            "pairs": len(disputed.first),
            "images": int(near.sum()),
            "pairs_of_one_subject": copies.of_one_subject(pairs, samples),
            "most_similar": copies.table(leaks.Pairs._make(values[:_LISTED] for values in disputed), samples, samples),
        },
        "against": None,
        "suspect_labels": None,
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
    if found.across is not None and found.other is not None:
        counts["against"] = {"data": found.other_name, "images": len(found.other)}
        counts["against"]["copies"] = copies.summary_across(found.across, samples, found.other)
    if found.suspects is not None:
        suspects = found.suspects
        labels = samples.labels[suspects.judged]
        counts["suspect_labels"] = {
            "probabilities": config["probabilities"],
            "judged": len(suspects.judged),
            "accuracy": suspects.accuracy,
            "balanced_accuracy": suspects.balanced_accuracy,
            "most_frequent": float(np.bincount(labels).max() / len(labels)),
            "suspects": len(suspects.rows),
            "thresholds": {
                name: None if np.isnan(value) else float(value)
                for name, value in zip(samples.classes, suspects.thresholds, strict=True)
            },
            "joint": suspects.joint.tolist(),
        }
    return counts


def _by_class(counts: Mapping[str, Rows], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    return {split: dict(zip(classes, values.tolist(), strict=True)) for split, values in counts.items()}


def class_lines(counts: Mapping[str, Any]) -> tuple[list[str], Lines]:
    """Return the table of images per class and split, before and after cleaning."""
    before, after = counts["classes"], counts["exclude"]["after"]
    cleaned = [split for split in before if split in counts["exclude"]["from"]]
    header = ["class", *before, "all", *(f"{split} cleaned" for split in cleaned)]
    lines = []
    for name in next(iter(before.values())):
        values = [before[split][name] for split in before]
        values += [sum(values), *(after[split][name] for split in cleaned)]
        lines.append([name, *(f"{value:,}" for value in values)])
    totals = [sum(before[split].values()) for split in before]
    totals += [sum(totals), *(sum(after[split].values()) for split in cleaned)]
    return header, [*lines, ["all", *(f"{value:,}" for value in totals)]]


def copy_lines(counts: Mapping[str, Any]) -> tuple[list[str], Lines]:
    """Return the table of copies, exact ones and all."""
    kinds = {"exact": counts["copies"]["exact"], "exact and near": counts["copies"]["near"]}
    kinds = {kind: values for kind, values in kinds.items() if values}
    rows = (
        ("groups of copies", "groups"),
        ("redundant images (all but one of each group)", "redundant"),
        ("images in the largest group", "largest"),
        ("groups with conflicting labels", "conflicting_groups"),
        ("images in them", "conflicting_images"),
    )
    return ["copies", *kinds], [[text, *(f"{values[key]:,}" for values in kinds.values())] for text, key in rows]


def leak_lines(counts: Mapping[str, Any]) -> tuple[list[str], Lines]:
    """Return the table of copies across splits."""
    kinds = {"exact": counts["copies"]["exact"], "exact and near": counts["copies"]["near"]}
    kinds = {kind: values for kind, values in kinds.items() if values}
    lines: Lines = []
    for place, row in enumerate(counts["copies"]["exact"]["across_splits"]):
        of = sum(counts["classes"][row["images_of"]].values())
        images = [values["across_splits"][place]["images"] for values in kinds.values()]
        shares = [f"{count:,} ({100 * count / of:.1f} %)" for count in images]
        lines.append([f"{row['images_of']} images that have a copy in {row['copied_in']}", *shares])
    return ["across splits", *kinds], lines


def against_lines(counts: Mapping[str, Any]) -> tuple[list[str], Lines]:
    """Return the table of copies in another dataset."""
    against = counts["against"]
    found = against["copies"]
    lines = [
        [f"{row['images_of']} images that have a copy in {against['data']} {row['copied_in']}",
         f"{row['images']:,}", f"{row['labelled_otherwise']:,}"]
        for row in found["splits"]
    ]  # fmt: skip
    lines.append(["all", f"{found['images']:,}", f"{found['labelled_otherwise']:,}"])
    return [f"{counts['data']} against {against['data']}", "images", "labelled otherwise there"], lines


def exclude_lines(counts: Mapping[str, Any]) -> tuple[list[str], Lines]:
    """Return the table of what ``exclude.csv`` holds, by reason."""
    splits = [split for split in counts["classes"] if split in counts["exclude"]["from"]]
    lines = [
        [reason.replace("_", " "), *(f"{values[split]:,}" for split in splits)]
        for reason, values in counts["exclude"]["reasons"].items()
        if counts["against"] or reason != "in_against"
    ]
    return ["exclude.csv: reason", *splits], lines


def print_tables(counts: Mapping[str, Any], run: Path) -> None:
    """Print what was found, what ``exclude.csv`` holds, and where the report lies."""
    console = Console()
    tables = [class_lines(counts), copy_lines(counts), leak_lines(counts)]
    if counts["against"]:
        tables.append(against_lines(counts))
    tables.append(exclude_lines(counts))
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
    looks = counts["looks"]
    last = [f"images: {looks['flat']} flat, {looks['dark']} dark, {looks['bright']} bright"]
    if counts["near_conflicts"]["pairs"] and "near_conflicting_labels" not in counts["exclude"]["reasons"]:
        last.append(f"{_near_line(counts)} Look at them: {run / 'near_conflicts.csv'}")
    if counts["suspect_labels"]:
        last.append(f"labels: {_suspects_line(counts)}")
    last.append(f"{counts['exclude']['images']:,} images in all: data.exclude={run / 'exclude.csv'}")
    last.append(f"report: {run / 'audit.html'}")
    for text in last:
        say(console, text)


def _near_line(counts: Mapping[str, Any]) -> str:
    """Say how many near copies have different labels, and what becomes of them."""
    found = counts["near_conflicts"]
    out = "near_conflicting_labels" in counts["exclude"]["reasons"]
    return (
        f"labels: {found['images']:,} images have a near copy with another label, in {found['pairs']:,} pairs; "
        f"they are {'' if out else 'not '}left out."
    )


def _suspects_line(counts: Mapping[str, Any]) -> str:
    """Say how many labels look wrong, and to whom."""
    found = counts["suspect_labels"]
    source = f"the model of {found['probabilities']}" if found["probabilities"] else "a fast classifier, out of fold,"
    return (
        f"{found['suspects']:,} of {found['judged']:,} look wrong to {source} that is right on "
        f"{100 * found['accuracy']:.1f} % of them (the most frequent class alone: {100 * found['most_frequent']:.1f} %)"
    )


def _page(run: Path, config: Mapping[str, Any], found: Findings, counts: Mapping[str, Any]) -> Page:
    samples, looks = found.samples, found.looks
    shown = config["pictures"]
    generator = np.random.default_rng(config["seed"])
    page = Page(
        f"Audit of {found.name}",
        f"{len(samples):,} images, {len(samples.classes)} classes, read as {_stored(samples)}. Nothing on disk was "
        f"changed.",
    )

    page.section("Classes and splits")
    page.table(*class_lines(counts))
    page.figure(figures.class_counts_figure(eda.class_counts(samples), samples.classes), "images per class and split")
    some = [
        generator.permutation(np.flatnonzero(samples.labels == c))[:_PER_CLASS] for c in range(len(samples.classes))
    ]
    page.text("Randomly drawn:")
    page.figure(
        figures.class_samples_figure([[samples.images[row] for row in rows] for rows in some], samples.classes),
        "samples of each class",
    )

    page.section("Light")
    page.figure(
        figures.light_figure(looks.brightness, looks.contrast, samples.splits), "histograms of brightness and contrast"
    )
    page.text(f"Brightness by class. {looks.outliers.sum():,} images lie outside their class's whiskers:")
    page.figure(
        figures.brightness_boxes_figure(looks.brightness, samples.labels, samples.classes), "brightness, box plots"
    )
    for oddity in looks.oddities:
        page.text(oddity, "stamp")
    order = np.argsort(-np.abs(looks.brightness - np.median(looks.brightness)), kind="stable")
    odd = ~looks.flat  # flat images would fill the other galleries
    kinds = (
        ("flat images, of one colour", looks.flat),
        ("other outliers of brightness", looks.outliers & odd),
        (f"other dark images, mean pixel at most {config['dark']:g}", looks.dark & odd),
        (f"other bright images, mean pixel at least {config['bright']:g}", looks.bright & odd),
    )
    for what, which in kinds:
        rows = order[which[order]]
        _gallery(page, samples, rows, [f"mean {looks.brightness[row]:.3f}" for row in rows[:shown]], what)

    page.section("Sizes")
    if looks.sizes:
        page.table(
            ["width x height of the files", "images"],
            [[f"{width}x{height}", f"{count:,}"] for (width, height), count in list(looks.sizes.items())[:20]],
        )
        if len(looks.sizes) > 20:
            page.text(f"... and {len(looks.sizes) - 20:,} more sizes", "note")
    else:
        page.text("The images do not lie in files of their own that could be measured.", "note")
    page.text(f"They are read as {_stored(samples)}.")

    _copies(page, config, found, counts)
    if found.suspects is not None:
        _labels(page, config, found, counts)

    page.section("Cleaning")
    page.text(
        f"exclude.csv lists {counts['exclude']['images']:,} images of the split "
        f"{', '.join(counts['exclude']['from'])}; an image may be there for several reasons. Nothing was deleted: "
        f"data.exclude={run / 'exclude.csv'} leaves them out, in any command."
    )
    page.table(*exclude_lines(counts))
    page.text("Images per class, before and after:")
    page.table(*class_lines(counts))
    return page


def _copies(page: Page, config: Mapping[str, Any], found: Findings, counts: Mapping[str, Any]) -> None:
    """Add the sections on copies."""
    samples, groups, shown = found.samples, found.found.groups, config["pictures"]
    page.section("Copies")
    page.table(*copy_lines(counts))
    if config["copies"] == "near":
        page.text(
            f"Exact copies have equal pixels. Near copies correlate by {config['similarity']:g} or more once aligned: "
            "the same picture re-encoded, resized, mirrored, or cropped a little. "
            f"{counts['copies']['near_pairs']:,} pairs are near, {counts['copies']['mirrored_pairs']:,} of them "
            "mirrored. A group is linked by pairs, directly or by way of others. copies.csv lists all pairs.",
            "note",
        )
    heads, sizes = np.unique(groups, return_counts=True)
    largest = heads[np.argsort(-sizes, kind="stable")]
    _groups(page, found, groups, largest[: int((sizes > 1).sum())], shown, "groups, the largest first")
    if config["copies"] == "near":
        near = np.flatnonzero(~found.found.pairs.exact)[::-1]
        _pairs(page, found.found.pairs, near, samples, samples, shown, "near copies, the least similar first")

    page.section("Conflicting labels")
    exact = found.found.exact
    conflicts = leaks.mixed(exact, samples.labels)
    _groups(page, found, exact, conflicts, shown, "groups of exact copies with different labels")
    if config["copies"] == "near":
        pairs = _disputed(found)
        if len(pairs.first):
            page.text(
                f"{_near_line(counts)} Some are one picture labelled twice; others are one person with another "
                "expression, and their labels are right. near_conflicts.csv lists all; "
                "exclude=[...,near_conflicting_labels] leaves them out.",
                "note",
            )
        if count := counts["near_conflicts"]["pairs_of_one_subject"]:
            page.text(f"{count:,} more pairs are two pictures of one person, and no conflict.", "note")
        every = np.arange(len(pairs.first))
        _pairs(page, pairs, every, samples, samples, shown, "near copies with different labels, the most similar first")

    page.section("Copies across splits")
    header, lines = leak_lines(counts)
    if lines:
        page.table(header, lines)
    else:
        page.text("There is one split only.", "note")
    _groups(page, found, groups, leaks.mixed(groups, samples.splits), shown, "groups of copies across splits")

    if found.across is not None and found.other is not None:
        page.section(f"Copies in {found.other_name}")
        page.table(*against_lines(counts))
        _pairs(page, found.across, np.arange(len(found.across.first)), samples, found.other, shown, "pairs of copies")


def _labels(page: Page, config: Mapping[str, Any], found: Findings, counts: Mapping[str, Any]) -> None:
    """Add the section on labels that look wrong."""
    assert found.suspects is not None
    samples, suspects = found.samples, found.suspects
    page.section("Labels that look wrong")
    page.text(f"{_suspects_line(counts)}.")
    page.text(
        "The list is as good as that classifier: where it is often wrong, so is the list, and a label on it is a label "
        "to look at, no more. The probabilities of a trained network make a better one: "
        "probabilities=<run>/predictions.csv. suspect_labels.csv lists all, the most suspect first.",
        "stamp" if suspects.accuracy < 0.8 else "note",
    )
    page.text("Labels in rows, what the images seem to be in columns (by confident learning; others are undecided):")
    page.table(
        ["label", *samples.classes, "threshold"],
        [
            [name, *(f"{count:,}" for count in line), "" if np.isnan(limit) else f"{limit:.2f}"]
            for name, line, limit in zip(samples.classes, suspects.joint, suspects.thresholds, strict=True)
        ],
    )
    rows, likely = suspects.rows[: config["pictures"]], suspects.likely
    p = suspects.probabilities
    notes = [
        f"label {p[r, samples.labels[r]]:.2f}, {samples.classes[c]} {p[r, c]:.2f}"
        for r, c in zip(rows, likely, strict=False)
    ]
    _gallery(
        page,
        samples,
        suspects.rows,
        notes,
        "suspect labels, with the probabilities of the label and of what it more likely is",
    )


def _gallery(page: Page, samples: Samples, rows: Rows, notes: Sequence[str], what: str) -> None:
    """Add single images, each over its id, split, label and note; as many as there are notes."""
    if not len(rows):
        page.text(f"No {what}.")
        return
    shown = rows[: len(notes)]
    page.text(f"{_some(len(rows), len(notes))} {what}:")
    captions = [
        f"{figures.shortened(samples.ids[row])}\n{samples.splits[row]}, {samples.classes[samples.labels[row]]}\n{note}"
        for row, note in zip(shown, notes, strict=True)
    ]
    if captions:
        page.figure(figures.gallery_figure([samples.images[row] for row in shown], captions), what)


def _groups(page: Page, found: Findings, groups: Rows, heads: Rows, shown: int, what: str) -> None:
    """Add some groups of copies, given by their first rows, each over its images' ids, splits and labels."""
    if not len(heads):
        page.text(f"No {what}.")
        return
    page.text(f"{_some(len(heads), shown)} {what}:")
    images, captions = [], []
    for head in heads[:shown]:
        rows = np.flatnonzero(groups == head)
        # Of a large group, those that differ in label or split: they are why it is shown.
        key = np.char.add(found.samples.splits[rows], found.samples.labels[rows].astype(str))
        first = np.sort(np.unique(key, return_index=True)[1])
        rows = np.concatenate([rows[first], np.delete(rows, first)])
        images.append([found.samples.images[row] for row in rows[:_OF_A_GROUP]])
        lines = [_caption(found.samples, row) for row in rows[:_OF_A_GROUP]]
        captions.append([*lines, *([f"and {len(rows) - _OF_A_GROUP} more"] if len(rows) > _OF_A_GROUP else [])])
    if images:
        page.figure(figures.groups_figure(images, captions), what)


def _pairs(page: Page, pairs: leaks.Pairs, which: Rows, a: Samples, b: Samples, shown: int, what: str) -> None:
    """Add pairs of copies, each over its images' ids, splits and labels."""
    if not len(which):
        page.text(f"No {what}.")
        return
    page.text(f"{_some(len(which), shown)} {what}:")
    images, captions = [], []
    for pair in which[:shown]:
        i, j = pairs.first[pair], pairs.second[pair]
        images.append([a.images[i], b.images[j]])
        how = "equal" if pairs.exact[pair] else f"similarity {pairs.similarity[pair]:.3f}"
        how += ", mirrored" if pairs.mirrored[pair] else ""
        captions.append([_caption(a, i), _caption(b, j), how])
    if images:
        page.figure(figures.groups_figure(images, captions), what)


def _caption(samples: Samples, row: int) -> str:
    return f"{figures.shortened(samples.ids[row], 40)} {samples.splits[row]} {samples.classes[samples.labels[row]]}"


def _some(count: int, shown: int) -> str:
    return f"{count:,}" if count <= shown else f"{shown} of {count:,}"
