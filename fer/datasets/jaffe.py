"""JAFFE: ten Japanese women, posing seven expressions.

What it is: 213 grey pictures of 256x256 pixels, two to four of each expression and woman.

Classes: angry, disgust, fear, happy, neutral, sad, surprise (AN DI FE HA NE SA SU; 30, 29, 32, 31, 30, 31, 30 images).

Layout on disk, at any depth; ``.jpg``, ``.bmp`` and ``.png`` too::

    KA.AN1.39.tiff            subject, expression and repetition, number

Splits: none. Folds of subjects with ``data.fold``, or ``data.folds=loso`` to leave one woman out at a time; without
``data.fold`` subjects are set aside.

Licence: for non-commercial research; not to be passed on.

Citation: M. J. Lyons, S. Akamatsu, M. Kamachi, J. Gyoba, "Coding Facial Expressions with Gabor Wavelets", FG 1998.
M. J. Lyons, "'Excavating AI' Re-excavated: Debunking a Fallacious Account of the JAFFE Dataset", arXiv:2107.13998.

Source: https://zenodo.org/records/3451524
"""

import re
from pathlib import Path
from typing import Any

from fer.data.base import FERDataModule
from fer.data.entries import Entry, read_entries
from fer.data.images import find_images
from fer.data.labels import canonical
from fer.data.samples import Samples
from fer.errors import DatasetError, DatasetNotFoundError, LabelError, listing

_NAME = re.compile(r"([A-Z]{2})\.([A-Z]{2})\d+\.\d+", re.IGNORECASE)  # subject, expression


class JAFFE(FERDataModule):
    """JAFFE, for subject-independent folds.

    Args:
        root: The folder that holds the images, at any depth.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "jaffe"
    source = "https://zenodo.org/records/3451524"

    def __init__(self, root: str, **loading: Any) -> None:
        super().__init__(**loading)
        self.root = Path(root).expanduser()

    def read(self) -> Samples:
        """Read every image below ``root``."""
        paths = find_images(self.root)[0] if self.root.is_dir() else []
        if not paths:
            expected = "images named KA.AN1.39.tiff and so on, at any depth."
            raise DatasetNotFoundError(self.name, [self.root / "KA.AN1.39.tiff"], expected, self.source)
        entries: list[Entry] = []
        problems: list[str] = []
        seen: dict[str, str] = {}
        for path in paths:
            name = _NAME.fullmatch(Path(path).stem)
            if name is None:
                problems.append(f"{path}: its name is not like KA.AN1.39")
                continue
            if (first := seen.setdefault(name[0].upper(), path)) != path:
                problems.append(f"{path}: the same picture as {first}")
                continue
            try:
                entries.append(Entry(path, "train", canonical(name[2]), name[1].upper()))
            except LabelError:
                problems.append(f"{path}: its expression '{name[2]}' is none of AN, DI, FE, HA, NE, SA, SU")
        if problems:
            raise DatasetError(
                f"{len(problems)} of {len(paths)} images in {self.root} cannot be used:\n{listing(problems)}\n"
                f"  Give them their original names, or take them out of the folder."
            )
        return read_entries(self.name, self.root, entries, **self.storage)
