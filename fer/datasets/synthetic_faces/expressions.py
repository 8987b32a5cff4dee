"""Which facial actions make an expression, and how strongly: action units of the Facial Action Coding System (FACS)."""

from typing import NamedTuple

import numpy as np

from fer.data.labels import BASIC


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
_UNITS = ActionUnits._fields
_GAZE = ("eyes_turned", "eyes_down")
_UNIT_TABLE = np.array(
    [[EXPRESSIONS[name].get(unit, REST_GAZE if unit in _GAZE else REST) for unit in _UNITS] for name in BASIC]
)
_UNIT_LOW = np.array([-1.0 if unit in _GAZE else 0.0 for unit in _UNITS])


def sample_units(expression: str, rng: np.random.Generator) -> ActionUnits:
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
