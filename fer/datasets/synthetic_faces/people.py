"""Whose face it is: proportions, skin and hair, and how the head is held."""

from typing import NamedTuple

import numpy as np


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
_IDENTITY, _IDENTITY_SPREAD = np.array(IDENTITY), np.array(IDENTITY_SPREAD)


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


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw the proportions of a face."""
    factors = np.minimum(np.maximum(rng.standard_normal(len(_IDENTITY)), -2.0), 2.0)
    return Identity(*(_IDENTITY + factors * _IDENTITY_SPREAD).tolist())


def sample_style(rng: np.random.Generator) -> Style:
    """Draw skin, hair and what is worn."""
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


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw how the head is turned and where it is."""
    yaw, pitch, roll, scale, shift_x, shift_y = rng.standard_normal(6).tolist()
    return Pose(
        yaw=0.16 * yaw,
        pitch=0.09 * pitch,
        roll=0.10 * roll,
        scale=1.12 + 0.05 * scale,
        shift_x=0.9 * shift_x,
        shift_y=0.9 * shift_y,
    )
