"""SFEW 2.0 (Static Facial Expressions in the Wild): frames of films, labelled with the expression of the scene.

What it is: 958 training, 436 validation and 372 test frames of the EmotiW 2015 challenge; their aligned faces, some
fewer, are read. The test set's labels are not public, and papers report the validation set: Val is the split ``test``
here, and a validation split is carved out of Train, by film. Train and Val may share films; folds of films (``fold``),
which are of Train and Val together, share none.

Classes: angry, disgust, fear, happy, neutral, sad, surprise, in folders of these names.

Layout on disk::

    Train/Train_Aligned_Faces/<class>/<film>_<HHMMSSFFF>_<frame>.png
    Val/Val_Aligned_Faces_new/Val_Aligned_Faces/<class>/*.png     (or Val/Val_Aligned_Faces)
    Test/Test_Aligned_Faces/*.png                                 no labels: left out

Licence: for non-commercial research; an agreement has to be signed.

Citation: A. Dhall, R. Goecke, S. Lucey, T. Gedeon, "Static Facial Expression Analysis in Tough Conditions: Data,
Evaluation Protocol and Benchmark", ICCV Workshops 2011; A. Dhall et al., "Video and Image Based Emotion Recognition
Challenges in the Wild: EmotiW 2015", ICMI 2015.

Source: https://cs.anu.edu.au/few/
"""

import logging
import re
from pathlib import Path
from typing import Any

from fer.data.base import FERDataModule
from fer.data.entries import Entry, find_path, read_entries
from fer.data.samples import Samples
from fer.datasets.folder import find_entries
from fer.errors import DatasetError, DatasetNotFoundError

log = logging.getLogger(__name__)

FOLDERS = {
    "train": ("Train/Train_Aligned_Faces",),
    "test": ("Val/Val_Aligned_Faces_new/Val_Aligned_Faces", "Val/Val_Aligned_Faces"),
}
"""Where each split's class folders may stand."""

_FRAME = re.compile(r"(?P<film>.+?)_\d{9}(_|$)")


class SFEW(FERDataModule):
    """SFEW 2.0: Train fits, some of its films select, Val is tested once.

    Args:
        root: The folder that holds ``Train`` and ``Val``.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "sfew"
    source = "https://cs.anu.edu.au/few/"

    def __init__(self, root: str, **loading: Any) -> None:
        super().__init__(**loading)
        self.root = Path(root).expanduser()

    def read(self) -> Samples:
        """Read the aligned faces of Train and Val.

        Raises:
            DatasetNotFoundError: If neither is there.
            DatasetError: If one is not there, a class is empty, or images cannot be read; all of them are named.
            LabelError: If a class folder's name is no emotion.
        """
        found = {split: find_path(self.root, *places) for split, places in FOLDERS.items()}
        if not any(found.values()):
            looked = [self.root / place for places in FOLDERS.values() for place in places]
            expected = "the class folders of Train_Aligned_Faces.zip and Val_Aligned_Faces_new.zip."
            raise DatasetNotFoundError(self.name, looked, expected, self.source)
        entries: list[Entry] = []
        for split, folder in found.items():
            if folder is None:
                raise DatasetError(f"{self.root / FOLDERS[split][0]} is missing: unpack it there.")
            entries += film_entries(self.root, folder, split, self.in_folds or self.fold is not None)
        log.info("SFEW: Val is the split 'test', as in papers: the test set's labels are not public.")
        if unlabelled := find_path(self.root, "Test/Test_Aligned_Faces", "Test_Aligned_Faces"):
            log.info("SFEW: %s has no labels and is left out.", unlabelled)
        return read_entries(self.name, self.root, entries, **self.storage)


def film(subject: str) -> str:
    """Return the film of a subject that :func:`film_entries` names, without its official split."""
    return subject.removeprefix("Train/").removeprefix("Val/")


def film_entries(root: Path, folder: Path, split: str, in_folds: bool = False) -> list[Entry]:
    """List the frames below one official split's folder, with their film as the subject.

    Args:
        root: The dataset's folder.
        folder: The folder that holds the class folders.
        split: What its frames are used for.
        in_folds: Whether folds of films replace the official splits.

    Raises:
        DatasetError: If it or a class folder in it is empty.
        LabelError: If a class folder's name is no emotion.
    """
    below = folder.relative_to(root).as_posix()
    frames = find_entries(folder)
    if not frames:
        raise DatasetError(f"{folder} holds no class folders with images: unpack it again.")
    matches = [_FRAME.match(Path(frame.path).stem) for frame in frames]
    unnamed = [frame.path for frame, match in zip(frames, matches, strict=True) if match is None]
    if unnamed:
        # They stay on one side of a carved split: they may be of one film.
        log.warning("%s: the names of %d frames (such as %s) do not say of which film they are; they count as one.",
                    folder, len(unnamed), unnamed[0])  # fmt: skip
    # A film's name includes its official split: Train and Val may share films, and papers use the official splits.
    # Only a carved validation split must keep films whole. In folds a film is one film.
    part = "" if in_folds else f"{below.split('/')[0]}/"
    films = [match["film"] if match else "" for match in matches]
    return [
        frame._replace(path=f"{below}/{frame.path}", split=split, subject=f"{part}{film}" or "no film's name")
        for frame, film in zip(frames, films, strict=True)
    ]
