"""From an expression to the pixels of one face: turned, drawn, lit, blurred."""

import math
from collections.abc import Iterator
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from fer.datasets.synthetic_faces.expressions import sample_units
from fer.datasets.synthetic_faces.features import brows, eyes, hair, mouth, nose, worn
from fer.datasets.synthetic_faces.people import Identity, Pose, sample_identity, sample_pose, sample_style
from fer.datasets.synthetic_faces.shapes import SIZE, Shape
from fer.datasets.synthetic_faces.skin import facial_hair, head, soft_shadows, wrinkles

Outlines = list[npt.NDArray[np.int32]]
# Faces are drawn three times too large and then averaged down, which smooths every edge at little cost.
SCALE = 3
_LARGE = SIZE * SCALE
_SHIFT = 3  # fractional bits of the coordinates handed to OpenCV
_DOWN, _ACROSS = (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2) / 24.0
_DOME = np.sqrt(np.maximum(1.0 - (0.95 * _ACROSS) ** 2 - (0.8 * _DOWN) ** 2, 0.05))
_LIGHTS = np.array((np.ones_like(_DOME), _DOME, _ACROSS, _DOWN), dtype=np.float32).reshape(4, -1)


def background(rng: np.random.Generator) -> list[Shape]:
    """Return hard-edged clutter behind the head: large areas of one tone."""
    corners = rng.uniform(-40.0, 40.0, (rng.integers(1, 4), 1, 3, 2))
    return [Shape(points, tone) for points, tone in zip(corners, rng.uniform(0, 255, 3).tolist(), strict=False)]


def _place(shapes: list[Shape], who: Identity, pose: Pose) -> Iterator[Outlines]:
    """Turn the head and say where its shapes are in the large image.

    Yields:
        For each shape its polygons, int32 of shape (corners, 2): eighths of the pixels of the 144x144 image.
    """
    flat = np.concatenate([shape.points.ravel() for shape in shapes]).reshape(-1, 2)
    # The head is an ellipsoid with a nose: what is closer to the camera moves further when the head turns,
    # and the outline, at depth 0, stays where it is.
    xyz = np.empty((len(flat), 4))
    xyz[:, :2], xyz[:, 3] = flat, 1.0
    inside = np.maximum(1.0 - flat**2 @ (who.face_width**-2, who.face_top**-2), 0.0)
    from_nose = (flat - (0.0, who.nose_y)) ** 2 @ (1 / 9.0, 1 / 12.0)
    xyz[:, 2] = 15.0 * np.sqrt(inside) + 4.0 * np.exp(-from_nose)
    unit = SCALE * 2**_SHIFT
    cos, sin = unit * pose.scale * math.cos(pose.roll), unit * pose.scale * math.sin(pose.roll)
    yaw, pitch = math.sin(pose.yaw), math.sin(pose.pitch)
    # The crop follows the turned head, as that of a face detector does. OpenCV puts whole coordinates at the
    # centres of pixels, hence the half.
    center = unit * SIZE / 2 - 2 ** (_SHIFT - 1)
    right, down = center + unit * pose.shift_x, center + unit * pose.shift_y
    onto_image = (
        (cos, sin),
        (-sin, cos),
        (yaw * cos - pitch * sin, yaw * sin + pitch * cos),
        (right - 6.0 * yaw * cos + 9.0 * pitch * sin, down - 6.0 * yaw * sin - 9.0 * pitch * cos),
    )
    pixels = (xyz @ onto_image).astype(np.int32)
    first = 0
    for points, _, _ in shapes:
        polygons, corners, _ = points.shape
        last = first + polygons * corners
        # An array is a sequence of arrays, and OpenCV reads it faster than a list of them.
        yield cast("Outlines", pixels[first:last].reshape(polygons, corners, 2))
        first = last


def _draw(canvas: MatLike, shapes: list[Shape], outlines: Iterator[Outlines]) -> None:
    """Draw shapes in order, in place, on uint8 of shape (144, 144); takes their outlines off the iterator."""
    for (_, tone, width), polygons in zip(shapes, outlines, strict=False):
        if width > 0.0:
            cv2.polylines(canvas, polygons, False, tone, max(1, round(width * SCALE)), cv2.LINE_8, _SHIFT)
        else:
            cv2.fillPoly(canvas, polygons, tone, cv2.LINE_8, _SHIFT)


def _light(image: MatLike, rng: np.random.Generator) -> MatLike:
    """Light the head from a random direction as if it were a dome, then vary contrast and brightness."""
    strength, contrast, brightness = rng.uniform(0.25, 0.65), rng.uniform(0.65, 1.15), rng.uniform(75, 165)
    from_x, from_y = 0.35 * rng.standard_normal(), -0.2 + 0.25 * rng.standard_normal()
    weights = (1.0 - 0.75 * strength, strength, strength * from_x, strength * from_y)
    lit = image * (np.array(weights, dtype=np.float32) @ _LIGHTS).reshape(SIZE, SIZE)
    mean = cv2.mean(lit)[0]
    return contrast * (lit - mean) + (0.4 * mean + 0.6 * brightness)


def draw_face(expression: str, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw one face.

    Args:
        expression: One of :data:`fer.data.labels.BASIC`.
        rng: Decides everything else about the face.

    Returns:
        uint8 of shape (48, 48).
    """
    units = sample_units(expression, rng)
    who, style, pose = sample_identity(rng), sample_style(rng), sample_pose(rng)

    skin = background(rng) + head(who, units, style) + facial_hair(who, units, style)
    shadows = soft_shadows(who, units)
    folds = wrinkles(who, units)
    features = eyes(who, units, style) + nose(who, units, style) + mouth(who, units, style)
    features += brows(who, units, style) + hair(who, style, rng) + worn(who, style, rng)
    outlines = _place(skin + shadows + folds + features, who, pose)

    canvas: MatLike = np.full((_LARGE, _LARGE), rng.uniform(40, 210), dtype=np.uint8)
    _draw(canvas, skin, outlines)
    # The shade multiplies the canvas: it darkens below 128 and lightens above.
    shade = cv2.resize((88.0 + 80.0 * rng.random((6, 6))).astype(np.uint8), (_LARGE, _LARGE))
    _draw(shade, shadows, outlines)
    shade = cv2.blur(shade, (13, 13))
    _draw(shade, folds, outlines)
    shade = cv2.GaussianBlur(shade, (3, 3), 0)
    canvas = cv2.multiply(canvas, shade, scale=1 / 128)
    _draw(canvas, features, outlines)

    image = _light(cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32), rng)
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9))
    noise: MatLike = rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    noise *= 1.0 + 6.0 * rng.random() ** 2
    # Adding into uint8 rounds and clips.
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), dtype=np.uint8)
