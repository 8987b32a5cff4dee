"""The on-disk cache of decoded datasets: images are decoded once and memory-mapped from then on.

One folder per dataset and key, ``<cache_dir>/<name>-<hash of the key>/``: ``images.npy``, ``labels.npy``,
``splits.npy``, ``ids.npy``, what else the dataset knows (``subjects.npy``, ``targets.npy``, ``attributes/*.npy``) and a
readable ``meta.json``. Of images that are streamed there is ``streamed/*.npy`` in place of ``images.npy``: where they
stand, and their fingerprints. The key holds everything that decides the content, such as the source files' fingerprint
and the stored size, so changed data makes another folder. ``meta.json`` holds checksums of all files, checked whenever
a cache is opened; a damaged cache is made again. Deleting a folder is always safe.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer.data import unfinished
from fer.data.cache_lock import alone, machine
from fer.data.quality import flat, oddities
from fer.data.samples import Samples, with_readable_names
from fer.data.scratch import cannot_write
from fer.data.streamed import How, Streamed

log = logging.getLogger(__name__)

FORMAT = 3
"""Raised whenever a cache's files, or how images are decoded, change; part of every key."""

_STREAMED = "streamed/"
_ITEMS = 2**10  # of a key's list that are hashed at a time
_BLOCK = 2**20  # bytes of a cached file under one checksum
_CHECKED = 2**9  # blocks checked when a cache is opened; of larger files, a new random choice each time
_FORGOTTEN = 24 * 3600  # seconds after which a half-written folder of an unknown process is removed


def default_cache_dir() -> Path:
    """Return ``$FER_CACHE``, else ``fer`` in the user's cache folder: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if folder := os.environ.get("FER_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fer"


def cached(cache_dir: Path, name: str, key: Mapping[str, object], build: Callable[[], Samples]) -> Samples:
    """Open a dataset's cache; if it is absent or damaged, read the dataset and write the cache first.

    Of several processes on a machine, or on machines that share the folder, one does so while the others wait
    (:mod:`fer.data.cache_lock`). Where the file system has no locks each writes a folder of its own, and the first one
    is kept.

    Args:
        cache_dir: The folder of all caches.
        name: The dataset's name, for the folder's name.
        key: Everything that decides the content, as plain data.
        build: Reads the dataset.

    Returns:
        The samples, with ``images`` memory-mapped and read-only.

    Raises:
        DatasetError: If the cache cannot be written (no space left, no permission).
    """
    folder, text = _folder(cache_dir, name, key)
    samples = _load(folder)
    if samples is not None:
        return samples
    with alone(folder):
        samples = _load(folder)
        if samples is None:
            _remove_abandoned(cache_dir)
            unfinished.remove_old(cache_dir)
            built = with_readable_names(build())
            _store(folder, built, name, json.loads(text))
            samples = _load(folder)
        # None: another process found the folder damaged and is replacing it right now.
        return built if samples is None else samples


def is_cached(cache_dir: Path, name: str, key: Mapping[str, object]) -> bool:
    """Say whether :func:`cached` would find the dataset, damaged or not."""
    return _folder(cache_dir, name, key)[0].is_dir()


def _folder(cache_dir: Path, name: str, key: Mapping[str, object]) -> tuple[Path, str]:
    """Return a cache's folder, and the key as text."""
    # A key may hold the list of all files, which meta.json need not repeat.
    short = {part: hash_of_list(value) if isinstance(value, list) else value for part, value in key.items()}
    text = json.dumps({"format": FORMAT, **short}, sort_keys=True, default=str)
    return cache_dir / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}", text


def hash_of_list(items: Iterable[object]) -> str:
    """Return what stands for a list in a cache's key: it need not fit into memory, nor be hashed more than once.

    Args:
        items: The list's items, as plain data.
    """
    digest, left, between = hashlib.sha256(b"["), iter(items), ""
    while some := list(islice(left, _ITEMS)):
        digest.update((between + json.dumps(some, sort_keys=True, default=str)[1:-1]).encode())
        between = ", "
    digest.update(b"]")
    return digest.hexdigest()


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _load(folder: Path) -> Samples | None:
    """Return a cache's samples, or None if there is none; a damaged one is removed."""
    if not folder.is_dir():
        return None
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta.pop("checksum") != _hash(meta):
            raise ValueError("meta.json is not as it was written")
        for name, written in meta["arrays"].items():
            _check(folder / f"{name}.npy", written)
        mapped = {name: name == "images" or name.startswith(_STREAMED) for name in meta["arrays"]}
        arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r" if large else None) for n, large in mapped.items()}
        images: Any = _streamed(meta["streamed"], arrays) if "streamed" in meta else arrays.pop("images")
        attributes = {name: arrays.pop(f"attributes/{name}") for name in meta["attributes"]}
        samples = Samples(images=images, classes=tuple(meta["classes"]), attributes=attributes, **arrays)
        for oddity in meta["oddities"]:
            log.warning("%s", oddity)
        return samples
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("The cache %s is damaged (%s); the dataset is read again.", folder, error)
        # Moved aside first: no process may meet a half-deleted folder. Another may have done it already.
        aside = _beside(folder)
        with suppress(OSError):
            folder.rename(aside)
            shutil.rmtree(aside)
        return None


def _streamed(said: Mapping[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Streamed:
    """Return images that are streamed, taking what is known of them out of the arrays."""
    known = {name.removeprefix(_STREAMED): arrays.pop(name) for name in list(arrays) if name.startswith(_STREAMED)}
    return Streamed(said["root"], How(**said["how"]), said["grey"], known, said["black"])


def _store(folder: Path, samples: Samples, name: str, key: dict[str, object]) -> None:
    images: Any = samples.images
    streamed = images if isinstance(images, Streamed) else None
    arrays: dict[str, npt.NDArray[Any]] = {} if streamed else {"images": samples.images}
    arrays |= {"labels": samples.labels, "splits": samples.splits, "ids": samples.ids}
    arrays |= {name: value for name in ("subjects", "targets") if (value := getattr(samples, name)) is not None}
    arrays |= {f"attributes/{name}": value for name, value in samples.attributes.items()}
    meta: dict[str, Any] = {
        "count": len(samples),
        "classes": list(samples.classes),
        "shape": list(samples.images.shape[1:]),
        "attributes": list(samples.attributes),
        "oddities": oddities(samples.images, flat(samples.images), samples.ids, name),
        "key": key,
    }
    if streamed:
        arrays |= {_STREAMED + known: value for known, value in streamed.arrays.items()}
        meta["streamed"] = {"root": streamed.root, "how": asdict(streamed.how), "grey": streamed.grey}
        meta["streamed"]["black"] = sorted(streamed.black)
    temporary = _beside(folder)
    try:
        temporary.mkdir(parents=True)
        meta["arrays"] = {}
        for part, array in arrays.items():
            (temporary / part).parent.mkdir(exist_ok=True)
            _write(temporary / f"{part}.npy", array)
            meta["arrays"][part] = _checksums(temporary / f"{part}.npy")
        meta["checksum"] = _hash(meta)
        (temporary / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            # Another process was first, with the same content.
    except OSError as error:
        raise cannot_write(folder, sum(array.nbytes for array in arrays.values()), error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _checksums(path: Path) -> dict[str, Any]:
    """Return a file's size and the CRC-32 of each of its blocks: fast, and enough against damage."""
    with path.open("rb") as file:
        blocks = [zlib.crc32(block) for block in iter(lambda: file.read(_BLOCK), b"")]
    return {"bytes": path.stat().st_size, "crc32": " ".join(f"{block:08x}" for block in blocks)}


def _check(path: Path, written: Mapping[str, Any]) -> None:
    """Compare a file with its checksums; of more than 512 blocks, with a random choice of 512.

    Raises:
        ValueError: If it is not as it was written.
    """
    blocks = written["crc32"].split()
    numbers: Iterable[int] = range(len(blocks))
    if len(blocks) > _CHECKED:  # 43 GB would take a minute
        numbers = sorted(np.random.default_rng().choice(len(blocks), _CHECKED, replace=False).tolist())
    if path.stat().st_size != written["bytes"]:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, {written['bytes']} were written")
    with path.open("rb") as file:
        for number in numbers:
            file.seek(number * _BLOCK)
            if f"{zlib.crc32(file.read(_BLOCK)):08x}" != blocks[number]:
                raise ValueError(f"{path.name} is not as it was written")


def _beside(folder: Path) -> Path:
    """Return the name of a temporary folder beside a cache's; it names this process."""
    return folder.with_name(f".{folder.name}-{machine()}-{os.getpid()}-{uuid.uuid4().hex}")


def _remove_abandoned(cache_dir: Path) -> None:
    """Remove half-written folders of dead processes, and those that have not changed for a day."""
    pattern = re.compile(r"\.\w+-[0-9a-f]{12}(?:-([0-9a-f]{8})-(\d+))?-[0-9a-f]{32}")
    for folder in cache_dir.glob(".*"):
        if not (found := pattern.fullmatch(folder.name)):
            continue
        with suppress(OSError):
            ours = found[1] == machine() and os.name == "posix"
            newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if (ours and not _is_alive(int(found[2]))) or time.time() - newest > _FORGOTTEN:
                shutil.rmtree(folder)
                log.info("removed %s, which a killed process left behind", folder)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


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
