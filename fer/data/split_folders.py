"""Folders that are named after a split, and those that are named after a class."""

import logging
import os
from collections.abc import Collection
from pathlib import Path

from fer.data.images import scan
from fer.data.pixels import EXTENSIONS
from fer.data.samples import readable

log = logging.getLogger(__name__)

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "publictest": "val",
    "test": "test",
    "privatetest": "test",
}
"""Names of split folders, in lower case, and the split that they mean."""


def split_folders(root: Path) -> dict[str, str]:
    """Return the names of the folders in ``root`` that are named after a split, and the split of each."""
    return {name: SPLIT_NAMES[name.lower()] for name in subfolders(root) if name.lower() in SPLIT_NAMES}


def subfolders(root: Path) -> list[str]:
    """Return the names of the folders in ``root`` that are not hidden, sorted; none if there is no such folder."""
    if not os.path.isdir(root):
        return []
    # Archivers and editors leave folders like __MACOSX and .ipynb_checkpoints behind.
    return sorted(entry.name for entry in scan(root) if not entry.name.startswith((".", "__")) and entry.is_dir())


def warn_of_left_out(root: Path, splits: Collection[str]) -> None:
    """Warn of what is read by nobody in a tree of class folders: folders beside the splits', images beside folders.

    Args:
        root: The folder that holds the split folders, or the class folders.
        splits: The split folders' names; an empty one where there are none.
    """
    if "" not in splits and (unused := [name for name in subfolders(root) if name not in splits]):
        log.warning("%s: folders not named after a split were left out: %s.", root, ", ".join(map(readable, unused)))
    for folder in dict.fromkeys(("", *splits)) if root.is_dir() else ():
        names = sorted(entry.name for entry in scan(root / folder) if not entry.name.startswith("."))
        if loose := [name for name in names if os.path.splitext(name)[1].lower() in EXTENSIONS]:
            log.warning(
                "%s: %d images that are in no class folder were left out (such as %s).",
                root / folder, len(loose), readable(loose[0]),
            )  # fmt: skip
