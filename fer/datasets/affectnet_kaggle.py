"""AffectNet as it is passed on at Kaggle: smaller, cropped already, with splits and labels of the uploaders.

Layout on disk, one of::

    labels.csv                                           ",pth,label,relFCs"; 29,042 images of 96x96, no splits;
    <class>/<image>                                      labels are a network's, and overrule the folders (noamsegal)
    YOLO_format/train|valid|test/images/<id>.<any>       the labels' first number is the class, 0 to 7 in
    YOLO_format/train|valid|test/labels/<id>.txt         alphabetical order (fatihkgg)
    Train|Test/<class>/<image>                           class names in any case (mstjebashazida)
    train|val|test/<0-7>/<image>                         nobody says what the numbers mean: refused without
                                                         data.label_map (thienkhonghoc)

None has the official splits, so no score on them is comparable with a published one; a warning says so.

What AffectNet is, its licence and what to cite: :mod:`fer.datasets.affectnet`.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from fer.data.entries import Entry, find_path
from fer.data.images import find_images
from fer.data.labels import canonical
from fer.data.rows import csv_rows, decode_label, find_columns, parse_rows
from fer.data.split_folders import split_folders
from fer.datasets.folder import find_entries
from fer.errors import DatasetError, listing

log = logging.getLogger(__name__)

YOLO_CODES = {
    "0": "angry",
    "1": "contempt",
    "2": "disgust",
    "3": "fear",
    "4": "happy",
    "5": "neutral",
    "6": "sad",
    "7": "surprise",
}
"""Class numbers of the YOLO form: alphabetical, and so not those of AffectNet."""


def folder_entries(base: Path, label_map: Mapping[str, str] | None) -> list[Entry]:
    """List the images of ``<split>/<class>`` folders.

    Args:
        base: The folder that holds the split folders.
        label_map: What class folders mean whose names are numbers.
    """
    _warn(base)
    return find_entries(base, label_map)


def csv_entries(base: Path) -> list[Entry]:
    """List the images of ``labels.csv``, all of them for training (other splits are carved).

    Args:
        base: The folder that holds ``labels.csv`` and the class folders.
    """
    _warn(base)
    path = find_path(base, "labels.csv")
    assert path is not None
    rows = csv_rows(path)
    where, header = next(rows, (f"{path}:1", []))
    columns = find_columns(where, header, ("pth", "label"))

    seen: set[str] = set()

    def parse(row: list[str]) -> tuple[Entry, bool]:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} fields, expected {len(header)}")
        image, emotion = row[columns["pth"]], canonical(row[columns["label"]])
        if image in seen:
            raise ValueError(f"{image} is listed before")
        seen.add(image)
        return Entry(image, "train", emotion), canonical(image.partition("/")[0]) == emotion

    parsed = parse_rows(rows, parse)
    if not parsed:
        raise DatasetError(f"{path} lists no images. Get it again.")
    if moved := [entry.path for entry, agrees in parsed if not agrees]:
        log.warning(
            "%s labels %d of %d images otherwise than their folder does, such as %s. Its labels are used; they are "
            "a network's, not the annotators'.",
            path, len(moved), len(parsed), moved[0],
        )  # fmt: skip
    return [entry for entry, _ in parsed]


def is_yolo(base: Path) -> bool:
    """Return whether split folders in ``base`` hold ``images`` and ``labels``."""
    return any(find_path(base, f"{folder}/labels") for folder in split_folders(base))


def yolo_entries(base: Path) -> list[Entry]:
    """List the images of the YOLO form; they are cropped faces, so that the box in the labels is not needed.

    Args:
        base: The folder that holds the split folders.
    """
    _warn(base)
    entries: list[Entry] = []
    for folder, split in split_folders(base).items():
        pairs = pair(base, f"{folder}/images", f"{folder}/labels", ".txt")

        def parse(files: tuple[str, Path], split: str = split) -> Entry:
            image, label = files
            rows = [line.split() for line in label.read_text(errors="replace").splitlines() if line.strip()]
            if len(rows) != 1 or len(rows[0]) != 5:
                raise ValueError(f"{len(rows)} rows, expected one: class, x, y, width, height")
            return Entry(image, split, decode_label(rows[0][0], YOLO_CODES))

        entries += parse_rows(((str(label), (image, label)) for image, label in pairs), parse)
    return entries


def pair(base: Path, images: str, annotations: str, ending: str) -> list[tuple[str, Path]]:
    """Find the images of a folder and the annotation file of each.

    Args:
        base: The folder that both are below.
        images: The folder of the images.
        annotations: The folder of ``<image's name without extension><ending>``.
        ending: How annotation files' names end.

    Returns:
        Each image's path relative to ``base``, and its annotation file; sorted.

    Raises:
        DatasetError: If a folder is missing or empty, or an image or an annotation has no counterpart.
    """
    found = [find_path(base, folder) for folder in (images, annotations)]
    for folder, path in zip((images, annotations), found, strict=True):
        if path is None:
            raise DatasetError(f"{base / folder} is missing: unpack it there, all parts.")
    image_folder, annotation_folder = (path for path in found if path is not None)
    images_there = find_images(image_folder)[0]
    names = {os.path.splitext(name)[0]: name for name in images_there}
    beside = [name for name in os.listdir(annotation_folder) if not name.startswith(".")]  # ._name, which macOS leaves
    annotated = {name.removesuffix(ending) for name in beside if name.endswith(ending)}
    if not names:
        raise DatasetError(f"{image_folder} holds no images: unpack it again, all parts.")
    problems = [f"{image_folder / names[name]} has no {name}{ending}" for name in sorted(names.keys() - annotated)]
    problems += [f"{annotation_folder / name}{ending} has no image" for name in sorted(annotated - names.keys())]
    kept = set(names.values())
    problems += [
        f"{image_folder / name} and {names[os.path.splitext(name)[0]]} have one label file"
        for name in images_there if name not in kept
    ]  # fmt: skip
    if problems:
        raise DatasetError(
            f"{len(problems)} images or labels have no counterpart:\n{listing(problems)}\n"
            f"  The archive may be half unpacked: unpack it again, all parts."
        )
    below = image_folder.relative_to(base).as_posix()
    return [(f"{below}/{name}", annotation_folder / f"{stem}{ending}") for stem, name in sorted(names.items())]


def _warn(base: Path) -> None:
    log.warning(
        "%s is a copy of AffectNet with its uploader's splits or labels: no published score is comparable.", base
    )
