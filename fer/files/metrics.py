"""``metrics.json``: what a training or a test scored. Imports nothing slow.

Keys of all:

- ``kind``: ``training``, ``test`` or ``ensemble``; ``format``: a number, see :data:`FORMAT`. Files of early
  versions have neither.
- ``name``: of the run; of the dataset, where a test has none. ``data``: the dataset's name. ``dataset``: what tells it
  from others of that name, see :class:`Dataset`.
- ``checkpoint``: the file that was scored; ``checkpoint_mark``: what tells it from others, see
  :func:`fer.files.run_folder.checkpoint_mark`; ``hub``, of a model from the Hugging Face Hub: its address with the
  commit, see :mod:`fer.files.hub`.
- ``calibration``: the temperature, calibration errors with and without it, and accuracy against coverage, see
  :func:`fer.scores.calibration.compared`; of a training, of the split that chose the checkpoint.
- ``tta``: test-time augmentation of the scores. ``stamp``: what must not be overlooked about them, or null.

Of a training: ``model``, the network; ``monitor`` and ``best_score``, what chose the checkpoint and its value;
``best_epoch``, the checkpoint's, and ``epochs``, how many there were, from 1 (files of early versions: from 0);
``last_epoch``: ``epoch``, and the averages of ``val`` (and ``test``) with its weights, where they were kept; ``val``,
``test``: scores. With ``init=``: ``parent``: ``path``, ``mark`` and ``dataset`` of the model that it began with; with
that or ``teacher=``: ``seen`` and ``clean`` of the test split, as of a test.

Of a test: ``split``; ``label_space``: how the classes meet, see :class:`fer.scores.label_space.LabelSpace`; ``test``:
scores; ``restricted``: with the choice limited to common classes; ``clean``: without images that the model has seen;
``seen``: how many those are; ``reframed``: with the images cut as those of training are, and the share in which a
face was found for it (``faces_found``); ``slices``: attribute to value to averages; ``corruptions``, where they were
asked for: ``mean_corruption_accuracy``, its 95 % interval, and ``accuracy``: kind to its accuracies at strengths 1 to
5, of the images of ``test``.

Of an ensemble: ``data``, ``split``, ``tta``, ``label_space`` and ``seen`` as of a test; ``choose`` and ``score``, how
and by what members were chosen; ``members``: name, checkpoint, mark, score on validation, and whether each is in the
average and in the soup; ``best``, ``average``, ``soup`` (null where there is none): ``members``, ``val`` (what they
score on validation, null where nothing was chosen), and ``test``, ``restricted`` and ``clean`` as of a test.
``checkpoint`` is the soup's.

Scores are those of :func:`fer.scores.metrics.final_scores`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fer.files.text import read_json, write_json

FILE = "metrics.json"
FORMAT = 1
"""Raised when an older fer could not read a file."""
Kind = Literal["training", "test", "ensemble"]


def write(path: Path, kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write what was scored, whole or not at all, and return what stands in the file.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    metrics = {"kind": kind, "format": FORMAT, **values}
    write_json(path, metrics)
    return metrics


def read(path: Path) -> dict[str, Any]:
    """Read what was scored; epochs count from 1.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON object, or of a format that a newer fer writes.
    """
    metrics = read_json(path)
    if metrics.get("kind") in get_args(Kind):
        number = metrics.get("format")
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ValueError(f"its format is {str(number)[:40]!r}")
        if number > FORMAT:
            raise ValueError(f"it is of format {number}, of a newer fer; this one reads formats up to {FORMAT}")
    last, best, epochs = (metrics.get(key) for key in ("last_epoch", "best_epoch", "epochs"))
    if isinstance(last, dict) and isinstance(best, int) and isinstance(epochs, int) and last.get("epoch") == epochs - 1:
        metrics |= {"best_epoch": best + 1, "last_epoch": {**last, "epoch": epochs}}  # an older run: it counted from 0
    return metrics


def kind_of(metrics: Mapping[str, Any]) -> Kind | None:
    """Say what a file is of, from :func:`read`; None for another program's."""
    kind = metrics.get("kind", "training" if "best_score" in metrics else "test" if "label_space" in metrics else None)
    return kind if kind in get_args(Kind) else None


def is_of_ensemble(folder: Path) -> bool:
    """Say whether a folder is an ensemble's."""
    try:
        return kind_of(read(folder / FILE)) == "ensemble"
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Dataset:
    """What tells a dataset from others of its name; of older runs little of it is known.

    Attributes:
        name: As in ``data=<name>``.
        root: Its folder.
        classes: In label order; empty if not known.
        ids, labels, pixels: Hashes of all samples' ids and labels, and of some images as they were stored.
        input: How they were stored: height, width, channels of colour images, and ``data.fit``.
    """

    name: str
    root: str | None = None
    classes: tuple[str, ...] = ()
    ids: str = ""
    labels: str = ""
    pixels: str = ""
    input: tuple[object, ...] = ()

    def same(self, other: "Dataset") -> bool:
        """Say whether both are the same images with the same labels, wherever they stand."""
        if self.name != other.name:
            return False
        if self.classes and other.classes and sorted(self.classes) != sorted(other.classes):
            return False
        if not (self.ids and other.ids):
            return self.root == other.root or not (self.root and other.root)
        if (self.ids, self.labels) != (other.ids, other.labels):
            return False
        return self.pixels == other.pixels if self.input == other.input else self.root == other.root

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for the key ``dataset``."""
        return asdict(self) | {"classes": list(self.classes), "input": list(self.input)}


def dataset_of(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> Dataset:
    """Return the dataset that a training or test says it is of; of older ones, what its config says."""
    noted = metrics.get("dataset")
    if not isinstance(noted, Mapping):
        noted = {}
    node = config.get("data")
    root = noted.get("root", node.get("root") if isinstance(node, Mapping) and not noted else None)
    classes = noted.get("classes")
    if not isinstance(classes, list):
        scores = metrics.get("val") or metrics.get("test") or {}
        classes = list(scores["per_class"]) if kind_of(metrics) == "training" else []
    kept = noted.get("input")
    return Dataset(
        name=str(noted.get("name") or metrics.get("data")),
        root=None if root is None else str(root),
        classes=tuple(map(str, classes)),
        ids=str(noted.get("ids", "")),
        labels=str(noted.get("labels", "")),
        pixels=str(noted.get("pixels", "")),
        input=tuple(kept) if isinstance(kept, list) else (),
    )


def check(metrics: Mapping[str, Any], averages: Sequence[str]) -> None:
    """Check what a training or a test must hold to be compared.

    Args:
        metrics: From :func:`read`.
        averages: Names of the scores that are compared.

    Raises:
        ValueError: Naming what is wrong.
    """
    (_check_training if kind_of(metrics) == "training" else _check_test)(metrics, averages)


def _check_training(metrics: Mapping[str, Any], averages: Sequence[str]) -> None:
    _need(metrics, "best_epoch", int)
    for key in ("stamp", "tta"):
        _need(metrics, key, str, type(None))
    if not any(isinstance(metrics.get(split), Mapping) for split in ("val", "test")):
        raise ValueError("it holds no scores")
    for split in ("val", "test"):
        if split in metrics:
            _check_scores(metrics[split], split, averages)
    if "seen" in metrics:  # of a training with init= or teacher=
        _check_seen(metrics)
    if "clean" in metrics:
        _check_scores(metrics["clean"], "clean", averages)
    last = metrics.get("last_epoch", {})
    _need({"last_epoch": last}, "last_epoch", dict)
    for split in ("val", "test"):
        if split in last:
            _check_averages(last[split], f"last_epoch.{split}", averages)


def _check_test(metrics: Mapping[str, Any], averages: Sequence[str]) -> None:
    for key in ("data", "split", "tta", "checkpoint"):
        _need(metrics, key, str)
    _need(metrics, "stamp", str, type(None))
    if "\0" in metrics["checkpoint"]:
        raise ValueError("checkpoint is no path")
    _need(metrics, "label_space", dict)
    _need(metrics["label_space"], "merged", dict)
    _check_seen(metrics)
    if "test" not in metrics:
        raise ValueError("it holds no scores")
    for part in ("test", "clean"):
        if part in metrics:
            _check_scores(metrics[part], part, averages)
    if "corruptions" in metrics:
        _check_averages({"n": 0, **_mapping(metrics, "corruptions")}, "corruptions", ["mean_corruption_accuracy"])
        _need(metrics["corruptions"], "accuracy", dict)


def _check_seen(metrics: Mapping[str, Any]) -> None:
    _need(metrics, "seen", dict)
    _need(metrics["seen"], "known", bool)
    for key in ("images", "in_training", "in_training_exactly", "chose_the_checkpoint"):
        _need(metrics["seen"], key, int)
    counts = metrics["seen"].get("summary", [0, 0])
    if not (isinstance(counts, list) and [type(count) for count in counts] == [int, int]):
        raise ValueError("seen.summary is no pair of numbers")


def _need(node: Mapping[str, Any], key: str, *kinds: type) -> None:
    if key not in node and type(None) not in kinds:
        raise ValueError(f"{key} is missing")
    value = node.get(key)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{key} is {str(value)[:40]!r}")


def _mapping(node: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    _need(node, key, dict)
    found: Mapping[str, Any] = node[key]
    return found


def _check_averages(scores: Any, where: str, averages: Sequence[str]) -> None:
    if not isinstance(scores, Mapping):
        raise ValueError(f"{where} holds no scores")
    _need(scores, "n", int)
    for name in averages:
        _need(scores, name, int, float)
        if not math.isfinite(scores[name]):
            raise ValueError(f"{where}.{name} is {scores[name]}")
        bounds = scores.get(f"{name}_95", [0, 0])
        if not isinstance(bounds, list) or len(bounds) != 2 or not all(isinstance(b, int | float) for b in bounds):
            raise ValueError(f"{where}.{name}_95 is no interval")


def _check_scores(scores: Any, where: str, averages: Sequence[str]) -> None:
    _check_averages(scores, where, averages)
    classes, confusion = scores.get("per_class"), scores.get("confusion")
    if not isinstance(classes, Mapping) or not classes:
        raise ValueError(f"{where}.per_class is missing")
    for name, values in classes.items():
        if not isinstance(values, Mapping):
            raise ValueError(f"{where}.per_class.{name} holds no scores")
        _need(values, "f1", int, float)
        _need(values, "support", int)
    rows = confusion if isinstance(confusion, list) else []
    if len(rows) != len(classes) or not all(isinstance(row, list) and len(row) == len(classes) for row in rows):
        raise ValueError(f"{where}.confusion is no table of its {len(classes)} classes")
    if not all(isinstance(count, int) and count >= 0 for row in rows for count in row):
        raise ValueError(f"{where}.confusion holds what is no count")
