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
A ``manifest.csv`` that ``fer.faces`` wrote says who is in the images: no person then stands in two splits.

Licence, citation: those of the dataset.
"""

import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fer.data.base import FERDataModule
from fer.data.entries import Entry, read_entries
from fer.data.images import find_images
from fer.data.labels import EMOTIONS, among, plain, resolve
from fer.data.pixels import UNSUPPORTED
from fer.data.samples import Samples, readable
from fer.data.split_folders import SPLIT_NAMES, split_folders, subfolders, warn_of_left_out
from fer.data.squares import DEFAULT_FIT
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError, did_you_mean, listing
from fer.files import faces_manifest as manifest

log = logging.getLogger(__name__)


class Folder(FERDataModule):
    """Any tree of class folders.

    Args:
        root: The folder that holds the split folders, or the class folders.
        label_map: What class folders mean whose names are not emotions.
        own_classes: Keep class folders' names, whatever they are, but for those in ``label_map``.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "folder"
    streams = True

    def __init__(
        self, root: str, label_map: Mapping[str, str | None] | None = None, own_classes: bool = False, **loading: Any
    ) -> None:
        super().__init__(**loading)
        self.root, self.label_map, self.own_classes = Path(root).expanduser(), label_map, own_classes

    def read(self) -> Samples:
        """Read every image of the tree."""
        return read_folder(
            self.root, label_map=self.label_map, own_classes=self.own_classes, wanted=self.wanted, **self.storage
        )


def read_folder(
    root: Path,
    cache_dir: Path,
    image_size: int | None,
    channels: int | None,
    label_map: Mapping[str, str | None] | None = None,
    name: str = "folder",
    own_classes: bool = False,
    wanted: Sequence[str] | None = None,
    fit: str = DEFAULT_FIT,
    excluded: Collection[str] = (),
    as_files: bool = False,
    stream: bool = False,
) -> Samples:
    """Read a tree of class folders.

    Args:
        root: The folder that holds the split folders, or the class folders.
        cache_dir: Where decoded images are kept.
        image_size: Images are stored at this size if they differ in size or are larger; None for their own.
        channels: 1 for grey, 3 for RGB, None for what they are.
        label_map: What class folders mean whose names do not say it, or say it wrongly (numbers).
        name: The dataset's name, as in ``data=<name>``.
        own_classes: Keep class folders' names, whatever they are, but for those in ``label_map``.
        wanted: Classes that will be chosen; folders of unknown names are then left out. None for all.
        fit: How an oblong image becomes square, one of :data:`fer.data.squares.FITS`.
        excluded: Ids of samples that are left out later: their images may be broken.
        as_files: List the images' files, and decode none.
        stream: Decode images whenever they are read, and keep none.

    Raises:
        DatasetNotFoundError: If there are no such folders.
        DatasetError: If a split or class is empty, images cannot be read, or ``image_size`` is needed.
        LabelError: If a class folder's name is a number or unknown, and not in ``label_map``.
        ConfigError: If ``label_map`` has a misspelt name.
    """
    try:
        entries = find_entries(root, label_map, own_classes, wanted)
    except LabelError as error:
        advice = (
            "Where a name is another word for an emotion, say so: data.label_map={glad: happy}. Classes of your own "
            "keep their names with data.own_classes=true. A folder is left out with data.label_map={its name: null}."
        )
        raise LabelError(str(error) if own_classes else f"{error}\n  {advice}") from None
    if not entries:
        expected = "folders <split>/<class>/ of images, or <class>/ alone; splits are train, val and test."
        raise DatasetNotFoundError(name, [root / "train", root / "<class>"], expected, "your own images")
    entries = _with_subjects(entries, root)
    return read_entries(
        name, root, entries, cache_dir, image_size, channels, fit, excluded, as_files=as_files, stream=stream
    )


def _with_subjects(entries: list[Entry], root: Path) -> list[Entry]:
    """Fill in who is in the images, or of which photograph, where ``manifest.csv`` of ``fer.faces`` says it of all."""
    subjects = manifest.subjects(root)
    if not subjects:
        return entries
    if unknown := [entry.path for entry in entries if readable(entry.path) not in subjects]:
        log.warning(
            "%s: manifest.csv does not say who is in %d of %d images (such as %s): persons may stand in two splits.",
            root, len(unknown), len(entries), readable(unknown[0]),
        )  # fmt: skip
        return entries
    return [entry._replace(subject=subjects[readable(entry.path)]) for entry in entries]


def find_entries(
    root: Path,
    label_map: Mapping[str, str | None] | None = None,
    own_classes: bool = False,
    wanted: Sequence[str] | None = None,
) -> list[Entry]:
    """List the images of a tree of class folders, without opening them.

    Args:
        root: The folder that holds the split folders, or the class folders.
        label_map: What class folders mean, where their names do not say it; None for a folder that is left out.
        own_classes: Keep the others' names, whatever they are.
        wanted: Classes that will be chosen; folders of unknown names are then left out. None for all.

    Returns:
        One entry per image, sorted by path; none if ``root`` is no folder, or has no folders in it.

    Raises:
        DatasetError: Naming each split or class folder that is empty.
        LabelError: Naming each class folder whose name is not known.
    """
    # Without the split level, root itself stands for the one split.
    splits = split_folders(root) or {"": "train"}
    _check_splits(root, splits)
    labels = {folder: subfolders(root / folder) for folder in splits}
    names = sorted({label for names in labels.values() for label in names})
    emotions = classes_of(root, names, label_map or {}, own_classes, wanted)
    labels = {folder: [name for name in names if name in emotions] for folder, names in labels.items()}
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
    skipped: Counter[str] = Counter()
    for folder, split in splits.items():
        for label in labels[folder]:
            images, others = find_images(root / folder / label)
            endings = Counter(readable(os.path.splitext(name)[1].lower()) or "without an ending" for name in others)
            skipped += endings
            if not images:
                there = f" that are read, but files {_counted(endings)}" if endings else ""
                empty.append(readable(f"{root / folder / label} holds no images{there}"))
            below = f"{folder}/{label}" if folder else label
            if not folder:
                _refuse_splits_below(root / label, images)
            entries += [Entry(f"{below}/{image}", split, emotions[label]) for image in images]
    if empty:
        raise DatasetError(f"empty folders:\n{listing(empty)}\n  Put images there, or remove the folders.")
    if skipped:
        lost = {ending: count for ending, count in skipped.items() if ending in UNSUPPORTED}
        advice = " Pictures among them can be used if they are saved as PNG or JPEG." if lost else ""
        log.log(
            logging.WARNING if lost else logging.INFO, "%s: %d files are not images and were skipped: "
            "%s.%s", root, skipped.total(), _counted(skipped), advice,
        )  # fmt: skip
    warn_of_left_out(root, splits)
    return sorted(entries, key=lambda entry: entry.path)


def _refuse_splits_below(folder: Path, images: Sequence[str]) -> None:
    """Refuse a class folder with splits in it: all of their images would be for training."""
    inner = {image.partition("/")[0] for image in images if "/" in image}
    if splits := sorted(name for name in inner if name.lower() in SPLIT_NAMES):
        raise DatasetError(
            f"{folder} holds folders named after splits: {', '.join(splits)}. They must stand above the classes, "
            f"{splits[0]}/{readable(folder.name)}/: here all of their images would be for training."
        )


def _check_splits(root: Path, splits: Mapping[str, str]) -> None:
    """Refuse two folders of one split: one may be a copy of the other, or meant for something else."""
    for split in set(splits.values()):
        folders = [folder for folder, of in splits.items() if of == split]
        if len(folders) > 1:
            raise DatasetError(
                f"{root} has {len(folders)} folders for the split '{split}': {', '.join(folders)}. Put all of "
                f"its images into one of them, or take the others out of {root}."
            )


def classes_of(
    root: Path,
    names: Sequence[str],
    label_map: Mapping[str, str | None],
    own_classes: bool,
    wanted: Sequence[str] | None,
    what: str = "class folder",
) -> dict[str, str]:
    """Return the class of each class folder, or other label, that is not left out.

    Args:
        root: The dataset's folder, for messages.
        names: The labels.
        label_map: What labels mean that do not say it; None for those that are left out.
        own_classes: Keep the others' names, whatever they are.
        wanted: Classes that will be chosen; unknown names are then left out. None for all.
        what: What the labels are.

    Raises:
        LabelError: Naming each label that is not known.
        ConfigError: If ``label_map`` has a misspelt name.
    """
    meant = {plain(str(key)): value for key, value in label_map.items()}
    there = {plain(name): name for name in names}
    for key in label_map:
        unmapped = [name for word, name in there.items() if word not in meant]
        if names and plain(str(key)) not in there and (hint := did_you_mean(str(key), unmapped)):
            raise ConfigError(f"data.label_map: {root} has no {what} '{key}'.{hint}")
    named = {key: value for key, value in meant.items() if value is not None}
    used = [name for name in names if meant.get(plain(name), "") is not None]
    unknown = []
    if wanted is not None and not own_classes:
        unknown = [name for name in used if not _is_known(name, named)]
    if left_out := [name for name in names if name not in used or name in unknown]:
        log.info("%s: %ss left out: %s.", root, what, readable(", ".join(left_out)))
    try:
        return resolve([name for name in used if name not in unknown], named, own_classes)
    except LabelError as error:
        raise LabelError(readable(f"{what}s in {root}: {error}")) from None


def _is_known(name: str, label_map: Mapping[str, str]) -> bool:
    try:
        return bool(resolve([name], label_map))
    except LabelError:
        return False


def _counted(endings: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
