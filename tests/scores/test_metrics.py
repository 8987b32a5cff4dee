"""Every score against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.classification import MulticlassConfusionMatrix

from fer.scores.metrics import Probabilities, epoch_scores, final_scores

CLASSES = ("angry", "disgust", "happy", "sad")


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.choice(4, 500, p=[0.3, 0.05, 0.4, 0.25])
    logits = generator.normal(size=(500, 4)) + 2 * np.eye(4)[labels]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, p.astype(np.float32)


def test_epoch_metrics(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, p = answers
    metric = MulticlassConfusionMatrix(len(CLASSES))
    for part in np.array_split(np.arange(500), 7):
        metric.update(torch.from_numpy(p[part].argmax(1)), torch.from_numpy(labels[part]))
    found, confusion = epoch_scores(metric, CLASSES, "val/")
    predicted = p.argmax(1)
    assert float(found["val/accuracy"]) == pytest.approx(sk.accuracy_score(labels, predicted))
    assert float(found["val/balanced_accuracy"]) == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert float(found["val/f1_macro"]) == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    for name, value in zip(CLASSES, sk.f1_score(labels, predicted, average=None), strict=True):
        assert float(found[f"val/f1/{name}"]) == pytest.approx(value)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(labels, predicted))


def test_final_scores(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, p = answers
    found = final_scores(p, labels, CLASSES)
    expected = sk.classification_report(labels, p.argmax(1), target_names=CLASSES, output_dict=True)
    assert found["accuracy"] == pytest.approx(expected["accuracy"])
    assert found["f1_macro"] == pytest.approx(expected["macro avg"]["f1-score"])
    assert found["f1_weighted"] == pytest.approx(expected["weighted avg"]["f1-score"])
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, p.argmax(1)))
    assert found["precision_macro"] == pytest.approx(expected["macro avg"]["precision"])
    np.testing.assert_array_equal(found["confusion"], sk.confusion_matrix(labels, p.argmax(1)))
    for name in CLASSES:
        ours, theirs = found["per_class"][name], expected[name]
        assert ours["precision"] == pytest.approx(theirs["precision"])
        assert ours["recall"] == pytest.approx(theirs["recall"])
        assert ours["f1"] == pytest.approx(theirs["f1-score"])
        assert ours["support"] == theirs["support"]


def test_metrics_start_afresh_each_epoch() -> None:
    metric = MulticlassConfusionMatrix(4)
    metric.update(torch.tensor([0, 0]), torch.tensor([1, 1]))
    assert float(epoch_scores(metric, CLASSES, "val/")[0]["val/accuracy"]) == 0
    metric.update(torch.tensor([1, 1]), torch.tensor([1, 1]))
    assert float(epoch_scores(metric, CLASSES, "val/")[0]["val/accuracy"]) == 1


def test_probabilities_of_merged_classes_are_no_logits(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = answers
    plain = Probabilities(probabilities, labels).ece()
    probabilities = np.vstack([probabilities, np.eye(probabilities.shape[1], dtype=np.float32)[:1] * 1.0000001])
    assert Probabilities(probabilities, np.append(labels, 0)).ece() == pytest.approx(plain, abs=0.01)


def test_calibration_error_has_fifteen_bins() -> None:
    """Answers that are certain stand in the last one, with those of 0.95."""
    p = np.array([[1.0, 0.0]] * 50 + [[0.95, 0.05]] * 50, dtype=np.float32)
    labels = np.array([1] * 10 + [0] * 40 + [0] * 50)
    assert Probabilities(p, labels).ece() == pytest.approx(0.075, abs=1e-5)


def test_the_interval_of_a_rare_class_is_of_the_resamples_that_hold_it() -> None:
    labels = np.array([0] * 50 + [1, 1])
    found = final_scores(np.eye(2, dtype=np.float32)[labels], labels, ("happy", "fear"))
    assert found["per_class"]["fear"]["recall_95"] == [1.0, 1.0]
    none = final_scores(np.eye(3, dtype=np.float32)[labels], labels, ("happy", "fear", "sad"))
    assert none["per_class"]["sad"]["recall_95"] == [0.0, 0.0]
