"""What an audit found, as tables and sentences, from the plain data of ``audit.json``."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from fer.config.quoting import quoted
from fer.data.samples import SPLITS
from fer.framing.framing import Framing

Lines = list[list[str]]


def stored(shape: Sequence[int]) -> str:
    """Say how images are stored, given the shape of all: (N, H, W) or (N, H, W, 3)."""
    return f"{shape[2]}x{shape[1]} {'grey' if len(shape) == 3 else 'RGB'}"


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


def near_line(counts: Mapping[str, Any]) -> str:
    """Say how many near copies have different labels, and what becomes of them."""
    found = counts["near_conflicts"]
    out = "near_conflicting_labels" in counts["exclude"]["reasons"]
    return (
        f"labels: {found['images']:,} images have a near copy with another label, in {found['pairs']:,} pairs; "
        f"they are {'' if out else 'not '}left out."
    )


def suspects_line(counts: Mapping[str, Any]) -> str:
    """Say how many labels look wrong to which model."""
    found = counts["suspect_labels"]
    source = f"the model of {found['probabilities']}" if found["probabilities"] else "a fast classifier, out of fold,"
    return (
        f"{found['suspects']:,} of {found['judged']:,} look wrong to {source} that is right on "
        f"{100 * found['accuracy']:.1f} % of them (the most frequent class alone: {100 * found['most_frequent']:.1f} %)"
    )


def summary(counts: Mapping[str, Any]) -> list[str]:
    """Say in a few sentences what was found, the gravest first."""
    kinds = counts["copies"]
    every = kinds["near"] or kinds["exact"]
    lines = []
    for row in every["across_splits"]:
        if row["images"] and SPLITS.index(row["images_of"]) > SPLITS.index(row["copied_in"]):
            split = row["images_of"]
            of = sum(counts["classes"][split].values())
            lines.append(
                f"Leak: {row['images']:,} of {of:,} {split} images have a copy in {row['copied_in']}: scores on "
                f"{split} are too good."
            )
    if count := kinds["exact"]["conflicting_images"]:
        groups = kinds["exact"]["conflicting_groups"]
        lines.append(f"Labels: {count:,} images in {groups:,} groups of equal pixels do not agree on their label.")
    if counts["near_conflicts"]["pairs"]:
        lines.append(f"L{near_line(counts)[1:]}")
    if counts["suspect_labels"]:
        lines.append(f"Labels: {suspects_line(counts)}.")
    if counts["against"] and (count := counts["against"]["copies"]["images"]):
        lines.append(f"Leak: {count:,} images have a copy in {counts['against']['data']}.")
    if every["redundant"]:
        exact = f", {kinds['exact']['redundant']:,} of them equal pixels" if kinds["near"] else ""
        lines.append(f"Copies: {every['redundant']:,} images are copies of others{exact}.")
    looks = counts["looks"]
    if odd := [f"{looks[kind]:,} {kind}" for kind in ("flat", "dark", "bright") if looks[kind]]:
        lines.append(f"Light: {', '.join(odd)} images.")
    names = list(next(iter(counts["classes"].values())))
    totals = [sum(split[name] for split in counts["classes"].values()) for name in names]
    if min(totals) * 5 < max(totals):
        least, most = names[totals.index(min(totals))], names[totals.index(max(totals))]
        lines.append(
            f"Balance: {least} has {min(totals):,} images, {most} {max(totals):,}: see loss.class_weights=balanced and "
            f"data.sampler=weighted."
        )
    lines = lines or ["Nothing unusual was found."]
    return [*lines, *([f"Faces: {Framing.from_dict(counts['framing'])}."] if counts["framing"] else [])]


def advice(counts: Mapping[str, Any], run: Path) -> list[tuple[str, str]]:
    """Return advice: sentences, each with its command or an empty text."""
    left_out, before = counts["exclude"], counts["classes"]
    of = sum(sum(before[split].values()) for split in left_out["from"] if split in before)
    if left_out["images"]:
        share = 100 * left_out["images"] / max(1, of)
        where = " and ".join(left_out["from"])
        said = f"Train without the {left_out['images']:,} of {of:,} {where} images ({share:.1f} %) in exclude.csv:"
        steps = [(said, command(run / "exclude.csv"))]
    else:
        steps = [("Nothing needs to be left out. Train on it as it is:", command(None))]
    looked = []
    if counts["near_conflicts"]["pairs"] and "near_conflicting_labels" not in left_out["reasons"]:
        looked.append("near_conflicts.csv (exclude=[...,near_conflicting_labels] leaves them out)")
    if (
        counts["suspect_labels"]
        and counts["suspect_labels"]["suspects"]
        and "suspect_labels" not in left_out["reasons"]
    ):
        looked.append("suspect_labels.csv (exclude=[...,suspect_labels] leaves them out)")
    if looked:
        steps.append((f"Look before you decide on: {', '.join(looked)}.", ""))
    return steps


def command(exclude: Path | None) -> str:
    """Return the training command for this command's choice of data, without the samples that a file lists."""
    chosen = [o for o in HydraConfig.get().overrides.task if o.startswith(("data=", "data.", "+data."))]
    chosen = [o for o in chosen if not o.startswith("data.exclude=")] if exclude else chosen
    chosen += [quoted(f"data.exclude={exclude}")] if exclude else []
    return " ".join(["python -m fer.train", *map(shlex.quote, chosen)])
