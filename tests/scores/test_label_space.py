"""How a model's classes and a dataset's meet: by name, whatever their order."""

import numpy as np
import pytest

from fer.data.labels import BASIC, EMOTIONS, canonical
from fer.errors import ConfigError, LabelError
from fer.scores.label_space import align
from fer.scores.metrics import final_scores

SEVEN = BASIC
EIGHT = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")  # FER+'s order


def answers(classes: tuple[str, ...], truth: list[str], said: list[str]) -> np.ndarray:
    p = np.full((len(truth), len(classes)), 0.01, dtype=np.float32)
    for row, name in enumerate(said):
        p[row, classes.index(name)] = 1
    return p / p.sum(1, keepdims=True)


def test_order_never_matters() -> None:
    generator = np.random.default_rng(0)
    truth = generator.choice(EMOTIONS, 200).tolist()
    said = [name if generator.random() < 0.6 else str(generator.choice(SEVEN)) for name in truth]
    said = [name if name in SEVEN else "angry" for name in said]
    results = []
    for _ in range(6):
        model = tuple(generator.permutation(SEVEN).tolist())
        dataset = tuple(generator.permutation(EIGHT).tolist())
        space = align(model, dataset)
        labels = space.labels(np.array([dataset.index(name) for name in truth]))
        kept = labels >= 0
        p = space.probabilities(answers(model, truth, said))
        scores = final_scores(p[kept], labels[kept], space.classes, resamples=0)
        results.append((scores["n"], scores["accuracy"], scores["f1_macro"], scores["per_class"]["sad"]))
    assert results[0][0] == sum(name != "contempt" for name in truth)
    for other in results[1:]:
        assert other[:3] == pytest.approx(results[0][:3])
        assert other[3] == pytest.approx(results[0][3])


def test_seven_on_eight_drops_contempt() -> None:
    space = align(SEVEN, EIGHT)
    assert space.dropped == ("contempt",)
    assert space.absent == ()
    assert space.common == SEVEN
    assert space.labels(np.array([7, 0])).tolist() == [-1, SEVEN.index("neutral")]


def test_eight_on_seven_with_and_without_restriction() -> None:
    space = align(EIGHT, SEVEN)
    assert space.dropped == ()
    assert space.absent == ("contempt",)
    # The model prefers contempt, which the data lacks; among the common classes it is right.
    p = np.zeros((1, 8), dtype=np.float32)
    p[0, EIGHT.index("contempt")], p[0, EIGHT.index("sad")] = 0.6, 0.4
    labels = space.labels(np.array([SEVEN.index("sad")]))
    assert space.classes[space.probabilities(p).argmax()] == "contempt"
    restricted = space.restricted(space.probabilities(p))
    assert space.common[restricted.argmax()] == "sad"
    assert restricted.sum() == pytest.approx(1)
    assert space.classes[labels[0]] == "sad"


def test_three_on_seven() -> None:
    space = align(("neutral", "happy", "sad"), SEVEN)
    assert set(space.dropped) == {"angry", "disgust", "fear", "surprise"}
    assert space.common == ("neutral", "happy", "sad")


def test_merging_adds_probabilities_and_labels() -> None:
    space = align(EIGHT, SEVEN, {"contempt": "Disgust"})
    assert "contempt" not in space.classes
    p = np.zeros((1, 8), dtype=np.float32)
    p[0, EIGHT.index("contempt")], p[0, EIGHT.index("disgust")], p[0, EIGHT.index("sad")] = 0.3, 0.3, 0.4
    assert space.classes[space.probabilities(p).argmax()] == "disgust"
    assert [space.model[space.of_model(number)] for number in range(len(space.classes))] == list(space.classes)
    renamed = align(("fear", "anger"), ("scared", "anger"), {"fear": "scared"})
    assert [renamed.model[renamed.of_model(number)] for number in range(2)] == ["fear", "anger"]
    other = align(SEVEN, EIGHT, {"contempt": "disgust"})
    assert other.dropped == ()
    assert other.classes[other.labels(np.array([7]))[0]] == "disgust"


@pytest.mark.parametrize(
    ("merge", "said"),
    [
        ({"contempt": "angry"}, "neither the model nor the dataset has 'contempt'"),
        ({"sad": "angry", "angry": "fear"}, "'angry' is merged away itself"),
    ],
)
def test_wrong_merges(merge: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        align(SEVEN, SEVEN, merge)


def test_classes_of_ones_own_meet_by_name() -> None:
    space = align(("happy", "bored", "pain"), ("pain", "bored", "sadness"), {"Sadness": "PAIN"})
    assert space.common == ("bored", "pain")
    assert space.merged == {"sadness": "pain"}
    assert space.labels(np.array([0, 1, 2])).tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("word", "emotion"),
    [("Scared", "fear"), ("afraid", "fear"), ("joyful", "happy"), ("JOY", "happy"), ("mad", "angry"),
     ("Neutral_Face", "neutral"), ("disgusting", "disgust"), (" surprised ", "surprise")],
)  # fmt: skip
def test_other_words_for_emotions(word: str, emotion: str) -> None:
    assert canonical(word) == emotion


def test_a_class_that_is_no_emotion_is_not_taken_for_one() -> None:
    for word in ("bored", "scary", "tired", "calm"):
        with pytest.raises(LabelError, match=rf"unknown emotion '{word}'\. Known"):
            canonical(word)


def test_nothing_in_common() -> None:
    with pytest.raises(ConfigError, match="nothing to score"):
        align(("happy", "sad"), ("fear", "sad"))
