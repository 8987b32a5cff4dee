import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import f1_score

from fer.data.labels import BASIC
from fer.datasets.synthetic_faces import PROPORTIONS, generate
from fer.datasets.synthetic_faces.drawing import draw_face
from fer.datasets.synthetic_faces.expressions import EXPRESSIONS, ActionUnits
from fer.datasets.synthetic_faces.shapes import SIZE


@pytest.fixture(scope="module")
def faces():
    return generate(1000, seed=0)


def _standardise(images):
    return (images - images.mean(axis=(1, 2), keepdims=True)) / images.std(axis=(1, 2), keepdims=True)


def _draw_many(expression, count):
    rngs = (np.random.default_rng([1, index]) for index in range(count))
    return _standardise(np.stack([draw_face(expression, rng) for rng in rngs]))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    images, labels = generate(20, seed=3)
    again, labels_again = generate(20, seed=3)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(images, generate(20, seed=4)[0])


def test_a_face_depends_on_its_own_generator_only():
    expected = draw_face("fear", np.random.default_rng(5))
    np.random.seed(1)
    draw_face("happy", np.random.default_rng(6))
    np.testing.assert_array_equal(draw_face("fear", np.random.default_rng(5)), expected)


def test_a_sample_does_not_change_when_the_set_grows():
    few, few_labels = generate(30, seed=2)
    many, many_labels = generate(60, seed=2)
    same_label = few_labels == many_labels[:30]
    assert same_label.any()
    np.testing.assert_array_equal(few[same_label], many[:30][same_label])


def test_shapes_and_types(faces):
    images, labels = faces
    assert images.shape == (1000, SIZE, SIZE)
    assert images.dtype == np.uint8
    assert labels.shape == (1000,)
    assert labels.dtype == np.int64


def test_no_samples_are_no_error():
    images, labels = generate(0, seed=0)
    assert images.shape == (0, SIZE, SIZE)
    assert labels.shape == (0,)


def test_faces_differ_and_are_not_blank(faces):
    images, _ = faces
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)
    assert images.std(axis=(1, 2)).min() > 4


def test_classes_have_their_proportions(faces):
    _, labels = faces
    expected = np.array([PROPORTIONS[name] for name in BASIC]) * 1000
    assert np.abs(np.bincount(labels, minlength=len(BASIC)) - expected).max() <= 1


def test_the_default_set_has_20_of_each_class_in_each_split(tmp_path, monkeypatch):
    from fer.datasets import synthetic

    labels = synthetic.generate.__globals__["_labels"](4000, np.random.default_rng([0, 4000]))
    monkeypatch.setattr(synthetic, "generate", lambda *_: (np.zeros((4000, 2, 2), np.uint8), labels))
    samples = synthetic.Synthetic(cache_dir=tmp_path).read()
    for split in ("val", "test"):
        assert np.bincount(samples.labels[samples.splits == split], minlength=len(BASIC)).min() >= 20


@pytest.mark.parametrize(("num_samples", "at_least"), [(7, 1), (21, 3), (50, 3), (100, 3)])
def test_a_small_set_has_every_class(num_samples, at_least):
    _, labels = generate(num_samples, seed=0)
    assert np.bincount(labels, minlength=len(BASIC)).min() >= at_least


def test_every_slice_is_a_fair_split(faces):
    _, labels = faces
    assert not np.array_equal(labels, np.sort(labels))
    for part in np.split(labels, 4):
        expected = np.bincount(labels, minlength=len(BASIC)) / 4
        assert np.abs(np.bincount(part, minlength=len(BASIC)) - expected).max() <= 2


def test_the_table_names_known_expressions_and_action_units():
    assert tuple(EXPRESSIONS) == tuple(PROPORTIONS) == BASIC
    for units in EXPRESSIONS.values():
        assert set(units) <= set(ActionUnits._fields)


@pytest.mark.parametrize(("one", "other"), [("happy", "sad"), ("fear", "surprise"), ("happy", "surprise")])
def test_the_expression_changes_the_face(one, other):
    first, second = _draw_many(one, 150), _draw_many(other, 150)
    between = np.abs(first.mean(axis=0) - second.mean(axis=0)).max()
    within = np.abs(first[::2].mean(axis=0) - first[1::2].mean(axis=0)).max()
    assert between > 1.5 * within


def test_expressions_can_be_learnt_but_not_perfectly(faces):
    images, labels = faces
    # A quarter of the resolution is enough for a linear model.
    small = _standardise(images.reshape(-1, 12, 4, 12, 4).mean(axis=(2, 4))).reshape(len(images), -1)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(small[:750], labels[:750])
    predicted = model.predict(small[750:])
    assert 1.5 * PROPORTIONS["happy"] < np.mean(predicted == labels[750:]) < 0.95
    assert 2 / len(BASIC) < f1_score(labels[750:], predicted, average="macro") < 0.95
