"""The page of an audit: a summary, what to do, and the pictures that show what was found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fer.auditing import appearance, audit_tables, dataset_figures
from fer.data import near_copies
from fer.data.samples import Samples
from fer.plots.page import Page
from fer.plots.tables import shortened

if TYPE_CHECKING:
    from fer.auditing.report import Findings

Rows = npt.NDArray[np.int64]

_PER_CLASS = 8  # samples of each class shown
_OF_A_GROUP = 3  # images of a group shown


def make(run: Path, config: Mapping[str, Any], found: "Findings", counts: Mapping[str, Any]) -> Page:
    """Make the page.

    Args:
        run: The audit's folder.
        config: The resolved config.
        found: What was found.
        counts: What stands in ``audit.json``.
    """
    samples, stored = found.samples, audit_tables.stored(found.samples.images.shape)
    page = Page(
        f"Audit of {found.name}",
        f"{len(samples):,} images, {len(samples.classes)} classes, read as {stored}. Nothing on disk was changed.",
    )

    page.section("Summary")
    page.points(audit_tables.summary(counts))
    page.heading("What to do")
    for said, command in audit_tables.advice(counts, run):
        page.text(said)
        if command:
            page.command(command)

    _classes(page, config, samples, counts)
    _light(page, config, found)
    _sizes(page, found, stored)
    _copies(page, config, found, counts)
    if found.suspects is not None:
        _labels(page, config, found, counts)

    page.section("Cleaning")
    page.text(
        f"exclude.csv lists {counts['exclude']['images']:,} images of the split "
        f"{', '.join(counts['exclude']['from'])}; an image may be there for several reasons. Nothing was deleted: "
        f"with data.exclude=<that file>, any command leaves them out."
    )
    page.table(*audit_tables.exclude_lines(counts))
    page.text("Images per class, before and after:")
    page.table(*audit_tables.class_lines(counts))
    return page


def _classes(page: Page, config: Mapping[str, Any], samples: Samples, counts: Mapping[str, Any]) -> None:
    """Add the section on classes and splits, with some images of each class."""
    generator = np.random.default_rng(config["seed"])
    page.section("Classes and splits")
    page.table(*audit_tables.class_lines(counts))
    figure = dataset_figures.class_counts_figure(appearance.class_counts(samples), samples.classes)
    page.figure(figure, "images per class and split")
    of_class = [np.flatnonzero(samples.labels == c) for c in range(len(samples.classes))]
    some = [[samples.images[row] for row in generator.permutation(rows)[:_PER_CLASS]] for rows in of_class]
    page.text("Randomly drawn:")
    page.figure(dataset_figures.class_samples_figure(some, samples.classes), "samples of each class")


def _light(page: Page, config: Mapping[str, Any], found: "Findings") -> None:
    """Add the section on brightness and contrast, and the images that are unusual in them."""
    samples, looks = found.samples, found.looks
    page.section("Light")
    figure = dataset_figures.light_figure(looks.brightness, looks.contrast, samples.splits)
    page.figure(figure, "histograms of brightness and contrast")
    page.text(f"Brightness by class. {looks.outliers.sum():,} images lie outside their class's whiskers:")
    figure = dataset_figures.brightness_boxes_figure(looks.brightness, samples.labels, samples.classes)
    page.figure(figure, "brightness, box plots")
    for oddity in looks.oddities:
        page.text(oddity, "stamp")
    order = np.argsort(-np.abs(looks.brightness - np.median(looks.brightness)), kind="stable")
    others = ~looks.flat  # flat images would fill the other galleries
    kinds = (
        ("flat images, of one colour", looks.flat),
        ("other outliers of brightness", looks.outliers & others),
        (f"other dark images, mean pixel at most {config['dark']:g}", looks.dark & others),
        (f"other bright images, mean pixel at least {config['bright']:g}", looks.bright & others),
    )
    for what, which in kinds:
        rows = order[which[order]]
        notes = [f"mean {looks.brightness[row]:.3f}" for row in rows[: config["pictures"]]]
        _gallery(page, samples, rows, notes, what)


def _sizes(page: Page, found: "Findings", stored: str) -> None:
    """Add the section on the sizes of the image files."""
    sizes = found.looks.sizes
    page.section("Sizes")
    if sizes:
        page.table(
            ["width x height of the files", "images"],
            [[f"{width}x{height}", f"{count:,}"] for (width, height), count in list(sizes.items())[:20]],
        )
        if len(sizes) > 20:
            page.text(f"... and {len(sizes) - 20:,} more sizes", "note")
    else:
        page.text("The images are not in files of their own that could be measured.", "note")
    page.text(f"They are read as {stored}.")


def _copies(page: Page, config: Mapping[str, Any], found: "Findings", counts: Mapping[str, Any]) -> None:
    """Add the sections on copies."""
    samples, groups, shown = found.samples, found.found.groups, config["pictures"]
    page.section("Copies")
    page.table(*audit_tables.copy_lines(counts))
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
    conflicts = near_copies.mixed(exact, samples.labels)
    _groups(page, found, exact, conflicts, shown, "groups of exact copies with different labels")
    if config["copies"] == "near":
        pairs = found.disputed
        if len(pairs.first):
            page.text(
                f"{audit_tables.near_line(counts)} Some are one picture labelled twice; others are one person with "
                "another expression, and their labels are right. near_conflicts.csv lists all; "
                "exclude=[...,near_conflicting_labels] leaves them out.",
                "note",
            )
        if count := counts["near_conflicts"]["pairs_of_one_subject"]:
            page.text(f"{count:,} more pairs are two pictures of one person, and no conflict.", "note")
        every = np.arange(len(pairs.first))
        _pairs(page, pairs, every, samples, samples, shown, "near copies with different labels, the most similar first")

    page.section("Copies across splits")
    header, lines = audit_tables.leak_lines(counts)
    if lines:
        page.table(header, lines)
    else:
        page.text("There is one split only.", "note")
    _groups(page, found, groups, near_copies.mixed(groups, samples.splits), shown, "groups of copies across splits")

    if found.across is not None and found.other is not None:
        page.section(f"Copies in {found.other_name}")
        page.table(*audit_tables.against_lines(counts))
        _pairs(page, found.across, np.arange(len(found.across.first)), samples, found.other, shown, "pairs of copies")


def _labels(page: Page, config: Mapping[str, Any], found: "Findings", counts: Mapping[str, Any]) -> None:
    """Add the section on labels that look wrong."""
    assert found.suspects is not None
    samples, suspects = found.samples, found.suspects
    page.section("Labels that look wrong")
    page.text(f"{audit_tables.suspects_line(counts)}.")
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
    """Add single images, each above its id, split, label and note; as many as there are notes."""
    if _introduced(page, len(rows), len(notes), what):
        page.pictures(
            ([samples.images[row]], [_caption(samples, row), note]) for row, note in zip(rows, notes, strict=False)
        )


def _groups(page: Page, found: "Findings", groups: Rows, heads: Rows, shown: int, what: str) -> None:
    """Add some groups of copies, given by their first rows, each above its images' ids, splits and labels."""
    if not _introduced(page, len(heads), shown, what):
        return
    pictures = []
    for head in heads[:shown]:
        rows = np.flatnonzero(groups == head)
        # Of a large group, show first the images that differ in label or split: they are why it is listed.
        key = np.char.add(found.samples.splits[rows], found.samples.labels[rows].astype(str))
        first = np.sort(np.unique(key, return_index=True)[1])
        rows = np.concatenate([rows[first], np.delete(rows, first)])
        lines = [_caption(found.samples, row) for row in rows[:_OF_A_GROUP]]
        lines += [f"and {len(rows) - _OF_A_GROUP} more"] if len(rows) > _OF_A_GROUP else []
        pictures.append(([found.samples.images[row] for row in rows[:_OF_A_GROUP]], lines))
    page.pictures(pictures)


def _pairs(page: Page, pairs: near_copies.Pairs, which: Rows, a: Samples, b: Samples, shown: int, what: str) -> None:
    """Add pairs of copies, each above its images' ids, splits and labels."""
    if not _introduced(page, len(which), shown, what):
        return
    pictures = []
    for pair in which[:shown]:
        i, j = pairs.first[pair], pairs.second[pair]
        how = "equal" if pairs.exact[pair] else f"similarity {pairs.similarity[pair]:.3f}"
        how += ", mirrored" if pairs.mirrored[pair] else ""
        pictures.append(([a.images[i], b.images[j]], [_caption(a, i), _caption(b, j), how]))
    page.pictures(pictures)


def _introduced(page: Page, count: int, shown: int, what: str) -> bool:
    """Say how many pictures of a kind there are and how many follow; return whether there are any."""
    number = f"{count:,}" if count <= shown else f"{shown} of {count:,}"
    page.text(f"{number} {what}:" if count else f"No {what}.")
    return count > 0


def _caption(samples: Samples, row: int) -> str:
    return f"{shortened(samples.ids[row], 40)} · {samples.splits[row]} · {samples.classes[samples.labels[row]]}"
