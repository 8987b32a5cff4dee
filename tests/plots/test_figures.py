"""What the figures show, read from their own objects; how they look is for a person to see."""

from dataclasses import replace

import numpy as np
from matplotlib.colors import to_rgb

from fer.data.samples import Samples
from fer.plots import figures
from fer.plots.importance import make_axis, parallel_coordinates_figure
from fer.testing import mistakes


def test_a_confusion_matrix_has_counts_of_rows_dots_for_zeros_and_legible_text() -> None:
    figure = figures.confusion_figure(np.array([[90, 10], [0, 0]]), ["a\x1b[31m", "b"], "run\nsynthetic test")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a\\x1b[31m\nn = 100", "b\nn = 0"]
    assert [text.get_text() for text in axes.texts] == ["90 %\n90", "10 %\n10", "•", "•"]
    assert [text.get_color() for text in axes.texts[:2]] == ["white", "black"]
    assert figure.get_suptitle() == "run\nsynthetic test"


def test_curves_say_what_training_scores_include() -> None:
    history = {"epoch": [1, 2], "train/loss": [2, 1], "val/loss": [2, 1], "val/accuracy": [0.1, 0.2]}
    figure = figures.curves_figure(history, "val/loss", 2, title="synthetic/1")
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "train (while training, with augmentation and dropout, if any)" in said
    assert figure.get_suptitle() == "synthetic/1"


def test_bins_of_few_samples_are_not_drawn_and_the_others_have_intervals() -> None:
    sure, unsure = [[0.95, 0.05]] * 8, [[0.55, 0.45]] * 4
    labels = np.array([0] * 7 + [1] + [0] * 4)
    figure = figures.reliability_figure(np.array(sure + unsure, np.float32), labels, 0.1, 10)
    upper, lower = figure.axes
    (drawn,) = [line for line in upper.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(drawn.get_xydata(), [[0.95, 7 / 8]], rtol=1e-5)
    assert [bar.get_height() for bar in lower.patches] == [0, 0, 0, 0, 0, 4, 0, 0, 0, 8]
    assert "fewer than 5" in lower.get_title(loc="left")
    low, high = figures.wilson(np.array([7 / 8]), np.array([8]))
    np.testing.assert_allclose([low[0], high[0]], [0.529, 0.978], atol=1e-3)  # as R's prop.test(correct=FALSE)


def test_no_line_joins_bins_across_one_that_is_not_drawn() -> None:
    sure = [[0.95, 0.05]] * 8 + [[0.75, 0.25]] * 2 + [[0.55, 0.45]] * 8
    figure = figures.reliability_figure(np.array(sure, np.float32), np.zeros(18, int), 0.1, 10)
    (line,) = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 10]
    assert np.isfinite(line.get_ydata()).tolist() == [False] * 5 + [True, False, False, False, True]
    (drawn,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert drawn.get_linestyle() == "None"


def test_labels_of_a_scale_do_not_cover_one_another() -> None:
    axes = [make_axis("optimizer.lr", ["0.1", "0.2"])]
    score = make_axis("val/accuracy", ["0.698", "0.712"])
    close = replace(score, ticks=[(0.0, "0.1"), (0.98, "0.698"), (1.0, "0.712")])
    plot = parallel_coordinates_figure(axes, close).axes[0]
    said = [text.get_text() for text in plot.texts]
    assert "0.712" in said
    assert "0.1" in said
    assert "0.698" not in said


def test_the_best_jobs_are_the_darkest() -> None:
    axes = [make_axis("optimizer.lr", ["0.1", "0.2", "0.3"])]
    for monitor, best in (("val/accuracy", 2), ("val/loss", 0)):
        values = [0.1, 0.5, 0.9]
        figure = parallel_coordinates_figure(axes, make_axis(monitor, values))
        lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2][:3]
        light = {float(line.get_ydata()[-1]): sum(to_rgb(line.get_color())) for line in lines}
        assert min(light, key=light.__getitem__) == best / 2


def _samples(subjects: list[str] | None) -> Samples:
    images = np.random.default_rng(0).integers(0, 256, (6, 48, 48), dtype=np.uint8)
    images[1] = images[0]  # a copy
    people = None if subjects is None else np.array(subjects)
    return Samples(images, np.zeros(6, np.int64), np.full(6, "test"), np.arange(6).astype(str), ("a", "b"), people)


def test_mistakes_show_each_person_and_each_picture_once() -> None:
    rows, labels = np.arange(6), np.zeros(6, np.int64)
    p = np.array([[0.1, 0.9], [0.11, 0.89], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6], [0.9, 0.1]], np.float32)
    assert mistakes.worst(_samples(None), rows, labels, p, 9) == [0, 2, 3, 4]
    assert mistakes.worst(_samples(["x", "y", "x", "", "", "z"]), rows, labels, p, 9) == [0, 3, 4]
    assert mistakes.worst(_samples(None), rows, labels, p, 2) == [0, 2]
    assert mistakes.worst(_samples(None), rows, labels, 1 - p, 9) == [5]
