"""The first reading of images that are streamed: each is decoded once, for its fingerprint, and not kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from fer.data.blocks import MANY, PART
from fer.data.cache import FORMAT
from fer.data.fingerprints import SIZE, fingerprints
from fer.data.headers import Stored
from fer.data.images import decode_images, each_image
from fer.data.quality import flat
from fer.data.squares import Box
from fer.data.streamed import How, Streamed, brought, places
from fer.data.tars import Tars, place_of
from fer.data.unfinished import Unfinished


def read_images(
    root: Path | Tars,
    names: Sequence[str],
    stored: Stored,
    fit: str,
    cache_dir: Path,
    boxes: Sequence[Box | None] | None = None,
    unreadable: frozenset[str] = frozenset(),
    source: str = "",
    stream: bool = False,
    ids: Sequence[str] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return images as an array, decoded now, or as what decodes them each time and reads like one.

    Args:
        root: What ``names`` are relative to: a folder, or one of tar files.
        names: Image files.
        stored: The size and channels that they are brought to.
        fit: How an oblong image becomes square, one of :data:`fer.data.squares.FITS`.
        cache_dir: Where large arrays are placed.
        boxes: The part of each image that is taken; None for the whole of each.
        unreadable: Ids of samples whose images are not decoded but black: they are left out later.
        source: A fingerprint of the files.
        stream: Decode them each time.
        ids: The samples' ids, which tell several faces of one picture apart; None for ``names``.

    Raises:
        DatasetError: Naming all images that cannot be read.
    """
    if stream:
        how = How(stored.size, stored.channels, fit, stored.bits)
        streamed = read_once(root, names, how, cache_dir, boxes, unreadable, source, ids)
        return cast(npt.NDArray[np.uint8], streamed)  # which does all that is done with images of a dataset
    return decode_images(
        root, names, stored.size, stored.channels, cache_dir, boxes=boxes, fit=fit, bits=stored.bits,
        unreadable=unreadable, source=source, ids=ids,
    )  # fmt: skip


def read_once(
    root: Path | Tars,
    names: Sequence[str],
    how: How,
    cache_dir: Path,
    boxes: Sequence[Box | None] | None = None,
    unreadable: frozenset[str] = frozenset(),
    source: str = "",
    ids: Sequence[str] | None = None,
) -> Streamed:
    """Look at every image, on all cores, and return them all as what is decoded anew each time.

    Another process goes on where a killed one stopped (:mod:`fer.data.unfinished`).

    Args:
        root: What ``names`` are relative to: a folder, or one of tar files.
        names: Image files.
        how: How they are decoded.
        cache_dir: Where what is known of them is kept until all are read.
        boxes: The part of each image that is taken; None for the whole of each.
        unreadable: Ids of samples whose images are not decoded but black: they are left out later.
        source: A fingerprint of the files; nothing of a killed process is used where it is another.
        ids: The samples' ids, which tell several faces of one picture apart; None for ``names``.

    Raises:
        DatasetError: Naming all images that cannot be read.
    """
    # Whether all are grey, and are stored so, is known at the end; until then there are fingerprints of both kinds.
    kinds = (True,) if how.channels == 1 else (False,) if how.channels == 3 else (False, True)
    shape = len(names), 1 + SIZE * len(kinds)
    key = (FORMAT, "streamed", source, place_of(root), *names, boxes, repr(how), *sorted(unreadable))
    unfinished = Unfinished(cache_dir, key, shape, PART) if len(names) >= MANY else None
    known = unfinished.array if unfinished else np.zeros(shape, np.uint8)

    def keep(rows: slice, decoded: Sequence[npt.NDArray[np.uint8]], grey: bool) -> None:
        for place, kind in enumerate(kinds):
            if kind and how.channels is None and not grey:
                known[rows, 1 + place * SIZE :] = 0  # is not asked for
                continue
            images = np.stack([brought(image, kind) for image in decoded])
            known[rows, 1 + place * SIZE : 1 + (place + 1) * SIZE] = fingerprints(images)
            known[rows, 0] = flat(images)

    # Blocks of any size, and any number of cores, have the same fingerprints.
    with threadpool_limits(1, "blas"):
        all_grey = each_image(root, names, how, boxes, unreadable, keep, unfinished, "reading images once", ids)
    grey = how.channels == 1 or (how.channels is None and all_grey)
    start = 1 + SIZE * (len(kinds) - 1 if grey else 0)
    arrays = {
        **places(root, names, boxes), "prints": known[:, start : start + SIZE].copy(), "flat": known[:, 0].astype(bool)
    }  # fmt: skip
    if unfinished:
        unfinished.finish()
    black = [row for row, one in enumerate(ids or names) if one in unreadable] if unreadable else []
    return Streamed(place_of(root), how, grey, arrays, black)
