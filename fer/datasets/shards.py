"""Tar shards in the form of WebDataset: any dataset that ``fer.pack`` packed, or shards that others wrote.

What it is: the images of another dataset, in few large files. Nothing is unpacked: images are read where they stand in
the shards, and decoded once into the cache.

Classes: those of the dataset that was packed, by name. Of others' shards, what their labels say: names of emotions
(``Happiness``); numbers need a ``label_map``; with ``own_classes`` they may have any name.

Layout on disk, of ``fer.pack``::

    shards.json                     classes, and each shard's samples, size and checksum
    train-000000.tar                000000012.jpg, 000000012.json, 000000012.cls, ...
    train-000000.json               what stands where in it, with labels, ids, subjects and votes

or of others, without ``shards.json``::

    [<split>/]train-000000.tar      train, val and test, or another word for a split, before what is no letter;
                                    behind other words too, if there is one: faces-train-000000.tar
        <key>.jpg                   or another image's ending
        <key>.cls|json|txt          the label: a number or a name; in json it is label, class or cls,
                                    and target may count votes by name: {"happy": 7, "sad": 3}

The shards of ``fer.pack`` keep ids, splits, subjects, votes and attributes: a run on them is, weight for weight, the
run on the dataset itself. Ids of others' samples are ``<split>/<key>``, unless json says ``id``; it may say ``subject``
too, which is used if it is said of all samples. Where no shard is named after a split, all are training images.

``root`` may be a URL that fsspec reads (``https://``; ``s3://``, ``gs://`` and others with the package that it names).
The shards are fetched once, in pieces, checked, and kept in ``data.cache_dir``; a killed run goes on where it stopped.
With ``stream`` their lists alone are fetched and kept, and each image's bytes whenever it is read.

Licence, citation: those of the dataset.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fer.data.base import FERDataModule
from fer.data.cache import cached, is_cached
from fer.data.entries import unusable
from fer.data.first_reading import read_images
from fer.data.headers import how_stored
from fer.data.labels import in_order
from fer.data.samples import Files, Samples, readable, with_readable_names
from fer.data.source_files import fingerprint
from fer.data.tars import Tars
from fer.datasets import sfew, shards_packed, shards_plain, shards_remote
from fer.datasets.shards_packed import Placed
from fer.errors import ConfigError
from fer.files.shards import FILE, Index, read_index


class Shards(FERDataModule):
    """Tar shards; once read, ``name`` is that of the dataset that was packed.

    Args:
        root: The folder that holds them, or its URL.
        label_map: What the labels of others' shards mean, where they are not names of emotions.
        own_classes: Keep the labels of others' shards, whatever they are, but for those in ``label_map``.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "shards"
    streams = True
    own_fit = ""  # how they were packed

    def __init__(
        self, root: str, label_map: Mapping[str, str | None] | None = None, own_classes: bool = False, **loading: Any
    ) -> None:
        super().__init__(**loading)
        self.url = root if "://" in root else None
        self.root = Path(root).expanduser()  # of a URL, once it is read, where it was fetched to
        self.label_map, self.own_classes = label_map, own_classes
        self.given_fit = loading.get("fit")

    def read(self) -> Samples:
        """Read the samples of all shards.

        Raises:
            DatasetNotFoundError: If there are no shards.
            DatasetError: If shards are missing, cut off, changed or not to be reached, samples have no label or are
                there twice, or images cannot be read.
            LabelError: If labels of others' shards are numbers or unknown, and not in ``label_map``.
        """
        lists_alone = self.url is not None and self.stream and not self.as_files
        if self.url:
            found = shards_remote.look(self.url, self.cache_dir, lists_alone)
            self.root, index, fetch, files = found.folder, found.index, found.fetch, found.folder.name
        else:
            path = self.root / FILE
            index, fetch = read_index(path.read_bytes(), path) if path.is_file() else None, None
            files = fingerprint(
                shards_packed.files_of(self.root, index) if index else shards_plain.find(self.root), self.root
            )
        if index:
            self._take_over(index)
        where = self.url if self.url and lists_alone else self.root

        @cache
        def placed() -> list[Placed]:
            if fetch:
                fetch()
            if index:
                return shards_packed.placed(self.root, index, lists_alone)
            return shards_plain.placed(self.root, self.label_map, self.own_classes, self.wanted)

        options = {"size": self.image_size, "channels": self.channels, "fit": self.fit}
        labels = [sorted((self.label_map or {}).items(), key=str), self.own_classes, self.wanted]
        key: dict[str, object] = {"files": files, "labels": labels, **options}
        key |= {"stream": True} if self.stream else {}
        key |= {} if index else {"reading": shards_plain.READING}
        if self.as_files:
            return self._decoded(self.root, placed(), index)
        broken = frozenset[str]()
        if (out := self.excluded) and not is_cached(self.cache_dir, Shards.name, key):
            listed = placed()
            broken = unusable(_tars(where, listed), [p.path for p in listed if readable(p.sample.id) in out])
            key = {**key, "unreadable": sorted(broken)} if broken else key
        # The caches' folders are not called by a name that a file says.
        return cached(self.cache_dir, Shards.name, key, lambda: self._decoded(where, placed(), index, broken, files))

    def _take_over(self, index: Index) -> None:
        """Be the dataset that was packed."""
        if self.label_map or self.own_classes:
            key = "label_map" if self.label_map else "own_classes"
            named = ", ".join(index.classes)
            raise ConfigError(f"data.{key}: {self.url or self.root}/{FILE} names the classes: {named}. Leave it out.")
        self.name, self.fit, self.draw_targets = index.name, self.given_fit or index.fit, index.draw_targets
        self.image_size, self.channels = self.image_size or index.image_size, self.channels or index.channels

    def _decoded(
        self,
        root: Path | str,
        placed: Sequence[Placed],
        index: Index | None,
        broken: frozenset[str] | None = None,
        source: str = "",
    ) -> Samples:
        """Return the samples, decoded where it is said which images are not to be.

        Args:
            root: The folder of the shards, or their URL.
            placed: The samples.
            index: What ``shards.json`` says.
            broken: Names of images that are not decoded; None to decode none.
            source: A fingerprint of the files.
        """
        samples = [one.sample for one in placed]
        classes = index.classes if index else in_order(sample.label for sample in samples)
        tars, paths = _tars(root, placed), [one.path for one in placed]
        if broken is None:
            images = np.zeros((len(samples), 0, 0), np.uint8)
        else:
            stored = how_stored(tars, paths, self.image_size, self.channels, fit=self.fit)
            images = read_images(tars, paths, stored, self.fit, self.cache_dir, None, broken, source, self.stream)
        labels = np.array([classes.index(sample.label) for sample in samples], dtype=np.int64)
        targets = np.eye(len(classes), dtype=np.float32)[labels]
        voted = [row for row, sample in enumerate(samples) if sample.target]
        for row in voted:
            targets[row] = [(samples[row].target or {}).get(name, 0) for name in classes]
        whole = sfew.film if self.name == "sfew" and (self.in_folds or self.fold is not None) else str
        subjects = np.array([whole(sample.subject) for sample in samples])
        attributes = sorted({name for sample in samples for name in sample.attributes})
        return with_readable_names(
            Samples(
                images=images,
                labels=labels,
                splits=np.array([one.split for one in placed]),
                ids=np.array([sample.id for sample in samples]),
                classes=classes,
                subjects=subjects if all(subjects) else None,
                targets=targets if voted else None,
                attributes={a: np.array([s.attributes.get(a, "") for s in samples]) for a in attributes},
                files=Files(tars, paths) if broken is None else None,
            )
        )


def _tars(root: Path | str, placed: Sequence[Placed]) -> Tars:
    return Tars(root, {one.path: one.member(root) for one in placed})
