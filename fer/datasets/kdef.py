"""KDEF: seventy amateur actors, posing seven expressions, photographed from five angles.

What it is: the Karolinska Directed Emotional Faces, 4,900 colour portraits of 562x762 pixels: 35 women and 35 men, two
sessions each; 980 pictures from each angle.

Classes: angry, disgust, fear, happy, neutral, sad, surprise (AN DI AF HA NE SA SU), equally often.

Layout on disk, or all files in one folder (also resized to squares)::

    [KDEF_and_AKDEF/]KDEF/AF01/AF01ANFL.JPG     session A|B, F|M, number 01-35, expression, angle

The angle is FL (full left profile), HL (half left), S (straight), HR (half right) or FR (full right). Of portraits the
square in their middle is taken. Two files of the original have incomplete names (AF31V, AM31H); such files are left
out, with a warning. The averaged faces (AKDEF) are not used.

Attributes: gender (female, male), session (A, B), angle. AF01 and BF01 are the same woman, subject F01.

Splits: none. Folds of subjects with ``data.fold``; without it subjects are set aside.

Licence: for non-commercial research; not to be passed on.

Citation: D. Lundqvist, A. Flykt, A. Öhman, "The Karolinska Directed Emotional Faces - KDEF", CD ROM from Department of
Clinical Neuroscience, Psychology section, Karolinska Institutet, 1998, ISBN 91-630-7164-9.

Source: https://kdef.se
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer.data.base import FERDataModule
from fer.data.entries import Entry, find_path, read_entries
from fer.data.images import find_images
from fer.data.labels import canonical
from fer.data.samples import Samples
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, listing

log = logging.getLogger(__name__)

ANGLES = ("FL", "HL", "S", "HR", "FR")
"""From the full left to the full right profile."""

GENDERS = {"F": "female", "M": "male"}

_NAME = re.compile(r"([AB])([FM])(\d\d)(AF|AN|DI|HA|NE|SA|SU)(FL|HL|S|HR|FR)")


class KDEF(FERDataModule):
    """KDEF, for subject-independent folds.

    Args:
        root: The folder that holds ``KDEF_and_AKDEF``, or ``KDEF``, or the pictures.
        angles: Which of :data:`ANGLES` to use.
        **loading: See :class:`fer.data.base.FERDataModule`.

    Raises:
        ConfigError: If an angle is none of the five.
    """

    name = "kdef"
    source = "https://kdef.se"
    own_fit = "crop"

    def __init__(self, root: str, angles: Sequence[str] = ("S",), **loading: Any) -> None:
        super().__init__(**loading)
        if not angles or set(angles) - set(ANGLES):
            raise ConfigError(f"data.angles={list(angles)}: must be one or more of {', '.join(ANGLES)}.")
        self.root, self.angles = Path(root).expanduser(), tuple(angles)

    def read(self) -> Samples:
        """Read the pictures from the wanted angles."""
        base = find_path(self.root, "KDEF_and_AKDEF/KDEF", "KDEF") or self.root
        paths = find_images(base)[0] if base.is_dir() else []
        names = {path: name for path in paths if (name := _NAME.fullmatch(Path(path).stem.upper()))}
        if not names:
            raise DatasetNotFoundError(
                self.name,
                [self.root / "KDEF_and_AKDEF/KDEF/AF01/AF01ANFL.JPG", self.root / "AF01ANFL.JPG"],
                "pictures named AF01ANFL.JPG and so on, in folders as in the archive or all in one.",
                self.source,
            )
        if odd := [path for path in paths if path not in names]:
            log.warning(
                "%s: %d images are not named like AF01ANFL.JPG and were left out:\n%s", base, len(odd), listing(odd)
            )
        _check_unique(base, names)
        entries = [
            Entry(
                (base / path).relative_to(self.root).as_posix(),
                "train",
                canonical(expression),
                subject=gender + number,
                attributes={"gender": GENDERS[gender], "session": session, "angle": angle},
            )
            for path, (session, gender, number, expression, angle) in ((p, n.groups()) for p, n in names.items())
            if angle in self.angles
        ]
        if not entries:
            there = ", ".join(angle for angle in ANGLES if angle in {name[5] for name in names.values()})
            raise DatasetError(f"{base} has no picture from {', '.join(self.angles)}. data.angles can be: {there}.")
        return read_entries(self.name, self.root, entries, **self.storage)


def _check_unique(base: Path, names: dict[str, re.Match[str]]) -> None:
    """Refuse copies of a picture, which would count twice."""
    first: dict[str, str] = {}
    copies = [
        f"{path}: the same picture as {before}"
        for path, name in names.items()
        if (before := first.setdefault(name[0], path)) != path
    ]
    if copies:
        raise DatasetError(f"{base} has pictures twice:\n{listing(copies)}\n  Remove one of each, or name its folder.")
