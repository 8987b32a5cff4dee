"""Synthetic faces: a seeded generator of grey 48x48 faces with the seven basic expressions.

What it is: a classification task of realistic shape and difficulty that needs no download and has no licence,
for demos, tests and teaching. Every face is drawn from action units (Facial Action Coding System, FACS),
which are sampled per expression (:data:`EXPRESSIONS`), and then made hard by identity, head pose, light,
occlusion, blur, noise and a cluttered background. Some expressions are weak or blended with a similar one: as
with real faces, no classifier can be perfect.

What it is not: data about people. The faces are stylised drawings whose distributions were chosen by hand. A
score on them says that code works; it says nothing about how a model does on real faces.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from fer.data.labels import BASIC

VERSION = 2
"""Raised whenever the drawing changes: part of the key under which generated faces are cached."""

SIZE = 48
"""Height and width of a face in pixels, as in FER2013."""

PROPORTIONS = {
    "angry": 0.133,
    "disgust": 0.055,
    "fear": 0.137,
    "happy": 0.242,
    "sad": 0.161,
    "surprise": 0.106,
    "neutral": 0.166,
}
"""Share of each expression: unbalanced as in FER2013, but with enough ``disgust`` to be learnt and scored.

FER2013 has 1.5 % of it. Of 4,000 faces that would leave 6 to validate on, and a first run that never says ``disgust``.
"""

MIN_PER_CLASS = 3
"""Even the smallest set has this many faces of each expression (fewer below 21 faces)."""

FloatArray = npt.NDArray[np.float64]


class ActionUnits(NamedTuple):
    """Intensity of each facial action: 0 is absent and 1 is maximal; the two gaze units run from -1 to 1."""

    inner_brow_raiser: float  # AU1
    outer_brow_raiser: float  # AU2
    brow_lowerer: float  # AU4: lowers the brows and knits them together
    upper_lid_raiser: float  # AU5
    cheek_raiser: float  # AU6
    lid_tightener: float  # AU7
    nose_wrinkler: float  # AU9
    upper_lip_raiser: float  # AU10: also bares the upper teeth
    nasolabial_deepener: float  # AU11
    lip_corner_puller: float  # AU12
    lip_corner_depressor: float  # AU15
    chin_raiser: float  # AU17: pushes up the lower lip
    lip_stretcher: float  # AU20: also bares the lower teeth
    lip_tightener: float  # AU23
    lip_pressor: float  # AU24
    lips_part: float  # AU25
    jaw_drop: float  # AU26
    mouth_stretch: float  # AU27
    eyes_closed: float  # AU43
    eyes_turned: float  # AU61 (to their left, positive) and AU62 (right, negative)
    eyes_down: float  # AU64 (down, positive) and AU63 (up, negative)


EXPRESSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "angry": {
        "brow_lowerer": (0.85, 0.15),
        "upper_lid_raiser": (0.30, 0.20),
        "lid_tightener": (0.60, 0.20),
        "upper_lip_raiser": (0.15, 0.20),
        "chin_raiser": (0.20, 0.20),
        "lip_tightener": (0.55, 0.25),
        "lip_pressor": (0.40, 0.30),
        "lips_part": (0.10, 0.40),
        "lip_corner_depressor": (0.15, 0.15),
    },
    "disgust": {
        "brow_lowerer": (0.45, 0.20),
        "cheek_raiser": (0.25, 0.15),
        "lid_tightener": (0.50, 0.20),
        "nose_wrinkler": (0.85, 0.15),
        "upper_lip_raiser": (0.75, 0.20),
        "lip_corner_depressor": (0.25, 0.20),
        "chin_raiser": (0.30, 0.20),
        "lips_part": (0.25, 0.25),
    },
    "fear": {
        "inner_brow_raiser": (0.85, 0.15),
        "outer_brow_raiser": (0.35, 0.20),
        "brow_lowerer": (0.50, 0.20),
        "upper_lid_raiser": (0.75, 0.20),
        "lid_tightener": (0.25, 0.20),
        "lip_stretcher": (0.60, 0.30),
        "lips_part": (0.50, 0.25),
        "jaw_drop": (0.35, 0.30),
    },
    "happy": {
        "cheek_raiser": (0.60, 0.25),
        "lip_corner_puller": (0.85, 0.20),
        "nasolabial_deepener": (0.20, 0.15),
        "lips_part": (0.50, 0.40),
        "jaw_drop": (0.10, 0.20),
    },
    "sad": {
        "inner_brow_raiser": (0.75, 0.20),
        "brow_lowerer": (0.35, 0.20),
        "nasolabial_deepener": (0.20, 0.15),
        "lip_corner_depressor": (0.75, 0.20),
        "chin_raiser": (0.45, 0.25),
        "eyes_closed": (0.25, 0.15),
        "eyes_down": (0.35, 0.35),
    },
    "surprise": {
        "inner_brow_raiser": (0.85, 0.15),
        "outer_brow_raiser": (0.90, 0.15),
        "upper_lid_raiser": (0.65, 0.20),
        "lips_part": (0.50, 0.20),
        "jaw_drop": (0.65, 0.25),
        "mouth_stretch": (0.25, 0.30),
    },
    "neutral": {},
}
"""The mean and spread of each action unit's intensity; a unit not listed is at rest (:data:`REST`)."""

REST = (0.0, 0.06)
"""Mean and spread of an action unit that the expression does not use: faces are never perfectly still."""

REST_GAZE = (0.0, 0.35)
"""The same for the two gaze units."""

INTENSITY = {
    "angry": (0.80, 0.25),
    "disgust": (0.90, 0.20),
    "fear": (0.75, 0.25),
    "happy": (0.90, 0.25),
    "sad": (0.70, 0.25),
    "surprise": (0.90, 0.25),
    "neutral": (0.60, 0.20),
}
"""Mean and spread of the factor on an expression's action units: smiles are more open than sadness is."""

SIMILAR = {
    "angry": ("disgust", "sad", "neutral"),
    "disgust": ("angry",),
    "fear": ("surprise", "sad"),
    "happy": ("neutral", "surprise"),
    "sad": ("neutral", "fear", "angry"),
    "surprise": ("fear", "happy"),
    "neutral": ("sad", "angry", "happy"),
}
"""What an expression may be blended with: the pairs that people confuse."""


class Identity(NamedTuple):
    """What stays the same when the face moves: lengths in pixels of the 48x48 image, from its middle."""

    face_width: float  # half the width at the cheekbones
    face_top: float  # from the centre up to the top of the skull
    face_bottom: float  # from the centre down to the chin
    jaw_taper: float  # 0 is a round jaw, larger is more pointed
    eye_distance: float  # from the middle of the face to an eye
    eye_y: float
    eye_width: float  # half the width of an eye
    eye_opening: float  # factor on the opening
    eye_slant: float  # how much higher the outer corner is
    brow_height: float  # above the eye
    brow_slant: float  # positive: the outer end is higher
    brow_thickness: float  # half the thickness
    nose_y: float
    nose_width: float  # half the width
    mouth_y: float
    mouth_width: float  # half the width
    mouth_curve: float  # of the resting mouth: positive is up
    lip_thickness: float
    age: float  # 0 is smooth skin, 1 is wrinkled


IDENTITY = Identity(
    face_width=17.5,
    face_top=25.0,
    face_bottom=22.5,
    jaw_taper=0.22,
    eye_distance=8.1,
    eye_y=-4.5,
    eye_width=3.9,
    eye_opening=1.0,
    eye_slant=0.3,
    brow_height=4.9,
    brow_slant=0.2,
    brow_thickness=0.75,
    nose_y=5.0,
    nose_width=3.2,
    mouth_y=12.3,
    mouth_width=6.0,
    mouth_curve=0.0,
    lip_thickness=1.35,
    age=0.3,
)
"""The mean face."""

IDENTITY_SPREAD = Identity(
    face_width=1.2,
    face_top=1.0,
    face_bottom=1.0,
    jaw_taper=0.08,
    eye_distance=0.5,
    eye_y=0.6,
    eye_width=0.35,
    eye_opening=0.15,
    eye_slant=0.4,
    brow_height=0.5,
    brow_slant=0.4,
    brow_thickness=0.25,
    nose_y=0.7,
    nose_width=0.45,
    mouth_y=0.6,
    mouth_width=0.6,
    mouth_curve=0.5,
    lip_thickness=0.35,
    age=0.3,
)
"""How much faces differ from the mean face (standard deviations)."""


class Style(NamedTuple):
    """Skin, hair and what is worn. Tones are grey values from 0 to 255."""

    skin: float
    hair: float
    iris: float
    hairline: float  # height of the forehead as a share of the skull; 1 or more is bald
    parting: float  # where the hair is parted, -1 (left) to 1 (right)
    long_hair: bool
    beard: float  # 0 is none, 1 is dense
    moustache: float
    glasses: bool


class Pose(NamedTuple):
    """Where the head points (radians) and where it is in the image."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    shift_x: float
    shift_y: float


class Shape(NamedTuple):
    """Filled polygons, or lines if there is a width, of one tone.

    Coordinates are those of a frontal face: pixels of the 48x48 image, (0, 0) in the middle of the face, x to
    the right and y down.
    """

    points: FloatArray  # (polygons, corners, 2)
    tone: float  # grey value from 0 to 255, or 128 for no change where the shape is a shadow
    width: float = 0.0  # of the lines, in pixels of the 48x48 image


Point = tuple[float, float]
Outlines = list[npt.NDArray[np.int32]]

# Faces are drawn three times too large and then averaged down, which smooths every edge at little cost.
_SCALE = 3
_LARGE = SIZE * _SCALE
_SHIFT = 3  # fractional bits of the coordinates handed to OpenCV

_UNITS = ActionUnits._fields
_GAZE = ("eyes_turned", "eyes_down")
_UNIT_TABLE = np.array(
    [[EXPRESSIONS[name].get(unit, REST_GAZE if unit in _GAZE else REST) for unit in _UNITS] for name in BASIC]
)
_UNIT_LOW = np.array([-1.0 if unit in _GAZE else 0.0 for unit in _UNITS])
_IDENTITY, _IDENTITY_SPREAD = np.array(IDENTITY), np.array(IDENTITY_SPREAD)

_T = np.linspace(-1.0, 1.0, 11)  # from the left to the right end of a band
_BUMP = 1.0 - _T**2  # 0 at both ends and 1 in the middle
_ROUND = np.sqrt(_BUMP)  # the same as half a circle
_CUPID = _BUMP**0.7 * (1.0 - 0.25 * np.exp(-((_T / 0.18) ** 2)))  # the same as the edge of the upper lip
_LINE = np.linspace(0.0, 1.0, 7)  # from the start to the end of an arc
_THROUGH = np.array([(1 - _LINE) * (1 - 2 * _LINE), 4 * _LINE * (1 - _LINE), _LINE * (2 * _LINE - 1)]).T
"""Weights of an arc's three points: the parabola through them."""
_ANGLE = np.linspace(0.0, 2.0 * np.pi, 20, endpoint=False)
_CIRCLE = np.array((np.cos(_ANGLE), np.sin(_ANGLE))).T
_ABOVE, _BELOW = np.minimum(_CIRCLE[:, 1], 0.0), np.maximum(_CIRCLE[:, 1], 0.0)
_IRIS_AND_PUPIL = np.array((1.95, 0.95))[:, None, None, None] * _CIRCLE
_SIDES = np.array([[[1.0, 1.0]], [[-1.0, 1.0]]])  # the right half of the face, and its mirror image
_ROWS = np.array([[[0.0, 0.0]], [[0.0, 1.0]], [[0.0, 2.0]]])  # up to three lines above each other

_DOWN, _ACROSS = (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2) / 24.0
_DOME = np.sqrt(np.maximum(1.0 - (0.95 * _ACROSS) ** 2 - (0.8 * _DOWN) ** 2, 0.05))
_LIGHTS = np.array((np.ones_like(_DOME), _DOME, _ACROSS, _DOWN), dtype=np.float32).reshape(4, -1)


def _arc(start: Point, middle: Point, end: Point) -> FloatArray:
    """Return a smooth line through three points, of shape (1, 7, 2)."""
    line: FloatArray = _THROUGH @ np.array((start, middle, end))
    return line[None]


def _band(x: FloatArray, top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Return the outline of the area between two lines over the same n values of x, of shape (1, 2n, 2)."""
    outline = np.empty((1, 2 * len(x), 2))
    outline[0, : len(x), 0], outline[0, : len(x), 1] = x, top
    outline[0, len(x) :, 0], outline[0, len(x) :, 1] = x[::-1], bottom[::-1]
    return outline


def _ellipses(*ellipses: tuple[float, float, float, float]) -> FloatArray:
    """Return outlines of ellipses (x, y, half width, half height), of shape (len(ellipses), 1, 20, 2)."""
    rows = np.array(ellipses)[:, None, None]
    outlines: FloatArray = _CIRCLE * rows[..., 2:] + rows[..., :2]
    return outlines


def _both(points: FloatArray) -> FloatArray:
    """Return the points of the right half of the face and their mirror image: (1, n, 2) becomes (2, n, 2)."""
    sides: FloatArray = points * _SIDES
    return sides


def _sample_units(expression: str, rng: np.random.Generator) -> ActionUnits:
    """Draw one instance of an expression: sometimes weak, sometimes blended with a similar one."""
    table = _UNIT_TABLE[BASIC.index(expression)]
    mean, spread = table[:, 0], table[:, 1]
    if rng.random() < 0.3:
        similar = SIMILAR[expression]
        other = _UNIT_TABLE[BASIC.index(similar[rng.integers(len(similar))]), :, 0]
        mean = mean + rng.uniform(0.1, 0.5) * (other - mean)
    middle, deviation = INTENSITY[expression]
    intensity = min(max(middle + deviation * rng.standard_normal(), 0.2), 1.15)
    values = intensity * mean + min(intensity, 1.0) * spread * rng.standard_normal(len(mean))
    units = ActionUnits(*np.minimum(np.maximum(values, _UNIT_LOW), 1.0).tolist())
    if rng.random() < 0.1:  # Speaking opens the mouth whatever the expression is.
        units = units._replace(lips_part=rng.uniform(0.2, 0.6), jaw_drop=max(units.jaw_drop, rng.uniform(0.0, 0.3)))
    return units


def _sample_identity(rng: np.random.Generator) -> Identity:
    factors = np.minimum(np.maximum(rng.standard_normal(len(_IDENTITY)), -2.0), 2.0)
    return Identity(*(_IDENTITY + factors * _IDENTITY_SPREAD).tolist())


def _sample_style(rng: np.random.Generator) -> Style:
    skin, shade, chance, iris, hairline, parting, beard, moustache = rng.random(8).tolist()
    skin = 95 + 120 * skin
    long_hair, bald, bearded, glasses = (rng.random(4) < (0.4, 0.12, 0.35, 0.14)).tolist()
    bearded = bearded and not long_hair
    return Style(
        skin=skin,
        hair=skin * (1.0 + 0.2 * shade) if chance < 0.12 else skin * (0.12 + 0.5 * shade),
        iris=25 + 65 * iris,
        hairline=1.1 if bald and not long_hair else 0.60 + 0.15 * hairline,
        parting=1.6 * parting - 0.8,
        long_hair=long_hair,
        beard=0.15 + 0.75 * beard if bearded else 0.0,
        moustache=0.2 + 0.7 * moustache if bearded else 0.0,
        glasses=glasses,
    )


def _sample_pose(rng: np.random.Generator) -> Pose:
    yaw, pitch, roll, scale, shift_x, shift_y = rng.standard_normal(6).tolist()
    return Pose(
        yaw=0.16 * yaw,
        pitch=0.09 * pitch,
        roll=0.10 * roll,
        scale=1.12 + 0.05 * scale,
        shift_x=0.9 * shift_x,
        shift_y=0.9 * shift_y,
    )


def _chin(who: Identity, units: ActionUnits) -> float:
    return who.face_bottom + 1.5 * units.jaw_drop + 2.0 * units.mouth_stretch


def _mouth_corner(who: Identity, units: ActionUnits) -> Point:
    """Return the right corner of the mouth."""
    width = who.mouth_width * (
        1.0
        + 0.28 * units.lip_corner_puller
        + 0.25 * units.lip_stretcher
        - 0.10 * units.lip_tightener
        - 0.15 * units.jaw_drop
        - 0.12 * units.mouth_stretch
    )
    y = (
        who.mouth_y
        - who.mouth_curve
        - 3.0 * units.lip_corner_puller
        + 2.6 * units.lip_corner_depressor
        + 0.7 * units.lip_stretcher
        + 1.2 * units.jaw_drop
        + 1.5 * units.mouth_stretch
    )
    return width, y


def _head(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Long hair, shoulders, neck, ears and the bare head."""
    width, skin = who.face_width, style.skin
    shapes = []
    if style.long_hair:
        shapes.append(Shape(_band((width + 4.5) * _T, -4.0 - 24.0 * _ROUND, 20.0 + 30.0 * _ROUND), 0.8 * style.hair))
    shapes.append(Shape(_band(30.0 * _T, 33.0 - 8.0 * _ROUND, 50.0 + _T), 255.0 - skin))
    shapes.append(Shape(_band(0.6 * width * _T, 8.0 + _T, 30.0 + 2.0 * _BUMP), 0.66 * skin))
    if not style.long_hair:
        outer, inner = _ellipses((width + 0.4, -0.5, 2.2, 4.6), (width + 0.9, -0.5, 1.0, 3.0))
        shapes += [Shape(_both(outer), 0.82 * skin), Shape(_both(inner), 0.62 * skin)]
    head = np.empty((1, len(_CIRCLE), 2))
    head[0, :, 0] = width * _CIRCLE[:, 0] * (1.0 - who.jaw_taper * _BELOW**2)
    head[0, :, 1] = who.face_top * _ABOVE + _chin(who, units) * _BELOW
    shapes.append(Shape(head, skin))
    return shapes


def _facial_hair(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Beard and moustache, more or less dense."""
    if style.beard == 0.0:
        return []
    corner_x, corner_y = _mouth_corner(who, units)
    top = who.mouth_y + 1.0 - 9.0 * _T**4
    bottom = np.maximum(_chin(who, units) * _ROUND * (1.0 - 0.12 * _T**2), top)
    beard = Shape(
        _band(0.97 * who.face_width * _T, top, bottom),
        style.skin + 0.8 * style.beard * (style.hair - style.skin),
    )
    top = who.nose_y + 2.6 + (corner_y - who.nose_y - 3.2) * _T**2
    moustache = Shape(
        _band((corner_x + 0.6) * _T, top, top + 0.4 + 2.4 * _BUMP),
        style.skin + 0.8 * style.moustache * (style.hair - style.skin),
    )
    return [beard, moustache]


def _soft_shadows(who: Identity, units: ActionUnits) -> list[Shape]:
    """The large shadows and lights of the skin."""
    eye_x, eye_y, nose_y = who.eye_distance, who.eye_y, who.nose_y
    opened = 3.0 * units.jaw_drop + 3.0 * units.mouth_stretch
    face, socket, cheek, under_nose, under_lip = _ellipses(
        (0.0, 0.0, who.face_width, who.face_top),
        (0.93 * eye_x, eye_y - 1.0, 4.8, 3.2),
        (1.08 * eye_x, nose_y + 0.5 - 1.5 * units.cheek_raiser, 4.0, 3.0),
        (0.0, nose_y + 2.2, who.nose_width, 1.0),
        (0.0, who.mouth_y + 4.5 + opened, 3.6, 1.0),
    )
    return [
        Shape(face, 128.0),  # no clutter on the face
        Shape(_both(socket), 100.0),
        Shape(_both(cheek), 140.0 + 10.0 * units.cheek_raiser),
        Shape(_both(_arc((2.2, eye_y - 1.0), (1.9, eye_y + 4.0), (3.0, nose_y))), 108.0, 1.4),
        Shape(_arc((0.0, eye_y - 1.0), (0.0, 0.0), (0.0, nose_y - 1.0)), 150.0, 1.6),
        Shape(under_nose, 92.0),
        Shape(under_lip, 98.0),
    ]


def _wrinkles(who: Identity, units: ActionUnits) -> list[Shape]:
    """The lines of the skin, deeper with age and with the muscle that folds it."""
    age = max(who.age, 0.0)
    eye_x, eye_y, nose_y = who.eye_distance, who.eye_y, who.nose_y
    corner_x, corner_y = _mouth_corner(who, units)
    smile, sneer, squint = (
        units.lip_corner_puller,
        units.nose_wrinkler,
        max(units.cheek_raiser, units.lid_tightener),
    )
    shapes: list[Shape] = []

    def fold(depth: float, width: float, line: tuple[Point, Point, Point], rows: int = 1, step: float = 0.0) -> None:
        """Add a line of the right half and its mirror image, and further rows of it above or below."""
        if depth > 0.1:
            lines = _arc(*line) + step * _ROWS[:rows]
            lines = (lines[:, None] * _SIDES).reshape(2 * rows, -1, 2)
            shapes.append(Shape(lines, 128.0 - 75.0 * min(depth, 1.0), width))

    # Forehead.
    y, half = eye_y - who.brow_height - 3.8, 5.0 + 5.0 * units.outer_brow_raiser
    depth = 0.25 * age + 0.3 * (units.inner_brow_raiser + units.outer_brow_raiser) - 0.1
    fold(depth, 0.6, ((0.0, y - 0.5), (0.5 * half, y - 0.4), (half, y)), rows=3, step=-2.1)
    # Between knitted brows.
    x, y = 1.8 - 0.5 * units.brow_lowerer, eye_y - who.brow_height + 0.5
    fold(0.9 * units.brow_lowerer - 0.05, 0.8, ((x, y - 2.0), (0.85 * x, y), (x, y + 2.0)))
    # Down the sides of a wrinkled nose.
    fold(
        0.9 * sneer - 0.05,
        0.6,
        ((0.2, eye_y + 0.4), (1.5, eye_y + 0.6), (3.2, eye_y + 2.0)),
        rows=3,
        step=2.1,
    )
    # The nasolabial fold, from the wing of the nose around the corner of the mouth.
    y = nose_y - 0.6 - 1.3 * sneer
    middle = (0.5 * (who.nose_width + corner_x) + 1.8 + 0.9 * smile, 0.5 * (y + corner_y) - 0.6)
    depth = 0.3 * age + 0.5 * smile + 0.6 * units.upper_lip_raiser + 0.5 * units.nasolabial_deepener + 0.2 * sneer
    fold(depth, 0.9, ((who.nose_width + 0.6, y), middle, (corner_x + 1.7, corner_y + 0.8)))
    # Below the eyes, and crow's feet beside them.
    x, y = eye_x + who.eye_width, eye_y + 2.4
    fold(0.3 * age + 0.5 * squint, 0.7, ((eye_x - 3.0, y + 0.2), (eye_x, y + 1.5 - 0.8 * squint), (x, y)))
    depth = 0.25 * age + 0.65 * units.cheek_raiser - 0.15
    fold(depth, 0.5, ((x + 0.7, eye_y - 0.4), (x + 1.7, eye_y - 0.6), (x + 2.9, eye_y - 1.2)), rows=3, step=1.1)
    # Beside the mouth: the dimples of a smile, and the shadow of corners that are pulled down.
    x, y, down = corner_x + 0.8, corner_y, units.lip_corner_depressor
    fold(0.5 * smile + 0.7 * down, 0.8, ((x - 0.5, y - 0.8), (x + 0.1, y + 0.3), (x, y + 1.0 + 1.4 * down)))
    # A raised chin.
    y = _chin(who, units) - 4.2
    fold(0.7 * units.chin_raiser, 0.9, ((0.0, y - 0.6), (1.4, y - 0.2), (2.6, y + 0.8)))
    return shapes


def _eyes(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Whites, irises and lids."""
    eye_x, eye_y, half, slant = who.eye_distance, who.eye_y, who.eye_width, who.eye_slant
    opening = who.eye_opening * (1.0 - units.eyes_closed)
    squint = 0.45 * units.lid_tightener + 0.40 * units.cheek_raiser + 0.25 * units.nose_wrinkler
    above = min(max(opening * (2.2 + 1.6 * units.upper_lid_raiser - 1.2 * squint), 0.15), 3.6)
    below = max(opening * (1.3 + 0.3 * units.upper_lid_raiser - 1.4 * squint), 0.05)
    x = eye_x + half * _T
    upper = eye_y - slant * _T - above * _BUMP
    lower = eye_y - slant * _T + below * _BUMP

    # Outlines of both irises and both pupils. The lids cut them off: they are moved into the eye's opening.
    turned = 1.5 * units.eyes_turned
    ring_x = _IRIS_AND_PUPIL[..., 0] + ((turned,), (-turned,))
    ring_y = _IRIS_AND_PUPIL[..., 1] + (eye_y - 0.35 + 0.9 * units.eyes_down)
    t = np.minimum(np.maximum(ring_x / half, -1.0), 1.0)
    bump, base = 1.0 - t**2, eye_y - slant * t
    rings = np.empty((2, 2, len(_CIRCLE), 2))
    rings[..., 0] = ring_x + eye_x
    rings[..., 1] = np.minimum(np.maximum(ring_y, base - above * bump), base + below * bump)
    rings *= _SIDES

    lids = np.empty((3, 1, len(_T), 2))
    lids[..., 0] = x
    lids[0, 0, :, 1] = upper - (0.8 - 0.4 * units.upper_lid_raiser + 0.4 * units.eyes_closed)
    lids[1, 0, :, 1] = lower
    lids[2, 0, :, 1] = upper
    lids = lids * _SIDES
    return [
        Shape(_both(_band(x, upper, lower)), 0.35 * style.skin + 145.0),
        Shape(rings[0], style.iris),
        Shape(rings[1], 12.0),
        Shape(lids[:2, :, 1:-1].reshape(4, -1, 2), 0.60 * style.skin, 0.4),
        Shape(lids[2], 0.16 * style.skin, 0.85),
    ]


def _brows(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Tapered brows through an inner, a middle and an outer point."""
    inner, outer, lower, sneer = (
        units.inner_brow_raiser,
        units.outer_brow_raiser,
        units.brow_lowerer,
        units.nose_wrinkler,
    )
    base = who.eye_y - who.brow_height
    # Together with the inner brow raiser, the brow lowerer knits but hardly lowers (fear, sadness).
    inner_y = base + 0.3 - 2.9 * inner + 3.3 * lower * (1.0 - 0.75 * inner) + 0.9 * sneer
    middle_y = base - 1.0 - 1.1 * inner - 1.8 * outer + 2.2 * lower * (1.0 - 0.4 * inner) + 0.5 * sneer
    outer_y = base + 0.6 - who.brow_slant + 0.5 * inner - 2.8 * outer + 0.4 * lower
    line = _arc(
        (who.eye_distance - 4.6 - 1.1 * lower, inner_y),
        (who.eye_distance + 0.2, middle_y),
        (who.eye_distance + 5.3, outer_y),
    )
    x, y = line[0, :, 0], line[0, :, 1]
    taper = who.brow_thickness * (1.0 - 0.65 * _LINE**2)
    return [Shape(_both(_band(x, y - taper, y + taper)), min(0.85 * style.hair, 0.72 * style.skin))]


def _nose(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Nostrils, wings and tip; a wrinkled nose is shorter and wider."""
    y = who.nose_y - 1.4 * units.nose_wrinkler - 0.4 * units.upper_lip_raiser
    width = who.nose_width * (1.0 + 0.15 * units.nose_wrinkler + 0.12 * units.lip_corner_puller)
    edge = 0.62 * style.skin
    return [
        Shape(_both(_ellipses((0.5 * width, y + 1.0, 0.36 * width, 0.55))[0]), 0.33 * style.skin),
        Shape(_both(_arc((0.85 * width, y - 1.6), (1.1 * width, y), (0.75 * width, y + 1.2))), edge, 0.6),
        Shape(_arc((-0.3 * width, y + 1.5), (0.0, y + 1.9), (0.3 * width, y + 1.5)), edge, 0.5),
    ]


def _mouth(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Lips, and between parted lips the dark of the mouth, teeth and tongue."""
    half, corner_y = _mouth_corner(who, units)
    smile, sneer = units.lip_corner_puller, units.upper_lip_raiser
    press = max(units.lip_tightener, units.lip_pressor)
    gap = 3.2 * units.lips_part * (1.0 - 0.3 * press) + 5.5 * units.jaw_drop + 5.0 * units.mouth_stretch
    center = who.mouth_y + 0.4 * smile - 0.9 * units.chin_raiser - 0.3 * units.lip_corner_depressor
    upper_y = center - 0.25 * gap - 2.4 * sneer
    lower_y = center + 0.75 * gap
    if gap < 1.0:  # The lower lip follows the upper one as long as they touch.
        lower_y -= 1.6 * sneer
    # An opened jaw rounds the mouth, a raised or stretched upper lip squares it.
    bump = _BUMP ** (1.0 - 0.45 * min(1.0, max(0.18 * gap, sneer, 0.8 * units.lip_stretcher)))
    x = half * _T
    upper = corner_y + (upper_y - corner_y) * bump
    lower = np.maximum(upper, corner_y + (lower_y - corner_y) * bump)

    thickness = who.lip_thickness * (1.0 - 0.7 * press) * (1.0 - 0.25 * smile)
    upper_lip = upper - 0.95 * thickness * _CUPID
    lower_lip = lower + (1.25 + 0.3 * units.chin_raiser) * thickness * _ROUND
    shapes = [
        Shape(_band(x, upper_lip, upper), 0.60 * style.skin),
        Shape(_band(x, lower, lower_lip), 0.72 * style.skin),
    ]
    if gap > 0.5:
        shapes.append(Shape(_band(x, upper, lower), 0.16 * style.skin))
        bared = min(1.0, 0.25 + smile + sneer + 0.6 * units.lip_stretcher + 0.8 * press)
        below = 1.6 * min(1.0, 0.8 * units.lip_stretcher + 0.7 * sneer + 0.9 * press)
        teeth = 0.25 * style.skin + 165.0
        x, upper, lower, bump = x[1:-1], upper[1:-1], lower[1:-1], bump[1:-1]
        edge = np.minimum(upper + (0.3 + 2.3 * bared) * bump, lower)
        shapes.append(Shape(_band(x, upper, edge), teeth))
        if below > 0.5:
            edge = np.maximum(lower - below * bump, np.minimum(edge + 0.35, lower))
            shapes.append(Shape(_band(x, edge, lower), 0.9 * teeth))
        elif gap > 3.5:
            (tongue,) = _ellipses((0.0, lower_y - 0.16 * gap, 0.5 * half, 0.14 * gap))
            shapes.append(Shape(tongue, 0.42 * style.skin))
    else:
        shapes.append(Shape(_band(x, upper, lower), 0.28 * style.skin, 0.5))
    shapes.append(Shape(_both(_ellipses((half, corner_y, 0.6, 0.5))[0]), 0.35 * style.skin))
    return shapes


def _hair(who: Identity, style: Style, rng: np.random.Generator) -> list[Shape]:
    """Hair around the forehead, with strands that are lighter or darker."""
    if style.hairline >= 1.0:
        return []
    width, tall = who.face_width + 1.6, who.face_top + 2.0
    line = -who.face_top * style.hairline + 1.5 - 2.5 * np.maximum(1.0 - np.abs(_T - style.parting), 0.0)
    line += 0.5 * rng.standard_normal(len(_T))
    line += (17.0 if style.long_hair else 12.0) * np.abs(_T) ** 4
    top = -tall * _ROUND - 2.0
    shapes = [Shape(_band(width * _T, top, np.maximum(line, top + 0.2)), style.hair)]
    if style.long_hair:
        side = np.array(((width, -7.0), (who.face_width + 1.0, 6.0), (who.face_width - 1.0, 26.0)))
        inner = _THROUGH @ (side - (2.2, 0.0))
        outer = _THROUGH @ (side + np.array(((0.0, 0.0), (3.5, 0.0), (6.0, 0.0))))
        shapes.append(Shape(_both(np.concatenate((inner, outer[::-1]))[None]), style.hair))
    # Strands fall from the parting along the skull.
    reach = rng.uniform(-1.0, 1.0, 10)
    ends = np.empty((10, 3, 2))
    ends[:, 0] = 0.4 * width * style.parting, -tall
    ends[:, 2, 0] = 0.95 * width * reach
    ends[:, 2, 1] = -who.face_top * style.hairline - 1.5 + 9.0 * reach**4
    ends[:, 1, 0] = 0.5 * ends[:, 0, 0] + 0.6 * ends[:, 2, 0]
    ends[:, 1, 1] = 0.5 * (ends[:, 0, 1] + ends[:, 2, 1]) - 1.5
    strands = _THROUGH @ ends
    shapes += [
        Shape(strands[:5], 0.65 * style.hair, 0.6),
        Shape(strands[5:], 1.15 * style.hair + 18.0, 0.6),
    ]
    return shapes


def _worn(who: Identity, style: Style, rng: np.random.Generator) -> list[Shape]:
    """Glasses, and sometimes something that hides a part of the face."""
    eye_x, eye_y, edge = who.eye_distance, who.eye_y, who.face_width
    side = -1.0 if rng.random() < 0.5 else 1.0
    shapes = []
    chance = rng.random()
    if chance < 0.02:  # sunglasses
        shapes.append(Shape(_both(_ellipses((eye_x, eye_y + 0.6, 5.6, 4.2))[0]), rng.uniform(10, 50)))
        shapes.append(Shape(_arc((-eye_x, eye_y - 1.0), (0.0, eye_y - 1.2), (eye_x, eye_y - 1.0)), 20.0, 0.9))
    elif style.glasses:
        tone = rng.uniform(15, 90)
        (rim,) = _ellipses((eye_x, eye_y + 0.5, 5.3, 4.0))
        shapes.append(Shape(_both(np.concatenate((rim, rim[:, :1]), axis=1)), tone, 0.5))
        arm = _arc((eye_x + 5.3, eye_y), (edge - 1.0, eye_y - 0.3), (edge + 0.5, eye_y - 1.0))
        shapes.append(Shape(_both(arm), tone, 0.6))
        shapes.append(Shape(_arc((5.2 - eye_x, eye_y), (0.0, eye_y - 0.8), (eye_x - 5.2, eye_y)), tone, 0.6))
    if 0.02 <= chance < 0.09:  # a hand on the cheek or in front of the mouth
        tips = rng.uniform(3.0, 12.0) + np.array((0.0, -1.2, -0.3, 2.2))
        fingers = np.empty((4, 2, 2))
        fingers[:, 0, 0], fingers[:, 1, 0] = 30.0, tips
        fingers[:, 1, 1] = rng.uniform(4.0, 15.0) + 3.6 * np.arange(4)
        fingers[:, 0, 1] = fingers[:, 1, 1] + 8.0
        fingers[..., 0] *= side
        shapes.append(Shape(fingers, 0.55 * style.skin, 4.4))
        shapes.append(Shape(fingers, 0.97 * style.skin, 3.2))
    elif chance < 0.13:  # the edge of something in front
        slope, y = rng.uniform(-0.6, 0.6), side * rng.uniform(8.0, 22.0)
        bar = np.array((((-40.0, y - 40.0 * slope), (40.0, y + 40.0 * slope)),))
        if rng.random() < 0.5:
            bar = bar[..., ::-1]
        shapes.append(Shape(bar, rng.uniform(20, 230), rng.uniform(3.0, 6.0)))
    elif chance < 0.18 and style.hairline < 1.0:  # a lock of hair over an eye
        lock = np.empty((6, 3, 2))
        across = np.arange(6) * side
        lock[:, 0, 0], lock[:, 0, 1] = 1.2 * across - 2.0 * side, -18.0
        lock[:, 1, 0], lock[:, 1, 1] = 1.7 * across + 2.0 * side, -11.0
        lock[:, 2, 0], lock[:, 2, 1] = 1.9 * across + 5.0 * side, rng.uniform(-6.0, 0.0, 6)
        shapes.append(Shape(_THROUGH @ lock, style.hair, 1.3))
        shapes.append(Shape(_THROUGH @ lock[::2], 1.15 * style.hair + 8.0, 0.5))
    return shapes


def _background(rng: np.random.Generator) -> list[Shape]:
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
    unit = _SCALE * 2**_SHIFT
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
    """Draw shapes in order, in place, on uint8 of shape (144, 144), and take up their outlines."""
    for (_, tone, width), polygons in zip(shapes, outlines, strict=False):
        if width > 0.0:
            cv2.polylines(canvas, polygons, False, tone, max(1, round(width * _SCALE)), cv2.LINE_8, _SHIFT)
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
    units = _sample_units(expression, rng)
    who, style, pose = _sample_identity(rng), _sample_style(rng), _sample_pose(rng)

    skin = _background(rng) + _head(who, units, style) + _facial_hair(who, units, style)
    shadows = _soft_shadows(who, units)
    wrinkles = _wrinkles(who, units)
    features = _eyes(who, units, style) + _nose(who, units, style) + _mouth(who, units, style)
    features += _brows(who, units, style) + _hair(who, style, rng) + _worn(who, style, rng)
    outlines = _place(skin + shadows + wrinkles + features, who, pose)

    canvas: MatLike = np.full((_LARGE, _LARGE), rng.uniform(40, 210), dtype=np.uint8)
    _draw(canvas, skin, outlines)
    # The shade multiplies the canvas: it darkens below 128 and lightens above.
    shade = cv2.resize((88.0 + 80.0 * rng.random((6, 6))).astype(np.uint8), (_LARGE, _LARGE))
    _draw(shade, shadows, outlines)
    shade = cv2.blur(shade, (13, 13))
    _draw(shade, wrinkles, outlines)
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


def _labels(num_samples: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return labels in these proportions, shuffled so that every slice has these proportions too.

    Random draws would leave a small data set, or its test split, without the rare disgust.
    """
    shares = np.array([PROPORTIONS[name] for name in BASIC])
    # A few of each class come first; the rest is given out by largest remainder.
    counts = np.full(len(BASIC), min(MIN_PER_CLASS, num_samples // len(BASIC)))
    wanted = np.maximum(shares / shares.sum() * num_samples - counts, 0.0)
    wanted *= (num_samples - counts.sum()) / max(wanted.sum(), 1e-9)
    counts += np.floor(wanted).astype(np.int64)
    left = num_samples - counts.sum()
    counts[np.argsort(np.floor(wanted) - wanted, kind="stable")[:left]] += 1
    # Spread each class evenly over [0, 1), at a random place within each of its steps.
    position = np.concatenate([(np.arange(count) + rng.random(count)) / max(count, 1) for count in counts])
    labels = np.repeat(np.arange(len(BASIC), dtype=np.int64), counts)
    return np.asarray(labels[np.argsort(position, kind="stable")])


def generate(num_samples: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Draw faces, unbalanced as :data:`PROPORTIONS` says.

    Args:
        num_samples: How many; at least 7 to have every class.
        seed: The same seed gives the same bytes. A face depends on the seed, its index and its label alone.

    Returns:
        Images, uint8 of shape (num_samples, 48, 48), and labels, int64 of shape (num_samples,), indices into
        :data:`fer.data.labels.BASIC`. The order is shuffled, but every class is spread evenly, so that
        any slice is a fair split.
    """
    # The labels' stream is one that no face has.
    labels = _labels(num_samples, np.random.default_rng([seed, num_samples]))
    images = np.empty((num_samples, SIZE, SIZE), dtype=np.uint8)
    for index, label in enumerate(labels.tolist()):
        images[index] = draw_face(BASIC[label], np.random.default_rng([seed, index]))
    return images, labels
