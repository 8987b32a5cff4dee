"""Tar shards of a dataset: each written whole or not at all, so that a killed packing goes on after the last one."""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import count
from pathlib import Path

import numpy as np

from fer.data.samples import SPLITS, Samples
from fer.data.source_files import fingerprint
from fer.data.tars import Tars
from fer.errors import ConfigError, DatasetError
from fer.files import shards as files
from fer.files.atomic import writing
from fer.files.checksum import sha256
from fer.files.shards import Index, Sample, Shard
from fer.packing.encoding import Encoded, encoded

BEGUN = ".packing.json"
"""Says what is being packed, until ``shards.json`` does."""

_MB = 10**6
_BLOCK = 2**12  # images whose pixels are hashed at a time


def pack(
    samples: Samples,
    folder: Path,
    shard_mb: float,
    name: str,
    fit: str,
    draw_targets: bool = False,
    image_size: int | None = None,
    channels: int | None = None,
) -> tuple[Index, int]:
    """Write all samples that are in a split as shards of that split, in their order.

    Args:
        samples: The dataset.
        folder: Where to; made if it is not there.
        shard_mb: A shard is closed before it becomes larger than this, in MB of images.
        name: The dataset's name.
        fit: How its oblong images become square.
        draw_targets: Whether training draws labels from its votes.
        image_size: To which side its images are brought when they are read; None for their own.
        channels: 1 where they are read as grey ones, 3 as RGB; None for their own.

    Returns:
        What ``shards.json`` says, and the number of samples that an earlier start had packed.

    Raises:
        ConfigError: If the folder holds something else, or shards of other data.
        DatasetError: If there are no samples, or images cannot be read.
        UnwritableError: If there is no space, or no permission; complete shards are kept.
    """
    rows = [row for split in SPLITS for row in np.flatnonzero(samples.splits == split).tolist()]
    if not rows:
        raise DatasetError(f"{name}: no sample is in a split; there is nothing to pack.")
    # What is not said is no part of it: as before it could be said.
    read_as = [*([image_size] if image_size else []), *([f"{channels} channels"] if channels else [])]
    content = _content(samples, [name, fit, draw_targets, shard_mb, *read_as])
    before = _begin(folder, content)
    if before is not None:
        return before, len(rows)
    shards = _complete(folder, samples)
    done = sum(shard.samples for shard in shards)
    _write_shards(samples, folder, encoded(samples, rows[done:], fit, done), shards, int(shard_mb * _MB))
    index = Index(name, samples.classes, fit, draw_targets, content, tuple(shards), image_size, channels)
    files.write_index(folder, index)
    (folder / BEGUN).unlink()
    return index, done


def _begin(folder: Path, content: str) -> Index | None:
    """Take a folder for the shards of ``content``, or find them there, complete.

    Raises:
        ConfigError: If it holds something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / files.FILE, folder / BEGUN):
        if not path.is_file():
            continue
        index = files.read_index(path.read_bytes(), path) if path.name == files.FILE else None
        if (index.content if index else path.read_text().strip()) != content:
            raise ConfigError(
                f"to={folder}: holds shards of other data, of a changed dataset, or of another shard_mb. Choose "
                f"another folder, or remove this one."
            )
        if index and all(_is_there(folder, shard) for shard in index.shards):
            return index
    ours = (folder / BEGUN).is_file() or (folder / files.FILE).is_file()
    if not ours and any(not entry.name.startswith(".") and entry.suffix != ".log" for entry in folder.iterdir()):
        raise ConfigError(f"to={folder}: is not empty, and holds no shards of fer.pack. Choose another folder.")
    with writing(folder / BEGUN) as file:
        file.write(content)
    return None


def _is_there(folder: Path, shard: Shard) -> bool:
    path = folder / shard.file
    return path.is_file() and path.stat().st_size == shard.bytes and (folder / shard.index).is_file()


def _complete(folder: Path, samples: Samples) -> list[Shard]:
    """Return the shards that an earlier start completed: those before the first that is missing."""
    shards: list[Shard] = []
    for split in SPLITS:
        left = np.count_nonzero(samples.splits == split)
        for number in count():
            if not left:
                break
            path = folder / f"{split}-{number:06d}.json"
            shard = files.read_samples(path.read_bytes(), path)[0] if path.is_file() else None
            if shard is None or not _is_there(folder, shard):
                return shards
            shards.append(shard)
            left -= shard.samples
    return shards


def _write_shards(samples: Samples, folder: Path, images: Iterator[Encoded], shards: list[Shard], most: int) -> None:
    """Write images, which come split after split, into shards of at most so many bytes; append to ``shards``."""
    item = next(images, None)
    while item is not None:
        split = str(samples.splits[item.row])
        stem = f"{split}-{sum(shard.split == split for shard in shards):06d}"
        listed: list[Sample] = []
        size = 0
        with writing(folder / f"{stem}.tar", "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            while item is not None and samples.splits[item.row] == split:
                size += len(item.content)
                if listed and size > most:
                    break
                listed.append(_add(tar, samples, item))
                item = next(images, None)
        path = folder / f"{stem}.tar"
        shard = Shard(path.name, f"{stem}.json", split, len(listed), path.stat().st_size, sha256(path))
        shards.append(files.write_samples(folder, shard, listed))


def _add(tar: tarfile.TarFile, samples: Samples, item: Encoded) -> Sample:
    """Write one sample's members, and return what is known of it."""
    row, key = item.row, f"{item.row:09d}"
    target = None
    if samples.targets is not None:
        votes = zip(samples.classes, samples.targets[row].tolist(), strict=True)
        target = {name: share for name, share in votes if share}
    sample = Sample(
        key=key,
        image=f"{key}.{item.ending}",
        offset=tar.offset + tarfile.BLOCKSIZE,
        size=len(item.content),
        label=samples.classes[samples.labels[row]],
        id=str(samples.ids[row]),
        subject="" if samples.subjects is None else str(samples.subjects[row]),
        target=target,
        attributes={name: str(values[row]) for name, values in samples.attributes.items()},
    )
    _member(tar, sample.image, item.content)
    _member(tar, f"{key}.json", json.dumps(sample.known()).encode())
    _member(tar, f"{key}.cls", str(samples.labels[row]).encode())  # what other programs read
    return sample


def _member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # of no time and no user: the same data make the same shard
    info.size = len(content)
    tar.addfile(info, BytesIO(content))


def _content(samples: Samples, settings: Sequence[object]) -> str:
    """Return a hash of all that the shards depend on; of files it is their sizes, times and some of their bytes."""
    digest = hashlib.sha256(json.dumps([files.FORMAT, *settings, samples.classes]).encode())
    arrays = [samples.splits, samples.ids, samples.labels, samples.targets, samples.subjects]
    for values in [*arrays, *(samples.attributes[name] for name in sorted(samples.attributes))]:
        digest.update(b"-" if values is None else np.ascontiguousarray(values).tobytes())
    if samples.files is None:
        for start in range(0, len(samples), _BLOCK):
            digest.update(np.ascontiguousarray(samples.images[start : start + _BLOCK]).tobytes())
    else:
        root = samples.files.root
        base, paths = (Path(root.root), root.files) if isinstance(root, Tars) else (root, samples.files.paths)
        digest.update(fingerprint(paths, base).encode())
        digest.update(repr((samples.files.paths, samples.files.boxes)).encode())
    return digest.hexdigest()
