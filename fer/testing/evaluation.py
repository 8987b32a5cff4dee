"""What a test leaves: scores with intervals, label map, leaks, slices, figures, predictions."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hydra.core.hydra_config import HydraConfig

from fer.build import build, locate
from fer.data.base import FERDataModule
from fer.errors import ConfigError
from fer.files import metrics as metrics_file
from fer.files import predictions as predictions_file
from fer.files import run_record
from fer.files.predictions import Predictions
from fer.files.run_folder import checkpoint_file
from fer.models.grad_cam import GradCam
from fer.models.preprocessing import Preprocessing
from fer.scores import calibration
from fer.scores.label_space import LabelSpace
from fer.scores.metrics import final_scores
from fer.scores.protocol import stamp_of_test
from fer.scores.registry import of_confusion
from fer.scores.seen_images import Seen
from fer.testing import pictures, robustness
from fer.testing.exports import ExportedModule
from fer.testing.reframing import Reframed
from fer.training.module import FERModule

log = logging.getLogger(__name__)


def data(config: Mapping[str, Any], module: FERModule | ExportedModule) -> tuple[FERDataModule, str]:
    """Return the data, of the run itself or any other, whose splits are left as they are, and the split to test.

    Args:
        config: The resolved config.
        module: The model.

    Raises:
        FERError: If the data cannot be read, or the split has no images.
    """
    own = config.get("data") is None
    node = run_record.data_of(config["ckpt"], config["trust"]) if own else config["data"]
    seed = module.hparams["seed"] if own else config["seed"]
    datamodule: FERDataModule = build(as_trained(node, module.preprocess, own, config["frame"]), "data", seed=seed)
    if own:
        datamodule.setup("test")
    else:
        datamodule.use_own_splits()
    return datamodule, choose_split(datamodule, config["split"], own)


def choose_split(datamodule: FERDataModule, asked: str | None, own: bool) -> str:
    """Return the split to test: the one asked for, else the test split, else what there is.

    Args:
        datamodule: The data.
        asked: ``train``, ``val``, ``test``, ``all`` or None.
        own: Whether these are the data that the model was trained on.

    Raises:
        ConfigError: If the split asked for has no images.
    """
    if asked is None:
        # A dataset of one's own is never tested as a whole: most of it was trained on.
        asked = "test" if len(datamodule.rows("test")) else "val" if own else "all"
        if asked != "test":
            what = "the val split is" if own else "all of its images are"
            log.info("%s has no test split: %s tested.", datamodule.name, what)
    if not len(datamodule.rows(asked)):
        counts = {split: len(datamodule.rows(split)) for split in ("train", "val", "test")}
        raise ConfigError(f"split={asked}: {datamodule.name} has no image in it; it has {counts}.")
    return asked


def as_trained(data: Mapping[str, Any], trained: Preprocessing, own: bool, frame: str | None = None) -> dict[str, Any]:
    """Fill in what a checkpoint knows of its input, where the user does not say otherwise: image size and fit.

    Args:
        data: The ``data`` node.
        trained: The checkpoint's preprocessing.
        own: Whether the data is that of the checkpoint's own run, whose images have their size.
        frame: ``match`` to keep larger images at twice the size, of which a part may be cut out.
    """
    data = dict(data)
    said = {override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task}
    if not own and "image_size" in data and "data.image_size" not in said:
        data["image_size"] = trained.image_size * (2 if frame == "match" else 1)
    dataset = locate(data.get("_target_"), "data")
    if data.get("fit") is None and getattr(dataset, "own_fit", "") is None:
        data["fit"] = trained.fit
    return data


def describe(
    ckpt: str, module: FERModule | ExportedModule, datamodule: FERDataModule, split: str, space: LabelSpace
) -> None:
    """Say what is about to be tested on what, and how the classes meet."""
    size = module.preprocess
    name = module.name
    colour = "grey" if size.channels == 1 else "RGB"
    log.info(
        "model  %s from %s, input %dx%d %s, fit=%s", name, ckpt, size.image_size, size.image_size, colour, size.fit
    )
    log.info("data   %s, %s: %s images", datamodule.name, split, f"{len(datamodule.rows(split)):,}")
    counts = datamodule.class_counts(split)
    if space.merged:
        log.info("merged: %s", ", ".join(f"{name} is scored as {to}" for name, to in space.merged.items()))
    if space.dropped:
        said = ", ".join(f"{name} ({counts[datamodule.classes.index(name)]:,} images)" for name in space.dropped)
        log.info("dropped: %s; the model does not know %s", said, "it" if len(space.dropped) == 1 else "them")
    if space.absent:
        log.info("not in the data: %s; the model may still say so", ", ".join(space.absent))


def write(
    run: Path,
    config: Mapping[str, Any],
    predictions: Predictions,
    datamodule: FERDataModule,
    space: LabelSpace,
    seen: Seen,
    mark: str | None = None,
    reframed: Reframed | None = None,
    temperature: float = 1.0,
    cam: GradCam | None = None,
    corrupted: robustness.Answers | None = None,
) -> dict[str, Any]:
    """Write ``metrics.json``, ``predictions.csv`` and pictures.

    Args:
        run: The test's folder.
        config: The resolved config.
        predictions: The model's answers, over its own classes.
        datamodule: The tested data.
        space: How the classes meet.
        seen: Which images the model was fitted to or chosen on; of the same rows as the predictions.
        mark: What tells the checkpoint from the run's later ones, from :func:`fer.files.run_folder.checkpoint_mark`.
        reframed: The model's answers on the same images, cut to its framing.
        temperature: The checkpoint's, from :func:`fer.scores.calibration.temperature_of`.
        cam: Explains the mistakes; None if they are not to be explained.
        corrupted: Its answers on the images made worse, from :func:`fer.testing.robustness.predict`.

    Returns:
        What stands in ``metrics.json``.

    Raises:
        ConfigError: If the model knows the class of no image.
    """
    kept, answers, seen = scored(predictions, space, seen)
    options = {"resamples": config["resamples"], "seed": config["seed"]}
    calm = space.probabilities(calibration.calibrated(predictions.probabilities, temperature))[kept]
    metrics = _what_was_tested(config, answers, datamodule, seen) | {
        "checkpoint_mark": mark,
        "label_space": space.as_dict(),
        **all_scores(answers, space, seen, options),
        "slices": _slices(datamodule, answers, space, options),
        calibration.KEY: calibration.compared(answers.probabilities, calm, answers.labels, temperature),
    }
    if reframed is not None:
        again = space.probabilities(reframed.probabilities)[kept]
        scores = final_scores(again, answers.labels, space.classes, **options)
        metrics["reframed"] = scores | {"faces_found": float(reframed.found[kept].mean())}
    if corrupted:
        metrics["corruptions"] = robustness.scores(corrupted, kept, answers.labels, **options)
    extra = {predictions_file.IN_TRAINING: seen.fitted.astype(int), predictions_file.CHOSE: seen.chose.astype(int)}
    predictions_file.write(run / predictions_file.FILE, [answers], space.classes, extra)
    pictures.draw(run, metrics, answers, datamodule, space, config["mistakes"], calm, cam)
    return metrics_file.write(run / metrics_file.FILE, "test", metrics)  # last: what has it is complete


def _what_was_tested(
    config: Mapping[str, Any], answers: Predictions, datamodule: FERDataModule, seen: Seen
) -> dict[str, Any]:
    """Return what ``metrics.json`` says before any score: which checkpoint, on which images, how far held out."""
    fitted, chose = int(seen.fitted.sum()), int((seen.chose & ~seen.fitted).sum())
    return {
        "name": config["name"] or datamodule.name,
        "data": datamodule.name,
        "split": answers.split,
        "dataset": dict(answers.dataset),
        "checkpoint": str(checkpoint_file(Path(config["ckpt"])).resolve()),  # a report may be made in another folder
        **({"hub": config["hub"]} if config["hub"] else {}),
        "tta": config["tta"],
        "precision": config["precision"],
        "frame": config.get("frame"),
        "stamp": stamp_of_test(len(answers.labels), fitted, chose, seen.selected_on_test),
    }


def scored(predictions: Predictions, space: LabelSpace, seen: Seen) -> tuple[npt.NDArray[np.int64], Predictions, Seen]:
    """Leave out the images whose class the model does not know, and translate answers and labels into scored classes.

    Args:
        predictions: The model's answers, over its own classes.
        space: How the classes meet.
        seen: Which images the model was fitted to or chosen on; of the same rows as the predictions.

    Returns:
        Places of the K scored images among the predictions, int64 of shape (K,); their answers; what is known of them.

    Raises:
        ConfigError: If no image is left.
    """
    labels = space.labels(predictions.labels)
    kept = np.flatnonzero(labels >= 0)
    if not len(kept):
        there = sorted({space.dataset[label] for label in np.unique(predictions.labels)})
        raise ConfigError(
            f"split={predictions.split}: all of its images are of classes that the model does not know "
            f"({', '.join(there)}); it knows {', '.join(space.model)}. Choose another split, or score a class as "
            f"another: +merge.{there[0]}={space.classes[0]}"
        )
    answers = replace(
        predictions,
        rows=predictions.rows[kept],
        ids=predictions.ids[kept],
        labels=labels[kept],
        probabilities=space.probabilities(predictions.probabilities)[kept],
    )
    return kept, answers, replace(seen, fitted=seen.fitted[kept], exact=seen.exact[kept], chose=seen.chose[kept])


def all_scores(answers: Predictions, space: LabelSpace, seen: Seen, options: Mapping[str, int]) -> dict[str, Any]:
    """Score all images, the choice limited to common classes, and the images that the model has not seen."""
    p, labels = answers.probabilities, answers.labels
    found: dict[str, Any] = {"test": final_scores(p, labels, space.classes, **options)}
    if space.absent:
        index = np.array([space.common.index(name) if name in space.common else -1 for name in space.classes])
        found["restricted"] = final_scores(space.restricted(p), index[labels], space.common, **options)
    copies = seen.fitted | seen.chose
    if copies.all():  # the validation split itself: at least without what was also trained on
        copies = seen.fitted
    found["seen"] = seen.counts()
    if 0 < copies.sum() < len(labels):
        found["clean"] = final_scores(p[~copies], labels[~copies], space.classes, **options)
    return found


def _slices(
    datamodule: FERDataModule, answers: Predictions, space: LabelSpace, options: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Score each value of each attribute that the dataset has."""
    found: dict[str, dict[str, Any]] = {}
    for attribute, values in datamodule.samples.attributes.items():
        here = np.array([value or "unknown" for value in values[answers.rows].tolist()])
        for value in sorted(set(here.tolist())):
            part = here == value
            scores = final_scores(answers.probabilities[part], answers.labels[part], space.classes, **options)
            kept = ("n", *of_confusion(), *(f"{name}_95" for name in of_confusion() if f"{name}_95" in scores))
            found.setdefault(attribute, {})[value] = {key: scores[key] for key in kept}
    return found
