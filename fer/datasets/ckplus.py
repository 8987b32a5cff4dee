"""CK+: faces filmed in the laboratory, from neutral to the peak of a posed expression.

What it is: the Extended Cohn-Kanade dataset, 593 sequences of 123 people. 327 sequences of 118 people are labelled,
each at its last frame, the peak. By convention the last three frames of each are used (981 images), and the first one
as neutral where that class is wanted.

Classes: angry, contempt, disgust, fear, happy, sad, surprise; neutral with ``neutral: true``. Codes 0-7: neutral,
anger, contempt, disgust, fear, happy, sadness, surprise.

Layout on disk, one of::

    cohn-kanade-images/S005/001/S005_001_00000011.png       640x490 or 640x480, some grey and some in colour
    Emotion/S005/001/S005_001_00000011_emotion.txt          one code, as 3.0000000e+00; none for unlabelled sequences

    [CK+48/]<class>/S010_004_00000017.png                   the last three frames, 48x48 grey, cut to the face

Of whole pictures the square in their middle is taken. The archives' own folders (``extended-cohn-kanade-images``,
``Emotion_labels``) may be there too.

Splits: none. Folds of subjects with ``data.fold`` (10 folds are usual); without it subjects are set aside. The frames
of a sequence are nearly the same picture: scores of splits that share subjects mean nothing. ``ckextended.csv`` and
``CK_data.h5`` no longer say who is in their images, and are refused.

Licence: for research only, on a signed agreement; not to be passed on.

Citation: P. Lucey, J. F. Cohn, T. Kanade, J. Saragih, Z. Ambadar, I. Matthews, "The Extended Cohn-Kanade Dataset
(CK+): A complete dataset for action unit and emotion-specified expression", CVPR Workshops 2010. T. Kanade, J. F. Cohn,
Y. Tian, "Comprehensive database for facial expression analysis", FG 2000.

Source: https://www.jeffcohn.net/Resources/
"""

import re
from pathlib import Path
from typing import Any

from fer.data.base import FERDataModule
from fer.data.entries import Entry, find_path, read_entries
from fer.data.images import find_images
from fer.data.samples import Samples
from fer.datasets.folder import find_entries
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError, listing

CODES = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")
"""The emotion of each code."""

_NAME = re.compile(r"((S\d{3})_\d{3})_\d{8}")  # sequence, subject
_CUT_FRAMES = 3  # of each sequence, in CK+48


class CKPlus(FERDataModule):
    """CK+, for subject-independent folds.

    Args:
        root: The folder that holds ``cohn-kanade-images`` and ``Emotion``, or the class folders of CK+48.
        last_frames: Frames of each labelled sequence, up to the peak, that have its label.
        neutral: Use the first frame of each labelled sequence as neutral.
        **loading: See :class:`fer.data.base.FERDataModule`.

    Raises:
        ConfigError: If ``last_frames`` is less than 1.
    """

    name = "ckplus"
    source = "https://www.jeffcohn.net/Resources/"
    own_fit = "crop"

    def __init__(self, root: str, last_frames: int = 3, neutral: bool = False, **loading: Any) -> None:
        super().__init__(**loading)
        if last_frames < 1:
            raise ConfigError(f"data.last_frames={last_frames}: must be 1 or more.")
        self.root, self.last_frames, self.neutral = Path(root).expanduser(), last_frames, neutral

    def read(self) -> Samples:
        """Read whichever form stands in ``root``."""
        images = find_path(self.root, "cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
        labels = find_path(self.root, "Emotion", "Emotion_labels/Emotion")
        cut = find_path(self.root, "CK+48") or self.root
        if images and labels:
            entries = self._find_frames(images, labels)
        elif images or labels:
            raise DatasetNotFoundError(
                self.name,
                [self.root / "cohn-kanade-images", self.root / "Emotion"],
                f"both folders, but there is only {images or labels}.",
                self.source,
            )
        else:
            entries = self._find_cut(cut)
        if entries:
            return read_entries(self.name, self.root, entries, **self.storage)
        if anonymous := find_path(self.root, "ckextended.csv", "CK_data.h5"):
            raise DatasetError(
                f"{anonymous} does not say who is in its images, and CK+ has some ten nearly equal frames of each "
                f"person: no split of it keeps people apart, and a score would only say that faces are recognised "
                f"again. Use CK+48 or the original CK+, whose file names start with the subject (S005_...)."
            )
        raise DatasetNotFoundError(
            self.name,
            [self.root / "cohn-kanade-images", self.root / "Emotion", self.root / "CK+48"],
            "cohn-kanade-images/S005/001/*.png with Emotion/S005/001/*_emotion.txt, or CK+48/<class>/*.png.",
            self.source,
        )

    def _find_frames(self, images: Path, labels: Path) -> list[Entry]:
        """List the frames of the labelled sequences."""
        entries: list[Entry] = []
        problems: list[str] = []
        needed = self.last_frames + self.neutral
        for (subject, sequence, peak), emotion in _read_labels(labels).items():
            folder = images / subject / sequence
            # Names have one length, so that they are in the order of time.
            frames = [name for name in (find_images(folder)[0] if folder.is_dir() else []) if Path(name).stem <= peak]
            if not frames or Path(frames[-1]).stem != peak:
                problems.append(f"{folder}: the labelled frame {peak} is not there")
                continue
            if len(frames) < needed:
                problems.append(f"{folder}: {len(frames)} frames, but {needed} are asked for")
                continue
            emotions = dict.fromkeys(frames[-self.last_frames :], emotion)
            if self.neutral:
                emotions[frames[0]] = "neutral"
            for frame in sorted(emotions):
                path = (folder / frame).relative_to(self.root).as_posix()
                entries.append(Entry(path, "train", emotions[frame], subject))
        if problems:
            raise DatasetError(
                f"{len(problems)} labelled sequences of CK+ cannot be used:\n{listing(problems)}\n"
                f"  Unpack the images again, or ask for fewer frames with data.last_frames and data.neutral=false."
            )
        return entries

    def _find_cut(self, base: Path) -> list[Entry]:
        """List the frames of CK+48."""
        entries = find_entries(base)
        if entries and (self.neutral or self.last_frames > _CUT_FRAMES):
            raise ConfigError(
                f"{base} is CK+48, which has the last {_CUT_FRAMES} frames of each sequence and no neutral one: "
                f"data.neutral=true and more data.last_frames need the original CK+."
            )
        below = base.relative_to(self.root)
        sequences: dict[str, list[Entry]] = {}
        odd: list[str] = []
        for entry in entries:  # sorted by path, and thus by time
            if name := _NAME.fullmatch(Path(entry.path).stem):
                path = (below / entry.path).as_posix()
                sequences.setdefault(name[1], []).append(entry._replace(path=path, subject=name[2]))
            else:
                odd.append(entry.path)
        if odd:
            raise DatasetError(
                f"{len(odd)} file names in {base} do not say the subject and frame as S010_004_00000017.png does:\n"
                f"{listing(odd)}\n  Without subjects no split keeps people apart: use the original names."
            )
        return [entry for frames in sequences.values() for entry in frames[-self.last_frames :]]


def _read_labels(root: Path) -> dict[tuple[str, str, str], str]:
    """Return the emotion of each labelled sequence by its subject, its number and the name of its peak frame.

    Raises:
        DatasetError: If there are no labels.
        LabelError: Naming all files that do not hold one of the codes, and sequences with two of them.
    """
    files = sorted(root.glob("*/*/[!.]*_emotion.txt"))
    if not files:
        raise DatasetError(f"{root} holds no labels; expected {root}/S005/001/S005_001_00000011_emotion.txt and so on.")
    emotions: dict[tuple[str, str, str], str] = {}
    problems: list[str] = []
    before: Path | None = None
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace").strip()
        try:
            code = float(text)
        except ValueError:
            code = -1
        if code not in range(len(CODES)):  # nor are fractions and nan
            problems.append(f"{file}: '{text[:20]}' is not a code from 0 to {len(CODES) - 1}")
        elif before and before.parent == file.parent:
            problems.append(f"{file}: the sequence has another label too, {before.name}")
        else:
            key = (file.parent.parent.name, file.parent.name, file.name.removesuffix("_emotion.txt"))
            emotions[key] = CODES[int(code)]
        before = file
    if problems:
        raise LabelError(
            f"{len(problems)} labels of CK+ cannot be used:\n{listing(problems)}\n"
            f"  Codes are {', '.join(f'{code} {emotion}' for code, emotion in enumerate(CODES))}. Unpack them again."
        )
    return emotions
