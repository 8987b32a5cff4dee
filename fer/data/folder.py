"""Any dataset of images in class folders: ``<split>/<class>/*``, or ``<class>/*`` alone.

What it is: your own images, or one of the many datasets that are passed on in this form.

Classes: those of :data:`fer.data.labels.EMOTIONS` that are there, in that order. Class folders may have any
name that datasets use (``Happiness``, ``AN``); numbers, whose meaning differs between datasets, need a
``label_map``. With ``own_classes`` they may be anything (``bored``, ``confused``, ``pain``): each folder is a class of
its own name, in lower case, emotions first and the others by name.

Layout on disk, upper or lower case::

    <root>/train/happy/*.jpg        train, training
    <root>/val/happy/*.jpg          val, valid, validation, PublicTest
    <root>/test/happy/*.jpg         test, PrivateTest

Images may stand deeper below their class folder. Without the split level all images are training images.

Licence, citation: those of the dataset.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer.data.base import FERDataModule
from fer.data.images import find_images
from fer.data.labels import EMOTIONS, among, resolve
from fer.data.listed import Entry, read_entries
from fer.data.samples import Samples
from fer.errors import DatasetError, DatasetNotFoundError, LabelError, listing

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


class Folder(FERDataModule):
    """Any tree of class folders.

    Args:
        root: The folder that holds the split folders, or the class folders.
        label_map: What class folders mean whose names are not emotions.
        own_classes: Keep class folders' names, whatever they are, but for those in ``label_map``.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "folder"

    def __init__(
        self, root: str, label_map: Mapping[str, str] | None = None, own_classes: bool = False, **loading: Any
    ) -> None:
        super().__init__(**loading)
        self.root, self.label_map, self.own_classes = Path(root).expanduser(), label_map, own_classes

    def read(self) -> Samples:
        """Read every image of the tree."""
        return read_folder(
            self.root, self.cache_dir, self.image_size, self.channels, self.label_map, own_classes=self.own_classes
        )


def read_folder(
    root: Path,
    cache_dir: Path,
    image_size: int | None,
    channels: int | None,
    label_map: Mapping[str, str] | None = None,
    name: str = "folder",
    own_classes: bool = False,
) -> Samples:
    """Read a tree of class folders.

    Args:
        root: The folder that holds the split folders, or the class folders.
        cache_dir: Where decoded images are kept.
        image_size: Images are stored at this size if they differ in size or are larger; None for their own.
        channels: 1 for grey, 3 for RGB, None for what they are.
        label_map: What class folders mean, for names that say it not or wrongly (numbers).
        name: The dataset's name, as in ``data=<name>``.
        own_classes: Keep class folders' names, whatever they are, but for those in ``label_map``.

    Raises:
        DatasetNotFoundError: If there are no such folders.
        DatasetError: If a split or class is empty, images cannot be read, or ``image_size`` is needed.
        LabelError: If a class folder's name is a number or unknown, and not in ``label_map``.
    """
    try:
        entries = find_entries(root, label_map, own_classes)
    except LabelError as error:
        advice = (
            "Where a name is another word for an emotion, say so: data.label_map={glad: happy}. Classes of your own "
            "keep their names with data.own_classes=true."
        )
        raise LabelError(str(error) if own_classes else f"{error}\n  {advice}") from None
    if not entries:
        expected = "folders <split>/<class>/ of images, or <class>/ alone; splits are train, val and test."
        raise DatasetNotFoundError(name, [root / "train", root / "<class>"], expected, "your own images")
    return read_entries(name, root, entries, cache_dir, image_size, channels)


def split_folders(root: Path) -> dict[str, str]:
    """Return the names of the folders in ``root`` that are named after a split, and the split of each."""
    return {name: SPLIT_NAMES[name.lower()] for name in _subfolders(root) if name.lower() in SPLIT_NAMES}


def find_entries(root: Path, label_map: Mapping[str, str] | None = None, own_classes: bool = False) -> list[Entry]:
    """List the images of a tree of class folders, without opening them.

    Args:
        root: The folder that holds the split folders, or the class folders.
        label_map: What class folders mean, where their names do not say it.
        own_classes: Keep the others' names, whatever they are.

    Returns:
        One entry per image, sorted by path; none if ``root`` is no folder, or has no folders in it.

    Raises:
        DatasetError: Naming each split or class folder that is empty.
        LabelError: Naming each class folder whose name is not known.
    """
    # Without the split level, root itself stands for the one split.
    splits = split_folders(root) or {"": "train"}
    labels = {folder: _subfolders(root / folder) for folder in splits}
    try:
        emotions = resolve(sorted({label for names in labels.values() for label in names}), label_map, own_classes)
    except LabelError as error:
        raise LabelError(f"class folders in {root}: {error}") from None
    if own_classes:
        meant = {name: emotion for name in emotions.values() if (emotion := among(name, EMOTIONS)) not in (None, name)}
        if meant:
            log.warning(
                "%s: data.own_classes keeps %s. To score it as the emotion that other datasets have, say "
                "data.label_map={%s}.",
                root, ", ".join(meant), ", ".join(f"{name}: {emotion}" for name, emotion in meant.items()),
            )  # fmt: skip
    entries: list[Entry] = []
    empty = [f"{root / folder} holds no class folders" for folder in splits if folder and not labels[folder]]
    skipped = 0
    for folder, split in splits.items():
        for label in labels[folder]:
            images, others = find_images(root / folder / label)
            skipped += len(others)
            if not images:
                empty.append(f"{root / folder / label} holds no images")
            below = f"{folder}/{label}" if folder else label
            entries += [Entry(f"{below}/{image}", split, emotions[label]) for image in images]
    if empty:
        raise DatasetError(f"empty folders:\n{listing(empty)}\n  Put images there, or remove the folders.")
    if skipped:
        log.info("%s: %d files are not images and were skipped.", root, skipped)
    if "" not in splits and (unused := [name for name in _subfolders(root) if name not in splits]):
        log.warning("%s: folders not named after a split were left out: %s.", root, ", ".join(unused))
    return sorted(entries, key=lambda entry: entry.path)


def _subfolders(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    # Archivers and editors leave folders like __MACOSX and .ipynb_checkpoints behind.
    return sorted(path.name for path in root.iterdir() if not path.name.startswith((".", "__")) and path.is_dir())
