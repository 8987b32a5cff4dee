"""Which samples to leave out, and why: the content of ``exclude.csv``. Images on disk are never changed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer.auditing import copies
from fer.auditing.appearance import Looks
from fer.auditing.suspect_labels import Suspects
from fer.data import near_copies
from fer.data.samples import SPLITS, Samples
from fer.files.csv_table import write_csv

Bools = npt.NDArray[np.bool_]

BEFORE = "excluded_before"
"""The reason of what ``data.exclude`` had left out of the audit."""


@dataclass(frozen=True)
class LeftOut:
    """What is to be left out.

    Attributes:
        rows: bool of shape (N,).
        reasons: Each reason that was asked for, and the samples left out by it, bool of shape (N,).
    """

    rows: Bools
    reasons: dict[str, Bools]


def reasons(
    samples: Samples, looks: Looks, found: copies.Copies, across: near_copies.Pairs | None, suspects: Suspects | None
) -> dict[str, Bools]:
    """Return the samples that each reason applies to, bool of shape (N,) each; conf/audit.yaml explains the reasons.

    Args:
        samples: The dataset.
        looks: What its images look like.
        found: Copies within it.
        across: Copies in another dataset; None if there is no other dataset.
        suspects: Labels that look wrong; None if they were not searched for.
    """
    nothing = np.zeros(len(samples), dtype=np.bool_)
    # Of copies in two splits, the one in the later split is kept: the test split stays as published.
    leaking = nothing.copy()
    for (split, other), images in copies.across_splits(found.groups, samples.splits).items():
        if SPLITS.index(split) < SPLITS.index(other):
            leaking |= images
    in_against, suspect = nothing.copy(), nothing.copy()
    if across is not None:
        in_against[across.first] = True
    if suspects is not None:
        suspect[suspects.rows] = True
    return {
        "copies_across_splits": leaking,
        "redundant": copies.redundant(found.exact, samples.splits),
        "near_redundant": copies.redundant(found.groups, samples.splits),
        "conflicting_labels": copies.conflicting(found.exact, samples.labels),
        "near_conflicting_labels": copies.near_conflicting(found, samples),
        "in_against": in_against,
        "flat": looks.flat,
        "dark": looks.dark,
        "bright": looks.bright,
        "suspect_labels": suspect,
    }


def choose(
    found: Mapping[str, Bools], splits: npt.NDArray[np.str_], asked: Sequence[str], exclude_from: Sequence[str]
) -> LeftOut:
    """Choose what is left out.

    Args:
        found: From :func:`reasons`.
        splits: str of shape (N,).
        asked: The reasons that count.
        exclude_from: The splits that samples are left out of.
    """
    chosen = {reason: found[reason] & np.isin(splits, list(exclude_from)) for reason in asked}
    return LeftOut(np.logical_or.reduce([np.zeros(len(splits), np.bool_), *chosen.values()]), chosen)


def write(path: Path, samples: Samples, left_out: LeftOut, before: Collection[str] = ()) -> None:
    """Write ``exclude.csv``: id, and all reasons, separated by ``;``.

    Args:
        path: The file.
        samples: The dataset, without what was left out before.
        left_out: From :func:`choose`.
        before: Ids that the audit's own ``data.exclude`` lists: training takes one list.
    """
    rows = [
        [samples.ids[row], ";".join(reason for reason, images in left_out.reasons.items() if images[row])]
        for row in np.flatnonzero(left_out.rows)
    ]
    write_csv(path, ["id", "reason"], [*rows, *([id_, BEFORE] for id_ in sorted(before))])
