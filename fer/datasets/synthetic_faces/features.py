"""Eyes, brows, nose, mouth and hair, and what is worn in front of a face."""

import numpy as np

from fer.datasets.synthetic_faces.expressions import ActionUnits
from fer.datasets.synthetic_faces.people import Identity, Style
from fer.datasets.synthetic_faces.shapes import (
    BUMP,
    CIRCLE,
    CUPID,
    LINE,
    ROUND,
    SIDES,
    THROUGH,
    Shape,
    T,
    arc,
    band,
    both,
    ellipses,
)  # fmt: skip
from fer.datasets.synthetic_faces.skin import mouth_corner

_IRIS_AND_PUPIL = np.array((1.95, 0.95))[:, None, None, None] * CIRCLE


def eyes(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Whites, irises and lids."""
    eye_x, eye_y, half, slant = who.eye_distance, who.eye_y, who.eye_width, who.eye_slant
    opening = who.eye_opening * (1.0 - units.eyes_closed)
    squint = 0.45 * units.lid_tightener + 0.40 * units.cheek_raiser + 0.25 * units.nose_wrinkler
    above = min(max(opening * (2.2 + 1.6 * units.upper_lid_raiser - 1.2 * squint), 0.15), 3.6)
    below = max(opening * (1.3 + 0.3 * units.upper_lid_raiser - 1.4 * squint), 0.05)
    x = eye_x + half * T
    upper = eye_y - slant * T - above * BUMP
    lower = eye_y - slant * T + below * BUMP

    # Outlines of both irises and both pupils. The lids cut them off: they are moved into the eye's opening.
    turned = 1.5 * units.eyes_turned
    ring_x = _IRIS_AND_PUPIL[..., 0] + ((turned,), (-turned,))
    ring_y = _IRIS_AND_PUPIL[..., 1] + (eye_y - 0.35 + 0.9 * units.eyes_down)
    t = np.minimum(np.maximum(ring_x / half, -1.0), 1.0)
    bump, base = 1.0 - t**2, eye_y - slant * t
    rings = np.empty((2, 2, len(CIRCLE), 2))
    rings[..., 0] = ring_x + eye_x
    rings[..., 1] = np.minimum(np.maximum(ring_y, base - above * bump), base + below * bump)
    rings *= SIDES

    lids = np.empty((3, 1, len(T), 2))
    lids[..., 0] = x
    lids[0, 0, :, 1] = upper - (0.8 - 0.4 * units.upper_lid_raiser + 0.4 * units.eyes_closed)
    lids[1, 0, :, 1] = lower
    lids[2, 0, :, 1] = upper
    lids = lids * SIDES
    return [
        Shape(both(band(x, upper, lower)), 0.35 * style.skin + 145.0),
        Shape(rings[0], style.iris),
        Shape(rings[1], 12.0),
        Shape(lids[:2, :, 1:-1].reshape(4, -1, 2), 0.60 * style.skin, 0.4),
        Shape(lids[2], 0.16 * style.skin, 0.85),
    ]


def brows(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
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
    line = arc(
        (who.eye_distance - 4.6 - 1.1 * lower, inner_y),
        (who.eye_distance + 0.2, middle_y),
        (who.eye_distance + 5.3, outer_y),
    )
    x, y = line[0, :, 0], line[0, :, 1]
    taper = who.brow_thickness * (1.0 - 0.65 * LINE**2)
    return [Shape(both(band(x, y - taper, y + taper)), min(0.85 * style.hair, 0.72 * style.skin))]


def nose(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Nostrils, wings and tip; a wrinkled nose is shorter and wider."""
    y = who.nose_y - 1.4 * units.nose_wrinkler - 0.4 * units.upper_lip_raiser
    width = who.nose_width * (1.0 + 0.15 * units.nose_wrinkler + 0.12 * units.lip_corner_puller)
    edge = 0.62 * style.skin
    return [
        Shape(both(ellipses((0.5 * width, y + 1.0, 0.36 * width, 0.55))[0]), 0.33 * style.skin),
        Shape(both(arc((0.85 * width, y - 1.6), (1.1 * width, y), (0.75 * width, y + 1.2))), edge, 0.6),
        Shape(arc((-0.3 * width, y + 1.5), (0.0, y + 1.9), (0.3 * width, y + 1.5)), edge, 0.5),
    ]


def mouth(who: Identity, units: ActionUnits, style: Style) -> list[Shape]:
    """Lips, and between parted lips the dark of the mouth, teeth and tongue."""
    half, corner_y = mouth_corner(who, units)
    smile, sneer = units.lip_corner_puller, units.upper_lip_raiser
    press = max(units.lip_tightener, units.lip_pressor)
    gap = 3.2 * units.lips_part * (1.0 - 0.3 * press) + 5.5 * units.jaw_drop + 5.0 * units.mouth_stretch
    center = who.mouth_y + 0.4 * smile - 0.9 * units.chin_raiser - 0.3 * units.lip_corner_depressor
    upper_y = center - 0.25 * gap - 2.4 * sneer
    lower_y = center + 0.75 * gap
    if gap < 1.0:  # The lower lip follows the upper one as long as they touch.
        lower_y -= 1.6 * sneer
    # An opened jaw rounds the mouth, a raised or stretched upper lip squares it.
    bump = BUMP ** (1.0 - 0.45 * min(1.0, max(0.18 * gap, sneer, 0.8 * units.lip_stretcher)))
    x = half * T
    upper = corner_y + (upper_y - corner_y) * bump
    lower = np.maximum(upper, corner_y + (lower_y - corner_y) * bump)

    thickness = who.lip_thickness * (1.0 - 0.7 * press) * (1.0 - 0.25 * smile)
    upper_lip = upper - 0.95 * thickness * CUPID
    lower_lip = lower + (1.25 + 0.3 * units.chin_raiser) * thickness * ROUND
    shapes = [
        Shape(band(x, upper_lip, upper), 0.60 * style.skin),
        Shape(band(x, lower, lower_lip), 0.72 * style.skin),
    ]
    if gap > 0.5:
        shapes.append(Shape(band(x, upper, lower), 0.16 * style.skin))
        bared = min(1.0, 0.25 + smile + sneer + 0.6 * units.lip_stretcher + 0.8 * press)
        below = 1.6 * min(1.0, 0.8 * units.lip_stretcher + 0.7 * sneer + 0.9 * press)
        teeth = 0.25 * style.skin + 165.0
        x, upper, lower, bump = x[1:-1], upper[1:-1], lower[1:-1], bump[1:-1]
        edge = np.minimum(upper + (0.3 + 2.3 * bared) * bump, lower)
        shapes.append(Shape(band(x, upper, edge), teeth))
        if below > 0.5:
            edge = np.maximum(lower - below * bump, np.minimum(edge + 0.35, lower))
            shapes.append(Shape(band(x, edge, lower), 0.9 * teeth))
        elif gap > 3.5:
            (tongue,) = ellipses((0.0, lower_y - 0.16 * gap, 0.5 * half, 0.14 * gap))
            shapes.append(Shape(tongue, 0.42 * style.skin))
    else:
        shapes.append(Shape(band(x, upper, lower), 0.28 * style.skin, 0.5))
    shapes.append(Shape(both(ellipses((half, corner_y, 0.6, 0.5))[0]), 0.35 * style.skin))
    return shapes


def hair(who: Identity, style: Style, rng: np.random.Generator) -> list[Shape]:
    """Hair around the forehead, with strands that are lighter or darker."""
    if style.hairline >= 1.0:
        return []
    width, tall = who.face_width + 1.6, who.face_top + 2.0
    line = -who.face_top * style.hairline + 1.5 - 2.5 * np.maximum(1.0 - np.abs(T - style.parting), 0.0)
    line += 0.5 * rng.standard_normal(len(T))
    line += (17.0 if style.long_hair else 12.0) * np.abs(T) ** 4
    top = -tall * ROUND - 2.0
    shapes = [Shape(band(width * T, top, np.maximum(line, top + 0.2)), style.hair)]
    if style.long_hair:
        side = np.array(((width, -7.0), (who.face_width + 1.0, 6.0), (who.face_width - 1.0, 26.0)))
        inner = THROUGH @ (side - (2.2, 0.0))
        outer = THROUGH @ (side + np.array(((0.0, 0.0), (3.5, 0.0), (6.0, 0.0))))
        shapes.append(Shape(both(np.concatenate((inner, outer[::-1]))[None]), style.hair))
    # Strands fall from the parting along the skull.
    reach = rng.uniform(-1.0, 1.0, 10)
    ends = np.empty((10, 3, 2))
    ends[:, 0] = 0.4 * width * style.parting, -tall
    ends[:, 2, 0] = 0.95 * width * reach
    ends[:, 2, 1] = -who.face_top * style.hairline - 1.5 + 9.0 * reach**4
    ends[:, 1, 0] = 0.5 * ends[:, 0, 0] + 0.6 * ends[:, 2, 0]
    ends[:, 1, 1] = 0.5 * (ends[:, 0, 1] + ends[:, 2, 1]) - 1.5
    strands = THROUGH @ ends
    shapes += [
        Shape(strands[:5], 0.65 * style.hair, 0.6),
        Shape(strands[5:], 1.15 * style.hair + 18.0, 0.6),
    ]
    return shapes


def worn(who: Identity, style: Style, rng: np.random.Generator) -> list[Shape]:
    """Glasses, and sometimes something that hides a part of the face."""
    eye_x, eye_y, edge = who.eye_distance, who.eye_y, who.face_width
    side = -1.0 if rng.random() < 0.5 else 1.0
    shapes = []
    chance = rng.random()
    if chance < 0.02:  # sunglasses
        shapes.append(Shape(both(ellipses((eye_x, eye_y + 0.6, 5.6, 4.2))[0]), rng.uniform(10, 50)))
        shapes.append(Shape(arc((-eye_x, eye_y - 1.0), (0.0, eye_y - 1.2), (eye_x, eye_y - 1.0)), 20.0, 0.9))
    elif style.glasses:
        tone = rng.uniform(15, 90)
        (rim,) = ellipses((eye_x, eye_y + 0.5, 5.3, 4.0))
        shapes.append(Shape(both(np.concatenate((rim, rim[:, :1]), axis=1)), tone, 0.5))
        arm = arc((eye_x + 5.3, eye_y), (edge - 1.0, eye_y - 0.3), (edge + 0.5, eye_y - 1.0))
        shapes.append(Shape(both(arm), tone, 0.6))
        shapes.append(Shape(arc((5.2 - eye_x, eye_y), (0.0, eye_y - 0.8), (eye_x - 5.2, eye_y)), tone, 0.6))
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
        shapes.append(Shape(THROUGH @ lock, style.hair, 1.3))
        shapes.append(Shape(THROUGH @ lock[::2], 1.15 * style.hair + 8.0, 0.5))
    return shapes
