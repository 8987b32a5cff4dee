"""A trained model as a Python object: ``fer.load("outputs/<name>/<time>").predict("photo.jpg")``."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch

from fer.errors import ConfigError, FERError
from fer.files import home, hub
from fer.files.export import is_export
from fer.framing.crop import DEFAULT_MARGIN, cut, placement
from fer.framing.detectors import DEFAULT, build_detector
from fer.framing.face import Detector, Face
from fer.models.grad_cam import GradCam
from fer.predicting import pictures
from fer.predicting.exported import ExportedNetwork
from fer.predicting.faces import FaceEmotion
from fer.predicting.pictures import Picture
from fer.scores.calibration import calibrated, temperature_of
from fer.training.checkpoint_content import load_checkpoint
from fer.training.module import FERModule
from fer.training.tta import CHOICES

_DEVICES = ("auto", "cpu", "gpu", "cuda", "mps")


class Found(NamedTuple):
    """A face that a picture holds, before the network has seen it."""

    face: Face
    """In the original picture's pixels."""
    crop: npt.NDArray[np.uint8]
    """uint8 of shape (S, S) or (S, S, 3), as :meth:`Model.classify` takes it."""
    place: npt.NDArray[np.float64]
    """Where the crop lies, float64 of shape (2, 3): from the original's pixels (x, y, 1) to shares of its side."""


class Model:
    """A trained network with all that stands between a picture and an emotion; made by :func:`load`.

    Args:
        module: The network, in evaluation mode.
        detector: What finds faces; None if each picture is a face as a whole.
        margin: Side of the crop over the size of the face's box, for a model whose framing is not known.
        batch_size: Faces that go through the network together.
        temperature: By which the network's logits are divided: see :mod:`fer.scores.calibration`.
        source: Where it comes from: a path, or an address of the Hugging Face Hub with its commit.
    """

    def __init__(
        self,
        module: FERModule | ExportedNetwork,
        detector: Detector | None = None,
        margin: float = DEFAULT_MARGIN,
        batch_size: int = 64,
        temperature: float = 1.0,
        source: str = "",
    ) -> None:
        self.module, self.detector, self.margin, self.batch_size = module, detector, margin, batch_size
        self.temperature, self.source = temperature, source
        self._cam: GradCam | None = None  # made when it is first asked for

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return tuple(self.module.classes)

    def __repr__(self) -> str:
        name = self.module.name
        return f"<fer model: {name}, {len(self.classes)} classes: {', '.join(self.classes)}>"

    @overload
    def predict(
        self, images: Sequence[Any], min_confidence: float = 0.0, explain: bool = False
    ) -> list[list[FaceEmotion]]: ...
    @overload
    def predict(self, images: Any, min_confidence: float = 0.0, explain: bool = False) -> list[FaceEmotion]: ...
    def predict(
        self, images: Any, min_confidence: float = 0.0, explain: bool = False
    ) -> list[FaceEmotion] | list[list[FaceEmotion]]:
        """Find the faces of one picture or of several, and say which emotion each shows.

        Args:
            images: A path, a PIL image, a NumPy array or a torch tensor, or a list or tuple of them. Arrays are RGB
                or grey, uint8 or floats from 0 to 1 (see :func:`fer.predicting.pictures.given`); OpenCV's are BGR:
                ``image[:, :, ::-1]``.
            min_confidence: Where the most probable class is less probable than this, the emotion is None.
            explain: Whether each face gets its ``heat_map``: see :meth:`explain`.

        Returns:
            The faces of the picture, the one that the detector is surest of first; of several pictures a list for each.

        Raises:
            FERError: If a picture cannot be read, its values could be meant in two ways, or the model cannot be
                explained.
        """
        if not 0 <= min_confidence <= 1:
            raise ConfigError(f"min_confidence={min_confidence}: must be from 0 to 1.")
        several = isinstance(images, list | tuple)
        found = [self.find(self._picture(image)) for image in (images if several else [images])]
        crops = [item.crop for faces in found for item in faces]
        probabilities = self.classify(crops)
        rows = iter(probabilities)
        maps = iter(self.heat_maps(crops, probabilities.argmax(1).tolist()) if explain else [None] * len(crops))
        result = [[self.face(item, next(rows), min_confidence, next(maps)) for item in faces] for faces in found]
        return result if several else result[0]

    def explain(self, face: FaceEmotion | npt.NDArray[np.uint8], emotion: str | None = None) -> npt.NDArray[np.float32]:
        """Show where in a face the model finds what speaks for an emotion, by Grad-CAM.

        Args:
            face: A face of :meth:`predict`, or the crop of one, uint8 of shape (H, W) or (H, W, 3).
            emotion: One of the model's classes; None for the one that it finds most probable.

        Returns:
            A heat map of the crop, float32 of shape (H, W) from 0 to 1; all 0 where nothing speaks for the emotion.

        Raises:
            ConfigError: If the model has no such class.
            FERError: If the model cannot be explained: it is an export without gradients, its network has no feature
                map, or captum is not installed.
        """
        if emotion is not None and emotion not in self.classes:
            raise ConfigError(f"emotion={emotion}: the model knows {', '.join(self.classes)}.")
        crop = face.crop if isinstance(face, FaceEmotion) else face
        best = int(self.classify([crop])[0].argmax()) if emotion is None else self.classes.index(emotion)
        return self.heat_maps([crop], [best])[0]

    def heat_maps(
        self, crops: Sequence[npt.NDArray[np.uint8]], classes: Sequence[int]
    ) -> list[npt.NDArray[np.float32]]:
        """Show where in faces the model finds what speaks for a class: :meth:`explain` for many at once.

        Args:
            crops: Faces, uint8 of shape (H, W) or (H, W, 3), of any sizes.
            classes: Each one's class, by its place in :attr:`classes`.

        Returns:
            A heat map of each, float32 of shape (H, W) from 0 to 1.

        Raises:
            FERError: If the model cannot be explained.
        """
        if self.module.net is None:
            raise FERError(
                f"explain: {self.module.name} is an export without the gradients that Grad-CAM needs. Load the "
                f"run, its checkpoint, or an export with format=safetensors."
            )
        self._cam = self._cam or GradCam(self.module.net, self.module.preprocess, self.module.name)
        done: list[npt.NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * len(crops)
        for batch in self._batches(crops):
            images = torch.from_numpy(np.stack([crops[number] for number in batch]))
            maps = self._cam(images, [classes[number] for number in batch]).cpu().numpy()
            for number, one in zip(batch, maps, strict=True):
                done[number] = one
        return done

    def _picture(self, image: Any) -> Picture:
        if isinstance(image, str | Path):
            return self.read(image)
        return pictures.given(image)

    def read(self, path: str | Path) -> Picture:
        """Decode a file, as large as is needed.

        Raises:
            FERError: If it cannot be read.
        """
        side = pictures.SHORTER_SIDE if self.detector else self.module.preprocess.image_size
        return pictures.read(path, side)

    def find(self, picture: Picture) -> list[Found]:
        """Find and cut out the faces of a picture; may be called by several threads."""
        preprocess = self.module.preprocess
        if self.detector is None:
            width, height = picture.size
            face = Face((0.0, 0.0, float(width), float(height)), None, 1.0)
            pixels = pictures.whole(picture, preprocess.image_size, preprocess.fit)
            return [Found(face, pixels, pictures.place_of_whole(picture, preprocess.fit))]
        return [self.cut(picture, face) for face in self.detector.detect(picture.rgb)]

    def cut(self, picture: Picture, face: Face) -> Found:
        """Cut a face out of a picture, in whose pixels it is given."""
        preprocess = self.module.preprocess
        place = placement(face, preprocess.framing, self.margin)
        pixels = cut(picture.pixels, place, preprocess.image_size)
        box = tuple(float(value * picture.scale) for value in face.box)
        landmarks = None if face.landmarks is None else face.landmarks * np.float32(picture.scale)
        in_original = place * np.array((1 / picture.scale, 1 / picture.scale, 1))
        return Found(Face(box, landmarks, face.score), pixels, in_original)  # type: ignore[arg-type]

    def classify(self, crops: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Apply the network.

        Args:
            crops: Faces, uint8 of shape (S, S) or (S, S, 3), of any sizes.

        Returns:
            Calibrated probabilities, float32 of shape (N, C).
        """
        done = np.zeros((len(crops), len(self.classes)), np.float32)
        for batch in self._batches(crops):
            images = torch.from_numpy(np.stack([crops[number] for number in batch]))
            with torch.inference_mode():
                done[batch] = self.module.probabilities(images.to(self.module.device)).cpu().numpy()
        return calibrated(done, self.temperature)

    def _batches(self, crops: Sequence[npt.NDArray[np.uint8]]) -> Iterator[list[int]]:
        """Yield the places of crops that may stand in one batch, those of one shape."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(crops):
            by_shape.setdefault(one.shape, []).append(number)
        for numbers in by_shape.values():
            for start in range(0, len(numbers), self.batch_size):
                yield numbers[start : start + self.batch_size]

    def face(
        self, found: Found, probabilities: npt.NDArray[np.float32], min_confidence: float = 0.0,
        heat_map: npt.NDArray[np.float32] | None = None,
    ) -> FaceEmotion:  # fmt: skip
        """Put together what is known of a face.

        Args:
            found: The face.
            probabilities: float32 of shape (C,).
            min_confidence: See :meth:`predict`.
            heat_map: See :class:`fer.predicting.faces.FaceEmotion`.
        """
        best = int(probabilities.argmax())
        emotion = self.classes[best] if probabilities[best] >= min_confidence else None
        score = found.face.score if self.detector else None
        named = {name: float(value) for name, value in zip(self.classes, probabilities, strict=True)}
        return FaceEmotion(found.face.box, found.face.landmarks, score, emotion, named, found.crop, heat_map)


def load(
    path: str | Path,
    detector: str | None = DEFAULT,
    *,
    device: str = "auto",
    tta: str = "none",
    margin: float = DEFAULT_MARGIN,
    batch_size: int = 64,
    calibrate: bool = True,
    trust: Collection[str] = (),
) -> Model:
    """Load a trained model.

    Everything about the model comes from its checkpoint: network, classes, preprocessing. Nothing in it is run.

    Args:
        path: A run's folder (its best checkpoint is taken), a checkpoint, an export of ``fer.export``, or one on the
            Hugging Face Hub: ``hf://user/name``, or ``hf://user/name@<branch, tag or commit>``.
        detector: What finds faces: ``fast``, ``accurate`` or ``haar``; ``none`` (or None) for images that are faces
            already, as a dataset's are.
        device: ``cpu``, ``gpu``, ``mps``, or ``auto`` for the best that there is.
        tta: Test-time augmentation: ``none``, ``flip``, ``shift`` or ``tencrop``.
        margin: Side of the crop over the size of the face's box, for a model whose framing is not known.
        batch_size: Faces that go through the network together.
        calibrate: Whether the temperature that validation has fitted is applied (it changes no face's most probable
            emotion); without it the probabilities are those that ``fer.test`` writes.
        trust: Packages of your own whose networks the checkpoint may build.

    Raises:
        FERError: If the checkpoint cannot be used, or the detector's package is not installed.
        ConfigError: If an argument is none of those allowed.
    """
    for key, value, allowed in (("device", device, _DEVICES), ("tta", tta, CHOICES)):
        if value not in allowed:
            raise ConfigError(f"{key}={value}: must be one of {', '.join(allowed)}.")
    found = None if detector in (None, "none") else build_detector(str(detector))
    if found is not None:
        found.detect(np.zeros((64, 64, 3), np.uint8))  # its tables are made by the first call, which must be alone
    where, pinned = hub.local(path, "path") if isinstance(path, str) else (path, None)
    path = home.expanded(where)
    if is_export(path):
        if tta != "none" or device not in ("auto", "cpu"):
            raise ConfigError(f"{pinned or path}: is an export, which runs on the CPU, without test-time augmentation.")
        exported = ExportedNetwork(path)
        undone = 1.0 if calibrate else 1 / exported.temperature
        return Model(exported, found, margin, batch_size, undone, pinned or str(path))
    module = FERModule.load_from_checkpoint(path, packages=trust, tta=tta)
    module.to(_device(device))
    temperature = temperature_of(load_checkpoint(path)) if calibrate else 1.0
    return Model(module, found, margin, batch_size, temperature, str(path))


def _device(name: str) -> torch.device:
    """Return the device of a name, or raise an error if this machine has none."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    if (name in ("gpu", "cuda") and not cuda and not (name == "gpu" and mps)) or (name == "mps" and not mps):
        raise FERError(f"device={name}: torch sees no such device on this machine. Say auto or cpu.")
    return torch.device("cpu" if name == "cpu" else "mps" if name == "mps" or not cuda else "cuda")
