"""Pictures with what a model sees in them. No torch."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from fer.display import plain
from fer.plots.heat import heated

if TYPE_CHECKING:
    from fer.predicting.faces import FaceEmotion

_GREY = (150, 150, 150)
_SMALLEST, _LARGEST = 12, 64  # pixels of a letter's height
_READABLE = 240  # pixels of a picture's longer side


def face_figure(face: "FaceEmotion") -> Figure:
    """Draw what a model looked at, with its heat map if there is one, beside each class's probability."""
    figure = Figure(figsize=(6, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    shown = face.crop if face.heat_map is None else heated(face.crop, face.heat_map)
    left.imshow(shown, cmap="gray", vmin=0, vmax=255)
    left.set(xticks=[], yticks=[])
    left.set_title(plain(face.said), fontsize=11)
    names = list(face.probabilities)
    colours = [np.divide(colour_of(name if name == face.emotion else None, names), 255) for name in names]
    values = list(face.probabilities.values())
    right.barh(range(len(names)), values, color=colours)
    right.set_yticks(range(len(names)), [plain(name) for name in names], parse_math=False)
    right.invert_yaxis()
    right.set(xlim=(0, 1.12), xlabel="probability")
    for place, value in enumerate(values):
        right.text(value + 0.01, place, f"{value:.2f}", va="center", fontsize=8)
    right.spines[["top", "right"]].set_visible(False)
    return figure


def colour_of(emotion: str | None, classes: Sequence[str]) -> tuple[int, int, int]:
    """Return a class's colour, red, green and blue from 0 to 255; grey for what is undecided."""
    if emotion is None:
        return _GREY
    red, green, blue, _ = colormaps["tab10"](list(classes).index(emotion) % 10, bytes=True)
    return int(red), int(green), int(blue)


def annotated(
    image: npt.NDArray[np.uint8],
    faces: "Sequence[FaceEmotion]",
    tracks: Sequence[int | None] = (),
    scale: float = 1.0,
) -> npt.NDArray[np.uint8]:
    """Draw boxes and emotions into a picture.

    Args:
        image: uint8 of shape (H, W, 3).
        faces: Its faces.
        tracks: Number of each face's track, in a video.
        scale: Pixels of the picture in which the faces are given for one of these.

    Returns:
        A new picture, uint8 of shape (H, W, 3); a small one is enlarged, so that the words can be read.
    """
    drawn = Image.fromarray(image)
    if (enlarged := -(-_READABLE // max(drawn.size))) > 1:
        drawn = drawn.resize((drawn.width * enlarged, drawn.height * enlarged), Image.Resampling.BICUBIC)
        scale /= enlarged
    draw = ImageDraw.Draw(drawn)
    for number, face in enumerate(faces):
        left, top, right, bottom = (float(value) / scale for value in face.box)
        colour = colour_of(face.emotion, list(face.probabilities))
        size = int(np.clip((right - left) / 7, _SMALLEST, _LARGEST))
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=max(2, size // 8))
        text = f"{plain(face.said)} {face.confidence:.2f}"
        if tracks and tracks[number] is not None:
            text = f"{tracks[number]} {text}"
        font = _font(size)
        across, _, end, down = draw.textbbox((0, 0), text, font=font)
        width, height = end - across + size // 2, down + size // 3
        x = min(max(left, 0), max(0, drawn.width - width))
        y = top - height if top >= height else min(bottom, drawn.height - height)  # above the box, else below it
        draw.rectangle((x, y, x + width, y + height), fill=colour)
        draw.text((x + size // 4, y + size // 8), text, font=font, fill=_legible_on(colour))
    return np.asarray(drawn)


def explained(
    image: npt.NDArray[np.uint8],
    faces: "Sequence[FaceEmotion]",
    places: Sequence[npt.NDArray[np.float64]],
    scale: float = 1.0,
) -> npt.NDArray[np.uint8]:
    """Draw faces' heat maps, boxes and emotions into a picture.

    Args:
        image: uint8 of shape (H, W, 3).
        faces: Its faces, with heat maps.
        places: Where the crop of each lies, from :class:`fer.predicting.model.Found`.
        scale: See :func:`annotated`.

    Returns:
        As of :func:`annotated`.
    """
    height, width = image.shape[:2]
    heat = np.zeros((height, width), np.float32)
    for face, place in zip(faces, places, strict=True):
        assert face.heat_map is not None
        down, across = face.heat_map.shape
        matrix = place * (scale, scale, 1) * np.array(((across,), (down,)))  # from these pixels to the heat map's
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from the middle of the first pixel
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        heat = np.maximum(heat, cv2.warpAffine(face.heat_map, matrix, (width, height), flags=flags))
    return annotated(heated(image, heat), faces, scale=scale)


def _legible_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    return (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 140 else (255, 255, 255)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
