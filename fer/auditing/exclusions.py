"""Which samples had better be left out, and why: what ``exclude.csv`` holds. Nothing on disk is touched."""

from collections.abc import Mapping, Sequence
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
    """Say which samples each reason speaks against, bool of shape (N,) each; their meaning stands in conf/audit.yaml.

    Args:
        samples: The dataset.
        looks: What its images look like.
        found: Copies within it.
        across: Copies in another dataset; None if none was searched.
        suspects: Labels that look wrong; None if none was looked for.
    """
    nothing = np.zeros(len(samples), dtype=np.bool_)
    # Of copies in two splits the later split's is kept: a test split stays as others use it.
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


def write(path: Path, samples: Samples, left_out: LeftOut) -> None:
    """Write ``exclude.csv``: id, and all reasons, parted by ``;``."""
    rows = [
        [samples.ids[row], ";".join(reason for reason, images in left_out.reasons.items() if images[row])]
        for row in np.flatnonzero(left_out.rows)
    ]
    write_csv(path, ["id", "reason"], rows)
