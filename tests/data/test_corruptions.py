"""Images made worse: the same for a sample wherever it stands, the worse the stronger, never of another shape."""

import numpy as np
import numpy.typing as npt
import pytest

from fer.config.option_rules import rule
from fer.data.corruptions import KINDS, LEVELS, STRENGTHS, Corruption
from fer.datasets.synthetic_faces import generate

FACES = generate(12, 0)[0]
IDS = [f"train/{number}.png" for number in range(len(FACES))]


def distance(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_each_strength_changes_more_than_the_one_before(kind: str) -> None:
    changes = [distance(Corruption(kind, strength)(FACES, IDS), FACES) for strength in STRENGTHS]
    assert changes[0] > 0.3
    assert changes == sorted(changes)
    assert changes[-1] > 1.5 * changes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_happens_to_an_image_depends_on_its_id_alone(kind: str) -> None:
    together = Corruption(kind, 3)(FACES, IDS)
    order = np.random.default_rng(0).permutation(len(FACES))
    alone = [Corruption(kind, 3)(FACES[[row]], [IDS[row]])[0] for row in order]
    assert np.array_equal(np.stack(alone), together[order])


@pytest.mark.parametrize("kind", ["noise", "occlusion", "rotation", "zoom"])
def test_images_differ_in_what_is_drawn_at_random(kind: str) -> None:
    same = np.repeat(FACES[:1], 12, 0)
    assert len({image.tobytes() for image in Corruption(kind, 5)(same, IDS)}) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(48, 48, 3), (96, 60), (16, 16)])
def test_every_shape_is_kept(kind: str, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    done = Corruption(kind, 5)(images, ["a", "b"])
    assert done.shape == images.shape
    assert done.dtype == np.uint8
    assert not np.array_equal(done, images)


def test_the_faces_given_are_left_as_they_are() -> None:
    before = FACES.copy()
    for kind in KINDS:
        Corruption(kind, 5)(FACES, IDS)
    assert np.array_equal(FACES, before)


def test_the_option_names_every_kind() -> None:
    assert rule("corruptions").items == KINDS
    assert {len(levels) for levels in LEVELS.values()} == {len(STRENGTHS)}
