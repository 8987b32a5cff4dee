"""FER2013: 35,887 grey faces of 48x48 pixels from a web image search, the field's oldest common benchmark.

What it is: 28,709 training images, 3,589 of the challenge's public test (used for validation) and 3,589 of
its private test (the test split of published scores). Labels are noisy: people agree with them on about two
images out of three.

Classes: angry, disgust, fear, happy, sad, surprise, neutral (0-6 in the csv).

Layout on disk, one of::

    fer2013.csv               emotion,pixels,Usage
    icml_face_data.csv        emotion, Usage, pixels   (with leading spaces)
    train.csv [val.csv] test.csv    emotion,pixels; the challenge's own test.csv has no labels and is left out
    train|test/<class>/Training_N.jpg, PublicTest_N.jpg, PrivateTest_N.jpg
    [images/]train|validation/<class>/N.jpg     re-split; N is the row of fer2013.csv, if the classes' counts prove it
    train|test/<class>/imN.png                  PublicTest and PrivateTest can no longer be told apart

The original split (``Usage``) is restored wherever rows or names allow it.

Licence: for research only; the images' copyright is with their owners (Kaggle challenge "Challenges in
Representation Learning: Facial Expression Recognition", 2013).

Citation: I. J. Goodfellow et al., "Challenges in Representation Learning: A Report on Three Machine Learning
Contests", ICONIP 2013.

Source: https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer.data.base import FERDataModule
from fer.data.cache import cached, is_cached
from fer.data.entries import unusable
from fer.data.images import decode_images
from fer.data.labels import BASIC
from fer.data.samples import Files, Samples, readable, with_readable_names
from fer.data.source_files import fingerprint
from fer.data.split_folders import split_folders
from fer.datasets.fer2013_csv import SIZE, broken_rows, columns_of, read_rows
from fer.datasets.fer2013_rows import restore_splits
from fer.datasets.folder import find_entries
from fer.errors import DatasetError, DatasetNotFoundError, LabelError, listing

log = logging.getLogger(__name__)

SOURCE = "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge"


class FER2013(FERDataModule):
    """FER2013: Training fits, PublicTest selects, PrivateTest is tested once.

    Args:
        root: The folder, or the csv file itself.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "fer2013"

    def __init__(self, root: str, **loading: Any) -> None:
        super().__init__(**loading)
        self.root = Path(root).expanduser()

    def read(self) -> Samples:
        """Read whichever form stands in ``root``."""
        return read_fer2013(self.root, self.cache_dir, self.excluded, self.as_files)


def read_fer2013(root: Path, cache_dir: Path, excluded: Collection[str] = (), as_files: bool = False) -> Samples:
    """Read FER2013 in whichever form it stands in ``root`` or ``root/fer2013``.

    Args:
        root: The folder, or the csv file itself.
        cache_dir: Where decoded images are kept.
        excluded: Ids of samples that are left out later: they may be broken.
        as_files: List the images' files, where it stands in folders, and decode none.

    Returns:
        Grey images, uint8 of shape (N, 48, 48), of the classes :data:`fer.data.labels.BASIC`; ids are
        ``<csv>:<row>`` or paths below ``root``.

    Raises:
        DatasetNotFoundError: If there is none of the known forms.
        DatasetError: If rows or images are broken; all of them are named.
        LabelError: If a class folder is none of the seven.
    """
    forms, looked = _find(root)
    if not forms:
        expected = (
            "fer2013.csv (unpack fer2013.tar.gz), icml_face_data.csv, train.csv and test.csv, "
            "or folders train|test/<class>/ of images."
        )
        raise DatasetNotFoundError("fer2013", looked, expected, SOURCE)
    log.info("FER2013 is read from %s.", ", ".join(str(path) for path in forms[0]))
    if len(forms) > 1:
        others = ", ".join(str(paths[0]) for paths in forms[1:])
        log.warning("FER2013 stands in %s in several forms; %s is used, not %s.", root, forms[0][0], others)
    if forms[0][0].is_dir():
        return _read_folders(root, forms[0][0], cache_dir, excluded, as_files)
    return _read_csvs(forms[0], cache_dir, excluded)


def _find(root: Path) -> tuple[list[list[Path]], list[Path]]:
    """Return the forms found (csv files, or one folder), the preferred first, and every path looked for."""
    if root.is_file():
        return [[root]], [root]
    places = [root, root / "fer2013"]
    csvs = [place / name for name in ("fer2013.csv", "icml_face_data.csv", "train.csv") for place in places]
    folders = [folder for place in places for folder in (place, place / "images")]
    forms = [[path] for path in csvs if path.is_file()]
    for form in forms:
        if form[0].name == "train.csv":
            rest = (form[0].with_name(name) for name in ("val.csv", "test.csv"))
            form += [path for path in rest if path.is_file()]
    forms += [[folder] for folder in folders if split_folders(folder)]
    return forms, csvs + [folder / "train" for folder in folders]


def _read_csvs(paths: Sequence[Path], cache_dir: Path, excluded: Collection[str]) -> Samples:
    columns = {path: found for path in paths if (found := columns_of(path))}

    def build() -> Samples:
        rows = read_rows(columns, broken)
        if rows.problems:
            raise DatasetError(
                f"{len(rows.problems)} rows of FER2013 cannot be used:\n{listing(rows.problems)}\n"
                f"  The file may be damaged or incompletely downloaded; get it again from {SOURCE}"
            )
        if not rows.labels:
            raise DatasetError(f"{', '.join(str(path) for path in paths)}: no labelled rows.")
        return Samples(
            images=np.frombuffer(rows.pixels, dtype=np.uint8).reshape(-1, SIZE, SIZE),
            labels=np.array(rows.labels, dtype=np.int64),
            splits=np.array(rows.splits),
            ids=np.array(rows.ids),
            classes=BASIC,
        )

    names = [path.name for path in columns]
    key: dict[str, Any] = {"form": "csv", "names": names, "files": fingerprint(names, paths[0].parent)}
    broken = frozenset[str]()
    if excluded and not is_cached(cache_dir, "fer2013", key):
        broken = frozenset(id_ for path, found in columns.items() for id_ in broken_rows(path, found, excluded))
    return cached(cache_dir, "fer2013", {**key, "black": sorted(broken)} if broken else key, build)


def _read_folders(root: Path, base: Path, cache_dir: Path, excluded: Collection[str], as_files: bool) -> Samples:
    """Read class folders below ``base``, which is ``root`` or below it."""
    entries = find_entries(base)
    if foreign := sorted({entry.emotion for entry in entries} - set(BASIC)):
        raise LabelError(
            f"{base} has class folders for {', '.join(foreign)}, which FER2013 has not (FER+ has). "
            f"Read other datasets' folders with data=folder."
        )
    splits = restore_splits(entries, base)
    paths = [entry.path for entry in entries]
    below = base.relative_to(root).as_posix()
    ids = paths if below == "." else [f"{below}/{path}" for path in paths]

    def listed(images: npt.NDArray[np.uint8]) -> Samples:
        return Samples(
            images=images,
            labels=np.array([BASIC.index(entry.emotion) for entry in entries], dtype=np.int64),
            splits=np.array(splits),
            ids=np.array(ids),
            classes=BASIC,
        )

    def build() -> Samples:
        return listed(decode_images(base, paths, SIZE, 1, cache_dir, resize=False, unreadable=broken, source=files))

    if as_files:
        samples = listed(np.zeros((len(paths), 0, 0), np.uint8))
        return replace(with_readable_names(samples), files=Files(base, paths))
    files = fingerprint(paths, base)
    labelled = [[entry.path, split, entry.emotion] for entry, split in zip(entries, splits, strict=True)]
    key = {"form": "folders", "below": below, "files": files, "labels": labelled}
    broken = frozenset[str]()
    if excluded and not is_cached(cache_dir, "fer2013", key):
        broken = unusable(base, [p for p, id_ in zip(paths, ids, strict=True) if readable(id_) in excluded], SIZE)
    return cached(cache_dir, "fer2013", {**key, "broken": sorted(broken)} if broken else key, build)
