"""Several datasets trained on at once, over the classes that all of them have.

Each dataset keeps its own splits, and lacks none: a missing validation or test split is carved out of its own training
images. Images are brought to one size and to grey or RGB. Sample ids begin with the dataset's name, and the attribute
``dataset`` lets scores be sliced by it.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from fer.build import build
from fer.config_check import conf_dir
from fer.data.base import FERDataModule, select_classes
from fer.data.cache import allocate, cached
from fer.data.labels import EMOTIONS
from fer.data.samples import Samples
from fer.data.splits import carve
from fer.errors import ConfigError

log = logging.getLogger(__name__)


class Combined(FERDataModule):
    """Several datasets as one.

    Args:
        datasets: Their names, as in ``data=<name>``.
        options: Options of each dataset by its name, such as its ``root``.
        **loading: See :class:`fer.data.base.FERDataModule`.

    Raises:
        ConfigError: If fewer than two datasets are named, one twice, or options are given for another.
    """

    name = "combined"

    def __init__(
        self, datasets: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None, **loading: Any
    ) -> None:
        super().__init__(**loading)
        options = options or {}
        if len(datasets) < 2 or len(set(datasets)) != len(datasets):
            raise ConfigError(f"data.datasets={list(datasets)}: needs two or more different datasets.")
        if unknown := [name for name in options if name not in datasets]:
            raise ConfigError(f"data.options.{unknown[0]}: is none of data.datasets={list(datasets)}.")
        self.parts: dict[str, FERDataModule] = {}
        for name in datasets:
            node = yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text())
            del node["defaults"]  # what every dataset has comes from the combined one
            ours = {"cache_dir": loading.get("cache_dir"), "channels": self.channels}
            if self.image_size is not None:
                ours["image_size"] = self.image_size
            part: FERDataModule = build({**node, **ours, **options.get(name, {})}, f"data.options.{name}")
            if part.own_fit is None and "fit" not in options.get(name, {}):
                part.fit = self.fit
            self.parts[name] = part

    def read(self) -> Samples:
        """Read every dataset, and bring them together."""
        read = {name: carve(part.read(), self.shares, self.seed, name) for name, part in self.parts.items()}
        common = tuple(name for name in EMOTIONS if all(name in samples.classes for samples in read.values()))
        if len(common) < 2:
            raise ConfigError(
                "data.datasets: fewer than two classes are common: "
                + "; ".join(f"{name} has {', '.join(samples.classes)}" for name, samples in read.items())
            )
        for name, samples in read.items():
            if dropped := [emotion for emotion in samples.classes if emotion not in common]:
                log.info("combined: %s of %s left out; not every dataset has it.", ", ".join(dropped), name)
        chosen = {name: select_classes(samples, common, name) for name, samples in read.items()}
        rows = {name: np.flatnonzero(samples.splits != "") for name, samples in chosen.items()}
        size = self.image_size or max(samples.images.shape[1] for samples in chosen.values())
        channels = self.channels or (3 if any(samples.images.ndim == 4 for samples in chosen.values()) else 1)
        key = {
            "parts": [[name, _content(samples)] for name, samples in read.items()],
            "carved": [self.seed, self.shares],
            "classes": list(common),
            "shape": (size, channels),
        }  # fmt: skip
        return cached(
            self.cache_dir, self.name, key, lambda: _concatenate(chosen, rows, size, channels, self.cache_dir)
        )


def _content(samples: Samples) -> list[str]:
    """Name what a dataset holds: its images by its cache's folder, which is a hash of them, and its labels."""
    assert isinstance(samples.images, np.memmap)
    digest = hashlib.sha256(repr(samples.classes).encode())
    # What comes after a dataset's cache: labels by votes, a carved split.
    for values in (samples.labels, samples.splits, samples.targets, samples.subjects):
        digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    return [Path(str(samples.images.filename)).parent.name, digest.hexdigest()]


def _concatenate(
    parts: Mapping[str, Samples],
    rows: Mapping[str, npt.NDArray[np.int64]],
    size: int,
    channels: int,
    cache_dir: Path,
) -> Samples:
    total = sum(len(chosen) for chosen in rows.values())
    images = allocate(cache_dir, (total, size, size) if channels == 1 else (total, size, size, 3))
    start = 0
    for name, samples in parts.items():
        for row in rows[name]:
            images[start] = _fit(samples.images[row], size, channels)
            start += 1

    def joined(values: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([values[name][rows[name]] for name in parts])

    some_votes = any(samples.targets is not None for samples in parts.values())
    some_subjects = any(samples.subjects is not None for samples in parts.values())
    ids = {name: np.array([f"{name}/{sample}" for sample in samples.ids]) for name, samples in parts.items()}
    subjects = {
        # Where nothing is known of the subjects, every image is taken for another one's.
        name: ids[name] if s.subjects is None else np.array([f"{name}/{subject}" for subject in s.subjects])
        for name, s in parts.items()
    }
    size_of_space = len(next(iter(parts.values())).classes)
    targets = {
        name: np.eye(size_of_space, dtype=np.float32)[s.labels] if s.targets is None else s.targets
        for name, s in parts.items()
    }
    return Samples(
        images=images,
        labels=joined({name: samples.labels for name, samples in parts.items()}),
        splits=joined({name: samples.splits for name, samples in parts.items()}),
        ids=joined(ids),
        classes=next(iter(parts.values())).classes,
        subjects=joined(subjects) if some_subjects else None,
        targets=joined(targets) if some_votes else None,
        attributes={"dataset": joined({name: np.full(len(samples), name) for name, samples in parts.items()})},
    )


def _fit(image: npt.NDArray[np.uint8], size: int, channels: int) -> npt.NDArray[np.uint8]:
    """Bring one image to a size, and to grey or RGB."""
    if image.shape[0] != size:
        method = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (size, size), interpolation=method), dtype=np.uint8)
    if channels == 1 and image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if channels == 3 and image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    return image
