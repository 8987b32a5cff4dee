"""A face is cut out where it stands, as large and as turned as the framing says."""

import cv2
import numpy as np
import pytest

from fer.errors import ConfigError
from fer.framing.crop import crop, placement, similarity
from fer.framing.face import Face
from fer.framing.framing import Framing

TEMPLATE = np.array(((0.3, 0.38), (0.7, 0.38), (0.5, 0.6), (0.36, 0.76), (0.64, 0.76)), np.float32)


def framing(roll_spread=6.0, points=TEMPLATE):
    return Framing(
        tuple(map(tuple, points.tolist())), 0.4, 0.03, 0.38, 0.02, 0.0, roll_spread, 0.97, 500, "accurate"
    )  # fmt: skip


def face(turn=0.0, scale=100.0, shift=(40, 30)):
    angle = np.radians(turn)
    matrix = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
    points = (TEMPLATE * scale) @ matrix.T + shift
    return Face((40, 30, 140, 130), points.astype(np.float32), 0.9)


def seen(face, place):
    return np.c_[face.landmarks, np.ones(5)] @ place.T


def test_landmarks_come_to_stand_where_the_framing_says():
    assert np.allclose(seen(face(), placement(face(), framing())), TEMPLATE, atol=1e-5)
    assert np.allclose(seen(face(20), placement(face(20), framing(roll_spread=1.0))), TEMPLATE, atol=1e-5)


def test_a_face_is_not_turned_where_training_images_were_not():
    at = seen(face(20), placement(face(20), framing()))
    assert np.degrees(np.arctan2(*(at[1] - at[0])[::-1])) == pytest.approx(20, abs=0.01)
    assert np.hypot(*(at[1] - at[0])) == pytest.approx(0.4, abs=1e-4)  # and as large all the same
    assert np.allclose(at.mean(0), TEMPLATE.mean(0), atol=1e-5)


def test_without_framing_or_landmarks_the_crop_is_the_box_and_a_margin():
    for one, how in ((face(), None), (Face((40, 30, 140, 130), None, 0.9), framing())):
        place = placement(one, how, margin=1.5)
        corners = np.array(((40, 30, 1), (140, 130, 1))) @ place.T
        assert np.allclose(corners, ((1 / 6, 1 / 6), (5 / 6, 5 / 6)))


@pytest.mark.parametrize("enlarged", [1, 5])
def test_pixels_come_from_where_they_should_at_any_size(enlarged):
    picture = np.zeros((200, 240, 3), np.uint8)
    for number, (x, y) in enumerate(face().landmarks[:3]):
        cv2.circle(picture, (round(float(x)), round(float(y))), 5, [255 * (number == n) for n in range(3)], -1)
    picture = np.repeat(np.repeat(picture, enlarged, 0), enlarged, 1)
    large = Face(tuple(enlarged * v for v in face().box), enlarged * face().landmarks, 0.9)
    done = crop(picture, large, 60, framing())
    assert (done.dtype, done.shape) == (np.uint8, (60, 60, 3))
    for number in range(3):
        y, x = np.argwhere(done[..., number] > 128).mean(0) + 0.5
        assert np.allclose((x, y), 60 * TEMPLATE[number], atol=0.6)


def test_a_crop_that_reaches_beyond_the_picture_repeats_its_edge():
    picture = np.full((50, 50, 3), 120, np.uint8)
    outside = Face((-30, -30, 20, 20), None, 0.9)
    assert (crop(picture, outside, 32) == 120).all()
    assert crop(picture[..., 0], Face((400, 400, 900, 900), None, 0.9), 16).shape == (16, 16)
    assert crop(picture, Face((5, 5, 5, 5), None, 0.9), 16).shape == (16, 16, 3)  # a box of no size


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5, 2)).astype(np.float32)
    turned = points @ np.array(((0.6, 0.8), (-0.8, 0.6)), np.float32) * 3 + (1, 2)
    assert np.allclose(np.c_[points, np.ones(5)] @ similarity(points, turned).T, turned, atol=1e-5)


def test_a_framing_survives_as_plain_data_and_nonsense_is_refused():
    values = framing().as_dict()
    assert Framing.from_dict(values) == framing()
    bad = ({"landmarks": [[0, 0]] * 5}, {"eye_distance": float("nan")}, {"images": "many"}, {"landmarks": [[1, 2]]})
    for change in ({"landmarks": None}, {"found": {}}, {"eye_distance": 1e400}, *bad):
        with pytest.raises(ConfigError, match="framing"):
            Framing.from_dict({**values, **change})
    with pytest.raises(ConfigError, match="framing"):
        Framing.from_dict({})
