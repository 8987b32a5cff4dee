"""The head with its beard, and the shadows and wrinkles of its skin."""

import numpy as np

from fer.datasets.synthetic_faces.expressions import ActionUnits
from fer.datasets.synthetic_faces.people import Identity, Style
from fer.datasets.synthetic_faces.shapes import (
    ABOVE,
    BELOW,
    BUMP,
    CIRCLE,
    ROUND,
    SIDES,
    Point,
    Shape,
    T,
    arc,
    band,
    both,
    ellipses,
)  # fmt: skip

_ROWS = np.array([[[0.0, 0.0]], [[0.0, 1.0]], [[0.0, 2.0]]])  # up to three lines above each other


def chin(who: Identity, units: ActionUnits) -> float:
    """Return the y of the chin."""
    return who.face_bottom + 1.5 * units.jaw_drop + 2.0 * units.mouth_stretch


def mouth_corner(who: Identity, units: ActionUnits) -> Point:
    """Return x and y of the right corner of the mouth."""
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


def head(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Long hair, shoulders, neck, ears and the bare head."""
    width, skin = who.face_width, style.skin
    shapes = []
    if style.long_hair:
        shapes.append(Shape(band((width + 4.5) * T, -4.0 - 24.0 * ROUND, 20.0 + 30.0 * ROUND), 0.8 * style.hair))
    shapes.append(Shape(band(30.0 * T, 33.0 - 8.0 * ROUND, 50.0 + T), 255.0 - skin))
    shapes.append(Shape(band(0.6 * width * T, 8.0 + T, 30.0 + 2.0 * BUMP), 0.66 * skin))
    if not style.long_hair:
        outer, inner = ellipses((width + 0.4, -0.5, 2.2, 4.6), (width + 0.9, -0.5, 1.0, 3.0))
        shapes += [Shape(both(outer), 0.82 * skin), Shape(both(inner), 0.62 * skin)]
    head = np.empty((1, len(CIRCLE), 2))
    head[0, :, 0] = width * CIRCLE[:, 0] * (1.0 - who.jaw_taper * BELOW**2)
    head[0, :, 1] = who.face_top * ABOVE + chin(who, units) * BELOW
    shapes.append(Shape(head, skin))
    return shapes


def facial_hair(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Beard and moustache, more or less dense."""
    if style.beard == 0.0:
        return []
    corner_x, corner_y = mouth_corner(who, units)
    top = who.mouth_y + 1.0 - 9.0 * T**4
    bottom = np.maximum(chin(who, units) * ROUND * (1.0 - 0.12 * T**2), top)
    beard = Shape(
        band(0.97 * who.face_width * T, top, bottom),
        style.skin + 0.8 * style.beard * (style.hair - style.skin),
    )
    top = who.nose_y + 2.6 + (corner_y - who.nose_y - 3.2) * T**2
    moustache = Shape(
        band((corner_x + 0.6) * T, top, top + 0.4 + 2.4 * BUMP),
        style.skin + 0.8 * style.moustache * (style.hair - style.skin),
    )
    return [beard, moustache]


def soft_shadows(who: Identity, units: ActionUnits) -> list[Shape]:
    """The large shadows and lights of the skin."""
    eye_x, eye_y, nose_y = who.eye_distance, who.eye_y, who.nose_y
    opened = 3.0 * units.jaw_drop + 3.0 * units.mouth_stretch
    face, socket, cheek, under_nose, under_lip = ellipses(
        (0.0, 0.0, who.face_width, who.face_top),
        (0.93 * eye_x, eye_y - 1.0, 4.8, 3.2),
        (1.08 * eye_x, nose_y + 0.5 - 1.5 * units.cheek_raiser, 4.0, 3.0),
        (0.0, nose_y + 2.2, who.nose_width, 1.0),
        (0.0, who.mouth_y + 4.5 + opened, 3.6, 1.0),
    )
    return [
        Shape(face, 128.0),  # no clutter on the face
        Shape(both(socket), 100.0),
        Shape(both(cheek), 140.0 + 10.0 * units.cheek_raiser),
        Shape(both(arc((2.2, eye_y - 1.0), (1.9, eye_y + 4.0), (3.0, nose_y))), 108.0, 1.4),
        Shape(arc((0.0, eye_y - 1.0), (0.0, 0.0), (0.0, nose_y - 1.0)), 150.0, 1.6),
        Shape(under_nose, 92.0),
        Shape(under_lip, 98.0),
    ]


def wrinkles(who: Identity, units: ActionUnits) -> list[Shape]:
    """The lines of the skin, deeper with age and with the muscle that folds it."""
    age = max(who.age, 0.0)
    eye_x, eye_y, nose_y = who.eye_distance, who.eye_y, who.nose_y
    corner_x, corner_y = mouth_corner(who, units)
    smile, sneer, squint = (
        units.lip_corner_puller,
        units.nose_wrinkler,
        max(units.cheek_raiser, units.lid_tightener),
    )
    shapes: list[Shape] = []

    def fold(depth: float, width: float, line: tuple[Point, Point, Point], rows: int = 1, step: float = 0.0) -> None:
        """Add a line of the right half and its mirror image, and further rows of it above or below."""
        if depth > 0.1:
            lines = arc(*line) + step * _ROWS[:rows]
            lines = (lines[:, None] * SIDES).reshape(2 * rows, -1, 2)
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
    y = chin(who, units) - 4.2
    fold(0.7 * units.chin_raiser, 0.9, ((0.0, y - 0.6), (1.4, y - 0.2), (2.6, y + 0.8)))
    return shapes
