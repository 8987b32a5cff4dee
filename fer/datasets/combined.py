"""Several datasets trained on at once, over the classes that all of them have.

Each dataset keeps its own splits, and lacks none: a missing validation or test split is carved out of its own training
images. Images are brought to one size and to grey or RGB. Sample ids begin with the dataset's name, and the attribute
``dataset`` lets scores be sliced by it.

``data.options.<name>`` takes what ``data=<name>`` does, such as ``exclude`` or ``classes``; what concerns all images
alike (the batch size, the mean) is said of the whole alone. What is said of the whole holds for each dataset whose own
options do not say otherwise.
"""

import hashlib
import inspect
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer.build import build
from fer.config import parts
from fer.data.base import FERDataModule
from fer.data.cache import cached
from fer.data.classes import select_classes
from fer.data.exclude import listed_ids
from fer.data.labels import in_order
from fer.data.samples import Samples
from fer.data.scratch import allocate
from fer.errors import ConfigError

log = logging.getLogger(__name__)


class Combined(FERDataModule):
    """Several datasets as one.

    Args:
        datasets: Their names, as in ``data=<name>``.
        options: Options of each dataset by its name, such as its ``root``.
        **loading: See :class:`fer.data.base.FERDataModule`.

    Raises:
        ConfigError: If fewer than two datasets are named, one twice, or options are given for another or wrong.
    """

    name = "combined"
    own_fit = ""  # each part's

    def __init__(
        self, datasets: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None, **loading: Any
    ) -> None:
        super().__init__(**loading)
        self.options = {name: (options or {}).get(name) or {} for name in datasets}
        if len(datasets) < 2 or len(set(datasets)) != len(datasets):
            raise ConfigError(f"data.datasets={list(datasets)}: needs two or more different datasets.")
        if unknown := [name for name in options or {} if name not in datasets]:
            raise ConfigError(f"data.options.{unknown[0]}: is none of data.datasets={list(datasets)}.")
        if wrong := [name for name, given in self.options.items() if not isinstance(given, Mapping)]:
            raise ConfigError(f"data.options.{wrong[0]}={self.options[wrong[0]]}: +data.options.{wrong[0]}.root=...")
        default = inspect.signature(FERDataModule.__init__).parameters
        self.said = {key: value for key, value in loading.items() if value != default[key].default}
        self.nodes = {name: parts.options(name, given, self.said) for name, given in self.options.items()}
        self.parts: dict[str, FERDataModule] = {}
        for name, node in self.nodes.items():
            with self._named(name):
                self.parts[name] = build(node, f"data.options.{name}", seed=self.split_seed)
            if self.parts[name].stream:
                raise ConfigError(
                    f"data.options.{name}.stream=true: combined keeps its images in the cache. Leave it out."
                )
            self.parts[name].select_on_test = self.select_on_test  # then no validation split is carved
            self.parts[name].in_folds = self.fold is not None
        self.draw_targets = self._draws()

    def _named(self, name: str) -> AbstractContextManager[None]:
        return parts.named(name, self.nodes[name], self.options[name], self.said)

    def _draws(self) -> bool:
        """Say whether labels are drawn: if one part's are, all are; a sample with a single label always gets it."""
        return any(part.draw_targets for part in self.parts.values())

    def read(self) -> Samples:
        """Read every dataset, and bring them together."""
        read = {name: self._read_part(name) for name in self.parts}
        self.draw_targets = self._draws()  # shards say it once they are read
        common = in_order(set.intersection(*(set(samples.classes) for samples in read.values())))
        if len(common) < 2:
            raise ConfigError(
                "data.datasets: fewer than two classes are common: "
                + "; ".join(f"{name} has {', '.join(samples.classes)}" for name, samples in read.items())
            )
        self._check_targets(read)
        for name, samples in read.items():
            if dropped := [emotion for emotion in samples.classes if emotion not in common]:
                log.info("combined: %s of %s left out; not every dataset has it.", ", ".join(dropped), name)
        chosen = {name: select_classes(samples, common, name) for name, samples in read.items()}
        rows = {name: np.flatnonzero(samples.splits != "") for name, samples in chosen.items()}
        size = self.image_size or max(samples.images.shape[1] for samples in chosen.values())
        channels = self.channels or (3 if any(samples.images.ndim == 4 for samples in chosen.values()) else 1)
        key = {
            "parts": [[name, _content(samples)] for name, samples in read.items()],
            "classes": list(common),
            "shape": (size, channels),
        }  # fmt: skip
        return cached(
            self.cache_dir, self.name, key, lambda: _concatenate(chosen, rows, size, channels, self.cache_dir)
        )

    def _read_part(self, name: str) -> Samples:
        """Read a dataset with its options; it keeps its own splits unless folds are made of all parts together."""
        part = self.parts[name]
        if self.exclude is not None:
            ids = listed_ids(Path(self.exclude).expanduser())
            part.also_excluded = frozenset(id_[len(name) + 1 :] for id_ in ids if id_.startswith(f"{name}/"))
        with self._named(name):
            samples = part.chosen(None if self.fold is not None else part.shares)
        # Those of classes that not every part has are known, too.
        self.unused |= {f"{name}/{id_}" for id_ in part.also_excluded.intersection(samples.ids.tolist())}
        return samples

    def _check_targets(self, read: Mapping[str, Samples]) -> None:
        """Refuse parts whose targets are of two kinds (sampled labels and distributions): a batch has one kind."""
        drawn = {name: self.parts[name].draw_targets for name, samples in read.items() if samples.targets is not None}
        if len(set(drawn.values())) > 1:
            raise ConfigError(
                "data.options: labels are drawn from the votes of "
                f"{', '.join(name for name, draws in drawn.items() if draws)}, but not from those of "
                f"{', '.join(name for name, draws in drawn.items() if not draws)}. Give them one mode."
            )


def _content(samples: Samples) -> list[str]:
    """Name what a dataset holds: its images by its cache's folder, which is a hash of them, and its labels."""
    # What is applied after a dataset's cache: labels from votes, carved splits, exclusions.
    digest = hashlib.sha256(repr(samples.classes).encode())
    for values in (samples.labels, samples.splits, samples.targets, samples.subjects):
        digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    if isinstance(samples.images, np.memmap):
        images = Path(str(samples.images.filename)).parent.name
    else:  # another process is rebuilding its cache
        images = hashlib.sha256(np.ascontiguousarray(samples.images).tobytes()).hexdigest()
    return [images, digest.hexdigest()]


def _concatenate(
    datasets: Mapping[str, Samples],
    rows: Mapping[str, npt.NDArray[np.int64]],
    size: int,
    channels: int,
    cache_dir: Path,
) -> Samples:
    total = sum(len(chosen) for chosen in rows.values())
    images = allocate(cache_dir, (total, size, size) if channels == 1 else (total, size, size, 3))
    start = 0
    for name, samples in datasets.items():
        for row in rows[name]:
            images[start] = _fit(samples.images[row], size, channels)
            start += 1

    def joined(values: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([values[name][rows[name]] for name in datasets])

    some_votes = any(samples.targets is not None for samples in datasets.values())
    some_subjects = any(samples.subjects is not None for samples in datasets.values())
    ids = {name: np.array([f"{name}/{sample}" for sample in samples.ids]) for name, samples in datasets.items()}
    subjects = {
        # Where subjects are not known, each image counts as a subject of its own.
        name: ids[name] if s.subjects is None else np.array([f"{name}/{subject}" for subject in s.subjects])
        for name, s in datasets.items()
    }
    size_of_space = len(next(iter(datasets.values())).classes)
    targets = {
        name: np.eye(size_of_space, dtype=np.float32)[s.labels] if s.targets is None else s.targets
        for name, s in datasets.items()
    }
    return Samples(
        images=images,
        labels=joined({name: samples.labels for name, samples in datasets.items()}),
        splits=joined({name: samples.splits for name, samples in datasets.items()}),
        ids=joined(ids),
        classes=next(iter(datasets.values())).classes,
        subjects=joined(subjects) if some_subjects else None,
        targets=joined(targets) if some_votes else None,
        attributes={"dataset": joined({name: np.full(len(samples), name) for name, samples in datasets.items()})},
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
