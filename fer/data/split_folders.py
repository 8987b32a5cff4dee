"""Folders that are named after a split, and those that are named after a class."""

import os
from pathlib import Path

from fer.data.images import scan

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
