"""Fake datasets with the true layouts: tiny, seeded, and easy to learn.

Each class has its own pattern of 6x6 grey cells, which noise varies from image to image. In an image of 48x48
the cells are the blocks of JPEG, so that a grey image survives JPEG (at quality 100) unchanged: all forms of
FER2013 hold equal images.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer.data.labels import BASIC, EMOTIONS

Pixels = npt.NDArray[np.uint8]

USAGES = ("Training", "PublicTest", "PrivateTest")
SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


class Row(NamedTuple):
    """One row of a fake fer2013.csv."""

    label: int
    usage: str
    image: Pixels  # (48, 48)


def face(label: int, rng: np.random.Generator, size: int = 48, channels: int = 1) -> Pixels:
    """Draw the pattern of a class, with noise.

    Args:
        label: An index into EMOTIONS.
        rng: The noise.
        size: Side in pixels.
        channels: 1 for grey, 3 for RGB with a tint of the class.

    Returns:
        uint8 of shape (size, size) or (size, size, 3).
    """
    pattern = np.random.default_rng(1000 + label).choice([48, 208], (6, 6))
    cells = (pattern + rng.integers(-40, 41, (6, 6))).astype(np.uint8)
    index = np.arange(size) * 6 // size
    image = cells[np.ix_(index, index)]
    if channels == 1:
        return image
    tint = np.random.default_rng(2000 + label).uniform(0.3, 1.0, 3)
    return (image[:, :, None] * tint).astype(np.uint8)


def fer2013_rows(per_class: int = 3, usages: Sequence[str] = USAGES, seed: int = 0) -> list[Row]:
    """Draw the rows of a fake fer2013.csv, ``per_class`` of each class in each usage, usage after usage."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for usage in usages:
        labels = rng.permutation(np.repeat(np.arange(len(BASIC)), per_class))
        rows += [Row(int(label), usage, face(int(label), rng)) for label in labels]
    return rows


def pixels(image: Pixels) -> str:
    """Write an image as a csv's pixel field."""
    return " ".join(map(str, image.ravel().tolist()))


def write_fer2013_csv(path: Path, per_class: int = 3, usages: Sequence[str] = USAGES, seed: int = 0) -> list[Row]:
    """Write ``fer2013.csv``: ``emotion,pixels,Usage``."""
    rows = fer2013_rows(per_class, usages, seed)
    table = [[row.label, pixels(row.image), row.usage] for row in rows]
    _write_csv(path, ["emotion", "pixels", "Usage"], table)
    return rows


def write_icml_csv(path: Path, per_class: int = 3, usages: Sequence[str] = USAGES, seed: int = 0) -> list[Row]:
    """Write ``icml_face_data.csv``: ``emotion, Usage, pixels``, with the leading spaces of the original."""
    rows = fer2013_rows(per_class, usages, seed)
    table = [[row.label, row.usage, pixels(row.image)] for row in rows]
    _write_csv(path, ["emotion", " Usage", " pixels"], table)
    return rows


def write_challenge_csvs(folder: Path, per_class: int = 3, seed: int = 0) -> list[Row]:
    """Write the challenge's ``train.csv`` (``emotion,pixels``) and unlabelled ``test.csv`` (``pixels``)."""
    rows = fer2013_rows(per_class, seed=seed)
    train = [[row.label, pixels(row.image)] for row in rows if row.usage == "Training"]
    test = [[pixels(row.image)] for row in rows if row.usage != "Training"]
    _write_csv(folder / "train.csv", ["emotion", "pixels"], train)
    _write_csv(folder / "test.csv", ["pixels"], test)
    return rows


def write_rmn_csvs(folder: Path, per_class: int = 3, seed: int = 0) -> list[Row]:
    """Write ``train.csv``, ``val.csv`` and ``test.csv``, all ``emotion,pixels``."""
    rows = fer2013_rows(per_class, seed=seed)
    for usage, split in SPLITS.items():
        table = [[row.label, pixels(row.image)] for row in rows if row.usage == usage]
        _write_csv(folder / f"{split}.csv", ["emotion", "pixels"], table)
    return rows


def write_kaggle_folders(root: Path, per_class: int = 3, usages: Sequence[str] = USAGES, seed: int = 0) -> list[str]:
    """Write ``train|test/<class>/<Usage>_<number>.jpg``, where the number is not the row.

    Returns:
        Each row's path below ``root``.
    """
    rows = fer2013_rows(per_class, usages, seed)
    numbers = np.random.default_rng(seed).choice(10**8, len(rows), replace=False)
    paths = [
        f"{'train' if row.usage == 'Training' else 'test'}/{BASIC[row.label]}/{row.usage}_{number}.jpg"
        for row, number in zip(rows, numbers, strict=True)
    ]
    return _write_images(root, paths, rows)


def write_resplit_folders(root: Path, per_class: int = 3, seed: int = 0, nested_copy: bool = False) -> list[str]:
    """Write ``train|validation/<class>/<row>.jpg`` with another split than the original.

    Rows are numbered as in the full file: Training from 0, PublicTest from 28709, PrivateTest from 32298.

    Args:
        root: The folder of the splits (called ``images`` in the original).
        per_class: Images of each class in each usage.
        seed: The rows' seed.
        nested_copy: Write everything once more below ``images``, as the original archive has it.

    Returns:
        Each row's path below ``root``.
    """
    rows = fer2013_rows(per_class, seed=seed)
    paths: list[str] = []
    count = {"Training": 0, "PublicTest": 28709, "PrivateTest": 32298}
    for index, row in enumerate(rows):
        split = "validation" if index % 3 == 0 else "train"
        paths.append(f"{split}/{BASIC[row.label]}/{count[row.usage]}.jpg")
        count[row.usage] += 1
    if nested_copy:
        _write_images(root / "images", paths, rows)
    return _write_images(root, paths, rows)


def write_ananthu_folders(root: Path, per_class: int = 3, seed: int = 0) -> list[str]:
    """Write ``train|test/<alias>/im<number>.png``, whose names say nothing of their origin.

    Returns:
        Each row's path below ``root``.
    """
    aliases = {"disgust": "disgusted", "fear": "fearful", "surprise": "surprised"}
    rows = fer2013_rows(per_class, seed=seed)
    paths: list[str] = []
    for index, row in enumerate(rows):
        split = "train" if row.usage == "Training" else "test"
        paths.append(f"{split}/{aliases.get(BASIC[row.label], BASIC[row.label])}/im{index}.png")
    return _write_images(root, paths, rows)


def write_image_folder(
    root: Path,
    splits: Sequence[str] = ("train", "val", "test"),
    classes: Sequence[str] = BASIC,
    per_class: int = 3,
    size: int = 48,
    channels: int = 1,
    extension: str = "png",
    seed: int = 0,
) -> dict[str, Pixels]:
    """Write ``<split>/<class>/<number>.<extension>``.

    Args:
        root: The dataset's folder.
        splits: Names of the split folders; ``("",)`` for class folders alone.
        classes: Names of the class folders; the n-th has the pattern of the n-th emotion.
        per_class: Images of each class in each split.
        size: Side of the images in pixels.
        channels: 1 for grey, 3 for RGB.
        extension: The files' format.
        seed: The noise's seed.

    Returns:
        Each image by its path below ``root``.
    """
    rng = np.random.default_rng(seed)
    images: dict[str, Pixels] = {}
    for split in splits:
        for label, name in enumerate(classes):
            for number in range(per_class):
                path = f"{split}/{name}/{number}.{extension}".lstrip("/")
                images[path] = face(label % len(EMOTIONS), rng, size, channels)
                write_image(root / path, images[path])
    return images


def write_image(path: Path, image: Pixels) -> None:
    """Write one image, in the format of its extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 100} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    Image.fromarray(image).save(path, **options)


def _write_images(root: Path, paths: list[str], rows: list[Row]) -> list[str]:
    for path, row in zip(paths, rows, strict=True):
        write_image(root / path, row.image)
    return paths


def _write_csv(path: Path, header: list[str], table: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *table])
