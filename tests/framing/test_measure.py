"""The framing that is measured is the one that the images have."""

import cv2
import numpy as np
import pytest

from fer.datasets.synthetic_faces import generate
from fer.framing import centerface, measure
from fer.framing.crop import crop

ALL = np.arange(24)
FEW = ALL[:8]


@pytest.fixture(autouse=True, params=["fast", "accurate"] if centerface.installed() else ["fast"])
def detector(request, monkeypatch):
    monkeypatch.setattr(measure, "installed", lambda: request.param == "accurate")
    return request.param


@pytest.fixture(scope="module")
def drawn():
    return generate(24, 0)[0]


def test_faces_of_48_pixels_are_found_and_measured(drawn):
    found = measure.framing(drawn, ALL)
    assert found.found > 0.9
    assert found.images == 24
    assert found.eye_distance == pytest.approx(0.38, abs=0.05)  # twice the eyes' mean distance from the middle, drawn
    assert found.eye_height == pytest.approx(0.40, abs=0.05)


@pytest.mark.parametrize("share", [0.6, 0.8])
def test_smaller_faces_have_a_smaller_framing(drawn, share):
    before, large = measure.framing(drawn, ALL), np.full((24, 120, 120, 3), 110, np.uint8)
    side = round(120 * share)
    for image, face in zip(large, drawn, strict=True):
        image[:side, 120 - side :] = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)[..., None]
    after = measure.framing(large, ALL)
    assert after.eye_distance == pytest.approx(share * before.eye_distance, rel=0.08)
    expected = share * before.points + (1 - share, 0)
    assert np.allclose(after.points, expected, atol=0.03)


def test_images_cut_to_a_framing_have_it(drawn):
    wanted = measure.framing(drawn, ALL)
    shifted = np.stack([cv2.resize(np.roll(image, 3, 1)[6:, 6:], (48, 48)) for image in drawn])
    before = measure.framing(shifted, ALL)
    again = np.stack([
        image if face is None else crop(image, face.scaled(48), 48, wanted)
        for image, face in zip(shifted, measure.faces(shifted, ALL), strict=True)
    ])  # fmt: skip
    after = measure.framing(again, ALL)
    off = [np.abs(one.points - wanted.points).mean() for one in (before, after)]
    assert off[1] < 0.4 * off[0]
    assert abs(after.eye_height - wanted.eye_height) < 0.02 < abs(before.eye_height - wanted.eye_height)


def test_faces_whose_eyes_were_levelled_are_aligned(drawn, detector):
    if detector == "fast":  # whose landmarks cannot say
        assert not measure.framing(drawn, ALL).aligned
        return
    assert not measure.framing(drawn, ALL).aligned  # they are drawn turned by some degrees
    turns = [face and cv2.getRotationMatrix2D((23.5, 23.5), face.roll, 1) for face in measure.faces(drawn, ALL)]
    level = [
        image if turn is None else cv2.warpAffine(image, turn, (48, 48), borderMode=cv2.BORDER_REPLICATE)
        for image, turn in zip(drawn, turns, strict=True)
    ]
    assert measure.framing(np.stack(level), ALL).aligned


def test_images_without_faces_have_no_framing(drawn):
    noise = np.random.default_rng(0).integers(0, 255, (24, 48, 48), dtype=np.uint8)
    assert measure.framing(noise, ALL) is None
    assert measure.framing(drawn, ALL[:0]) is None


def test_at_most_so_many_images_are_looked_at(drawn):
    assert measure.framing(drawn, ALL, at_most=10).images == 10


def test_what_was_measured_is_kept_for_the_very_same_images(drawn, tmp_path, monkeypatch, caplog):
    wanted = measure.framing(drawn, FEW)
    measured = []
    whole = measure.framing
    monkeypatch.setattr(measure, "framing", lambda *args: measured.append(args) or whole(*args))

    def told(images=drawn, rows=FEW, **options):
        return measure.told(images, rows, cache_dir=tmp_path, **options)

    assert told() == told() == told(drawn[::-1], 23 - FEW) == wanted
    assert len(measured) == 1
    changed = drawn.copy()
    changed[FEW[-1], 0, 0] ^= 1
    told(changed)
    told(rows=FEW[1:])
    told(fit="crop")
    assert len(measured) == 4
    monkeypatch.setattr(measure.importlib.metadata, "version", lambda name: "another")
    told()
    assert len(measured) == 5
    black = np.zeros_like(drawn)
    assert told(black) is told(black) is None
    assert len(measured) == 6


@pytest.mark.parametrize("text", ["", '{"eye_distance": ', "[]", '{"landmarks": 1}'])
def test_a_damaged_file_is_measured_again(drawn, tmp_path, text):
    wanted = measure.told(drawn, FEW, cache_dir=tmp_path)
    (kept,) = (tmp_path / "framing").iterdir()
    whole = kept.read_text()
    kept.write_text(text)
    assert measure.told(drawn, FEW, cache_dir=tmp_path) == wanted
    assert kept.read_text() == whole


def test_a_cache_that_cannot_be_written_does_not_matter(drawn, tmp_path):
    (tmp_path / "file").write_text("")
    assert measure.told(drawn, FEW, cache_dir=tmp_path / "file") == measure.framing(drawn, FEW)
