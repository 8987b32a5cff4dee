"""What copies mean for a dataset: redundant images, conflicting labels, images in two splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fer.data import near_copies
from fer.data.samples import SPLITS, Samples

Bools = npt.NDArray[np.bool_]
Images = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Copies:
    """Copies within a dataset.

    Attributes:
        pairs: Each pair once, most similar first; of exact copies the first is paired with each of the others.
        exact: int64 of shape (N,), the first row of each image's group of equal pixels.
        groups: int64 of shape (N,), likewise for all copies, exact and (if searched for) near.
    """

    pairs: near_copies.Pairs
    exact: Rows
    groups: Rows


def find(images: Images, near: bool, similarity: float) -> Copies:
    """Find copies within a dataset.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        near: Whether near copies are searched for too.
        similarity: Least similarity of near copies.
    """
    if near:
        pairs = near_copies.near_pairs(images, threshold=similarity)
    else:
        first = near_copies.exact_groups(images)
        second = np.flatnonzero(first != np.arange(len(images)))
        pairs = _equal(first[second], second)
    exact = near_copies.Pairs._make(values[pairs.exact] for values in pairs)
    return Copies(pairs, *(near_copies.near_groups(part, len(images)) for part in (exact, pairs)))


def find_across(images: Images, others: Images, near: bool, similarity: float) -> near_copies.Pairs:
    """Find the images of one dataset that are copies of another's.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        others: Likewise, of any number, size and colours.
        near: Whether near copies are searched for too.
        similarity: Least similarity of near copies.

    Returns:
        Rows of the first and of the second dataset, most similar first.
    """
    if near:
        return near_copies.near_pairs(images, others, threshold=similarity)
    return _equal(*near_copies.exact_pairs(images, others))


def _equal(first: Rows, second: Rows) -> near_copies.Pairs:
    count = len(first)
    return near_copies.Pairs(
        first, second, np.ones(count, np.float32), np.zeros(count, np.bool_), np.ones(count, np.bool_)
    )


def in_groups_with(groups: Rows, chosen: Bools) -> Bools:
    """Say which images have a copy among the chosen ones (they themselves have), bool of shape (N,)."""
    has = np.zeros(len(groups), dtype=np.bool_)
    has[groups[chosen]] = True
    return has[groups]


def conflicting(groups: Rows, labels: Rows) -> Bools:
    """Say which images have a copy with another label, bool of shape (N,)."""
    return np.isin(groups, near_copies.mixed(groups, labels))


def disputed(pairs: near_copies.Pairs, samples: Samples) -> Bools:
    """Say which near pairs have different labels, bool of shape (P,).

    Where the subjects are known, two pictures of one person do not count: a different expression rightly has another
    label.
    """
    differ: Bools = ~pairs.exact & (samples.labels[pairs.first] != samples.labels[pairs.second])
    return differ if samples.subjects is None else differ & ~_of_one_subject(pairs, samples.subjects)


def of_one_subject(pairs: near_copies.Pairs, samples: Samples) -> int:
    """Count the near pairs with different labels that are two pictures of one person."""
    if samples.subjects is None:
        return 0
    differ = ~pairs.exact & (samples.labels[pairs.first] != samples.labels[pairs.second])
    return int((differ & _of_one_subject(pairs, samples.subjects)).sum())


def _of_one_subject(pairs: near_copies.Pairs, subjects: npt.NDArray[np.str_]) -> Bools:
    same: Bools = subjects[pairs.first] == subjects[pairs.second]
    return same


def near_conflicting(found: Copies, samples: Samples) -> Bools:
    """Say which images have a near copy with another label (see :func:`disputed`), bool of shape (N,)."""
    images = np.zeros(len(samples), dtype=np.bool_)
    which = disputed(found.pairs, samples)
    images[found.pairs.first[which]] = images[found.pairs.second[which]] = True
    return in_groups_with(found.exact, images)  # pairs hold only the first of exact copies


def across_splits(groups: Rows, splits: npt.NDArray[np.str_]) -> dict[tuple[str, str], Bools]:
    """Say which images of a split have a copy in another, for each pair of splits with images.

    Returns:
        (split, other split) to bool of shape (N,).
    """
    there = [split for split in SPLITS if (splits == split).any()]
    pairs = [(split, other) for split in there for other in there if split != other]
    return {(split, other): (splits == split) & in_groups_with(groups, splits == other) for split, other in pairs}


def redundant(groups: Rows, splits: npt.NDArray[np.str_]) -> Bools:
    """Say which images are copies of an earlier one in the same split, bool of shape (N,)."""
    keys = np.stack([groups, np.unique(splits, return_inverse=True)[1]])
    first = np.zeros(len(groups), dtype=np.bool_)
    first[np.unique(keys, axis=1, return_index=True)[1]] = True
    return ~first


def summary(groups: Rows, conflicts: Bools, samples: Samples) -> dict[str, Any]:
    """Count groups of copies, redundant images, conflicting labels, and copies across splits.

    Args:
        groups: int64 of shape (N,), the first row of each image's group.
        conflicts: bool of shape (N,), the images whose labels differ from those of their copies.
        samples: The dataset.
    """
    sizes = np.unique(groups, return_counts=True)[1]
    return {
        "groups": int((sizes > 1).sum()),
        "redundant": int((sizes - 1).sum()),
        "largest": int(sizes.max()) if (sizes > 1).any() else 0,
        "conflicting_groups": len(np.unique(groups[conflicts])),
        "conflicting_images": int(conflicts.sum()),
        "across_splits": [
            {"images_of": split, "copied_in": other, "images": int(images.sum())}
            for (split, other), images in across_splits(groups, samples.splits).items()
        ],
    }


def summary_across(pairs: near_copies.Pairs, samples: Samples, other: Samples) -> dict[str, Any]:
    """Count the images of one dataset that are copies of another's, by split, and those with another label there."""
    label, other_label = (np.array(s.classes)[s.labels[r]] for s, r in ((samples, pairs.first), (other, pairs.second)))
    differs = label != other_label

    def images(which: Bools) -> int:
        return len(np.unique(pairs.first[which]))

    rows = []
    for split in SPLITS:
        for there in SPLITS:
            both = (samples.splits[pairs.first] == split) & (other.splits[pairs.second] == there)
            if both.any():
                row = {"images_of": split, "copied_in": there, "images": images(both)}
                rows.append({**row, "labelled_otherwise": images(both & differs)})
    return {
        "pairs": len(pairs.first),
        "images": images(pairs.first >= 0),
        "exact": images(pairs.exact),
        "labelled_otherwise": images(differs),
        "splits": rows,
    }


def table(pairs: near_copies.Pairs, a: Samples, b: Samples) -> list[Mapping[str, Any]]:
    """Return pairs as rows of ``copies.csv``."""
    columns = zip(*(values.tolist() for values in pairs), strict=True)
    return [
        {
            "id_a": str(a.ids[i]), "id_b": str(b.ids[j]),
            "split_a": str(a.splits[i]), "split_b": str(b.splits[j]),
            "label_a": a.classes[a.labels[i]], "label_b": b.classes[b.labels[j]],
            "similarity": f"{similarity:.4f}", "mirrored": int(mirrored), "exact": int(exact),
        }
        for i, j, similarity, mirrored, exact in columns
    ]  # fmt: skip
