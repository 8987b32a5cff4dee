"""Shards of ``fer.pack``: what ``shards.json`` and the lists beside the shards say, checked."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fer import progress
from fer.data.tars import Member
from fer.errors import DatasetError, listing
from fer.files.checksum import sha256
from fer.files.shards import FILE, Index, Sample, read_samples


class Placed(NamedTuple):
    """A sample, and where it is."""

    shard: str
    """The tar file, relative to the folder."""
    split: str
    sample: Sample

    @property
    def path(self) -> str:
        """What names its image: ``train-000000.tar/000000012.jpg``."""
        return f"{self.shard}/{self.sample.image}"

    def member(self, root: Path | str) -> Member:
        """Return where its image's bytes are, below a folder or URL."""
        return Member(root, self.shard, self.sample.image, self.sample.offset, self.sample.size)


def files_of(root: Path, index: Index) -> list[str]:
    """Return the files that the shards are made of, relative to their folder.

    Raises:
        DatasetError: Naming each that is missing, or not as long as it was.
    """
    problems = []
    for shard in index.shards:
        for name, size in ((shard.file, shard.bytes), (shard.index, None)):
            path = root / name
            if not os.path.isfile(path):  # pathlib's own fails for a name that is too long
                problems.append(f"{name} is missing")
            elif size is not None and (found := path.stat().st_size) != size:
                problems.append(f"{name} has {found:,} bytes, and had {size:,} when it was packed")
    if problems:
        raise DatasetError(
            f"{root}: the shards are not as {FILE} says:\n{listing(problems)}\n"
            f"  Copy these files anew, or repeat the command that packed them: it packs what is missing."
        )
    return [FILE, *(name for shard in index.shards for name in (shard.file, shard.index))]


def placed(root: Path, index: Index, lists_alone: bool = False) -> list[Placed]:
    """List the samples of all shards, in the order of the dataset that was packed.

    Args:
        root: The folder of the shards and their lists.
        index: What ``shards.json`` says.
        lists_alone: The shards themselves are elsewhere, and not checked.

    Raises:
        DatasetError: Naming each shard whose content is not what was packed, or samples that are there twice or of a
            class that is none of the index's.
    """
    found: list[Placed] = []
    problems = []
    with progress.bar("checking shards", sum(s.bytes for s in index.shards), at_least=2**30) as bar:
        for shard in index.shards:
            path = root / shard.index
            listed, samples = read_samples(path.read_bytes(), path)
            if listed != shard or len(samples) != shard.samples:
                problems.append(f"{shard.index} is not as it was packed: its sha256 is another")
            elif not lists_alone and sha256(root / shard.file) != shard.sha256:
                problems.append(f"{shard.file} is not as it was packed: its sha256 is another")
            elif any(sample.offset + sample.size > shard.bytes for sample in samples):
                problems.append(f"{shard.index} lists samples beyond the end of {shard.file}")
            found += [Placed(shard.file, shard.split, sample) for sample in samples]
            bar.update(shard.bytes)
    if problems:
        raise DatasetError(f"{root}: shards are damaged:\n{listing(problems)}\n  Copy these files anew.")
    if unknown := [one for one in found if one.sample.label not in index.classes]:
        raise DatasetError(
            f"{root}: {unknown[0].path} is of the class '{unknown[0].sample.label}', which {FILE} does not name; it "
            f"names {', '.join(index.classes)}. Pack the dataset again."
        )
    check_unique(root, found)
    return sorted(found, key=lambda one: one.sample.key)


def check_unique(root: Path, found: Iterable[Placed]) -> None:
    """Refuse two samples with one id.

    Raises:
        DatasetError: Naming both.
    """
    first: dict[str, Placed] = {}
    twice = [
        f"{one.path} and {before.path}: {one.sample.id}"
        for one in found
        if (before := first.setdefault(one.sample.id, one)) is not one
    ]
    if twice:
        raise DatasetError(f"{root}: {len(twice)} samples have another's id:\n{listing(twice)}\n  Each needs its own.")
