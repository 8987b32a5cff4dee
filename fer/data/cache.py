"""The on-disk cache of decoded datasets: what was read once is memory-mapped from then on.

One folder per dataset and key, ``<cache_dir>/<name>-<hash of the key>/``: ``images.npy``, ``labels.npy``,
``splits.npy``, ``ids.npy``, what else the dataset knows (``subjects.npy``, ``targets.npy``, ``attributes/*.npy``) and a
readable ``meta.json``. The key holds everything that decides the content,
such as the source files' fingerprint and the stored size, so that changed data makes another folder.
Deleting a folder costs nothing but time.
"""

import errno
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer.data.quality import flat, oddities
from fer.data.samples import Samples
from fer.errors import DatasetError

log = logging.getLogger(__name__)

FORMAT = 2
"""Raised whenever a cache's files, or how images are decoded, change; part of every key."""


def default_cache_dir() -> Path:
    """Return ``$FER_CACHE``, else ``fer`` in the user's cache folder: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if folder := os.environ.get("FER_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fer"


def fingerprint(paths: Iterable[str | Path], root: Path) -> str:
    """Return a hash of source files' relative paths, sizes and modification times; no content is read.

    Args:
        paths: Files, relative to ``root`` or below it; their order does not matter.
        root: The dataset's folder; where it stands makes no difference.
    """
    digest = hashlib.sha256()
    prefix = os.path.join(root, "")
    for full in sorted(os.path.join(prefix, path) for path in paths):
        stat = os.stat(full)
        digest.update(f"{full.removeprefix(prefix)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()


def cached(cache_dir: Path, name: str, key: Mapping[str, object], build: Callable[[], Samples]) -> Samples:
    """Open a dataset's cache; read the dataset and write the cache first, if it is not there or damaged.

    Several processes may do so at once: each writes a folder of its own, and that of the first is kept.

    Args:
        cache_dir: Where all caches are.
        name: The dataset's name, for the folder's name.
        key: What decides the content, as plain data.
        build: Reads the dataset.

    Returns:
        The samples, with ``images`` memory-mapped and read-only.

    Raises:
        DatasetError: If the cache cannot be written (no space left, no permission).
    """
    # A key may hold the whole list of a dataset's files, which meta.json need not repeat.
    short = {part: _hash(value) if isinstance(value, list) else value for part, value in key.items()}
    text = json.dumps({"format": FORMAT, **short}, sort_keys=True, default=str)
    folder = cache_dir / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    samples = _load(folder)
    if samples is None:
        built = build()
        _store(folder, built, name, json.loads(text))
        samples = _load(folder)
    # Another process may have taken the folder for damaged and be replacing it right now.
    return built if samples is None else samples


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def allocate(cache_dir: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return a uint8 array on disk, for images that may not fit into memory.

    Its file has no name (nothing is left behind by a killed process) and lasts as long as the array.

    Raises:
        DatasetError: If there is not enough space.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_dir) as file:
            if hasattr(os, "posix_fallocate"):
                # Running out of space later, while writing through the map, would kill the process (SIGBUS).
                os.posix_fallocate(file.fileno(), 0, math.prod(shape))
            return np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError as error:
        raise _cannot_write(cache_dir, math.prod(shape), error) from error


def _load(folder: Path) -> Samples | None:
    """Return a cache's samples, or None if there is none; a damaged one is removed."""
    if not folder.is_dir():
        return None
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy") for name in meta["arrays"]}
        images = np.load(folder / "images.npy", mmap_mode="r")
        counts = {len(array) for array in (images, *arrays.values())}
        if counts != {meta["count"]}:
            raise ValueError(f"{meta['count']} samples expected, found {sorted(counts)}")
        attributes = {name: arrays.pop(f"attributes/{name}") for name in meta["attributes"]}
        samples = Samples(images=images, classes=tuple(meta["classes"]), attributes=attributes, **arrays)
        for oddity in meta["oddities"]:
            log.warning("%s", oddity)
        return samples
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        log.warning("The cache %s is damaged (%s); the dataset is read again.", folder, error)
        # Moved aside first: no process may meet a half-deleted folder. Another may have done it already.
        aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        with suppress(OSError):
            folder.rename(aside)
            shutil.rmtree(aside)
        return None


def _store(folder: Path, samples: Samples, name: str, key: dict[str, object]) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {"labels": samples.labels, "splits": samples.splits, "ids": samples.ids}
    arrays |= {name: value for name in ("subjects", "targets") if (value := getattr(samples, name)) is not None}
    arrays |= {f"attributes/{name}": value for name, value in samples.attributes.items()}
    meta = {
        "count": len(samples),
        "classes": samples.classes,
        "shape": samples.images.shape[1:],
        "arrays": list(arrays),
        "attributes": list(samples.attributes),
        "oddities": oddities(samples.images, flat(samples.images), samples.ids, name),
        "key": key,
    }
    arrays = {"images": samples.images, **arrays}
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        for part, array in arrays.items():
            (temporary / part).parent.mkdir(exist_ok=True)
            _write(temporary / f"{part}.npy", array)
        (temporary / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            # Another process was first, with the same content.
    except OSError as error:
        raise _cannot_write(folder, sum(array.nbytes for array in arrays.values()), error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an npy file in blocks, so that an array on disk need not fit into memory.

    ``numpy.save`` would not do: on a full disk its error does not say so.
    """
    with path.open("wb") as file:
        header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        step = max(1, 2**24 // max(1, array[:1].nbytes))
        for start in range(0, len(array), step):
            file.write(np.ascontiguousarray(array[start : start + step]).data)


def _cannot_write(folder: Path, size: int, error: OSError) -> DatasetError:
    reason = "no space left" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return DatasetError(
        f"cannot write the decoded images to {folder}: {reason}. {size / 1e6:,.0f} MB are needed. "
        f"Free some space, or choose another place with data.cache_dir=<other folder>."
    )
