"""One photograph: find its faces, cut them out, save them, and say what happened."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer.cropping.photos import Photo
from fer.data.pixels import bits_used, is_wide, open_image, read_image, reason
from fer.files.atomic import writing
from fer.files.faces_manifest import SAVED, Row
from fer.framing.crop import crop
from fer.framing.face import LANDMARKS, Detector, Face
from fer.framing.framing import Framing

_ENDING = ".png"
_DECODED = 1600  # pixels: a photograph of more than twice as many is decoded smaller
_SHARPNESS_SIDE = 96
_NO_FACE = "no face was found"


@dataclass(frozen=True)
class Cutter:
    """Cuts photographs; may be used by several threads.

    Attributes:
        root: The source folder.
        to: The folder of faces.
        detector: What finds faces.
        side: Side of the crops in pixels.
        margin: Side of the crop over the size of the face's box, without a framing.
        framing: The framing that the crops are to have; None for the margin.
        min_size: Faces smaller than this, in pixels, are not saved.
        several: What is saved of a photograph with several faces: the ``largest``, ``all`` or ``none``.
    """

    root: Path
    to: Path
    detector: Detector
    side: int
    margin: float
    framing: Framing | None
    min_size: int
    several: str

    def cut(self, photo: Photo, name: str) -> list[Row]:
        """Save a photograph's faces.

        Args:
            photo: The photograph.
            name: Path of the crops below :attr:`to`, without number and ending.

        Returns:
            A row for each face that was found; one that says why, where none was.

        Raises:
            UnwritableError: If a crop cannot be written.
        """
        path = self.root / photo.path
        try:
            stamp = _stamp(path)
            image, scale = _read(path)
        except Exception as error:  # decoders raise anything for a broken file
            return [self._row(photo, _stamp_of_any(path), result=f"cannot be read: {reason(path, error)}")]
        faces = sorted(self.detector.detect(image), key=lambda face: -face.size)
        if not faces:
            return [self._row(photo, stamp, result=_NO_FACE)]
        rows = []
        for number, face in enumerate(faces, start=1):
            pixels = crop(image, face, self.side, self.framing, self.margin)
            result = self._verdict(face.scaled(scale), number, len(faces))
            file = ""
            if result == SAVED:
                file = f"{name}_{number}{_ENDING}" if self.several == "all" else f"{name}{_ENDING}"
                _save(pixels, self.to / file)
            about = {**described(face.scaled(scale)), "sharpness": f"{sharpness(pixels):.0f}"}
            rows.append(self._row(photo, stamp, face=number, faces=len(faces), file=file, result=result, **about))
        return rows

    def name_of(self, file: str) -> str:
        """Return the name under which a photograph's crop was saved, as :meth:`cut` takes it."""
        stem = file.removesuffix(_ENDING)
        return stem.rpartition("_")[0] if self.several == "all" else stem

    def _verdict(self, face: Face, number: int, faces: int) -> str:
        if face.size < self.min_size:
            return f"smaller than {self.min_size} pixels"
        if faces > 1 and self.several == "none":
            return f"one of {faces} faces"
        if number > 1 and self.several == "largest":
            return "another face is larger"
        return SAVED

    def _row(self, photo: Photo, stamp: tuple[int, int], **values: Any) -> Row:
        blank: dict[str, Any] = dict.fromkeys(("file", "box", "landmarks", "score", "size", "sharpness", "roll"), "")
        known = {"source": photo.shown, "label": photo.label, "subject": photo.subject, "face": 0, "faces": 0}
        return Row(**{**blank, **known, "bytes": stamp[0], "modified": stamp[1], **values})


def crop_names(photos: Sequence[Photo], left: Iterable[Photo], kept: Iterable[str]) -> dict[str, str]:
    """Name the crops of photographs: a path each, without ending, in the photograph's own folder; no two are alike.

    Args:
        photos: All photographs of the source.
        left: Those whose crops are to be named.
        kept: Names that crops of the others have already.

    Returns:
        The names by :attr:`Photo.path`.
    """
    stems = Counter(str(PurePosixPath(photo.shown).with_suffix("")).lower() for photo in photos)
    taken = {name.lower() for name in kept}
    names = {}
    for photo in left:
        path = PurePosixPath(photo.shown)
        name = str(path.with_suffix(""))
        if stems[name.lower()] > 1:
            name = str(path.with_name(path.name.replace(".", "-")))
        free, number = name, 1
        while free.lower() in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free.lower())
        names[photo.path] = free
    return names


def _stamp(path: Path) -> tuple[int, int]:
    """Return what tells a changed file: its bytes, and when it was modified in nanoseconds."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def _stamp_of_any(path: Path) -> tuple[int, int]:
    try:
        return _stamp(path)
    except OSError:
        return 0, 0


def is_as_before(path: Path, row: Row) -> bool:
    """Whether a photograph is the one that a row describes."""
    return _stamp_of_any(path) == (row.bytes, row.modified)


def _read(path: Path) -> tuple[npt.NDArray[np.uint8], float]:
    """Decode a photograph to RGB, uint8 (H, W, 3), and say how many times larger the file's own pixels are."""
    with open_image(path) as header:
        longest = max(header.size)
        bits = bits_used([path]) if is_wide(header) else 16  # cameras write 12 bits into 16
    image = np.ascontiguousarray(read_image(path, channels=3, bits=bits, side=_DECODED))
    return image, longest / max(image.shape[:2])


def sharpness(pixels: npt.NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of a crop, uint8 (S, S, 3), at 96x96 in grey: small if it is blurred."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (_SHARPNESS_SIDE, _SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _save(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    with writing(path, "wb") as file:
        file.write(encoded.tobytes())


def described(face: Face) -> dict[str, str]:
    """Return the manifest's columns that describe a face."""
    points = [] if face.landmarks is None else face.landmarks.ravel().tolist()
    assert len(points) in (0, 2 * len(LANDMARKS))
    return {
        "box": " ".join(f"{value:.1f}" for value in face.box),
        "landmarks": " ".join(f"{value:.1f}" for value in points),
        "score": f"{face.score:.2f}",
        "size": f"{face.size:.0f}",
        "roll": "" if face.roll is None else f"{face.roll:.1f}",
    }
