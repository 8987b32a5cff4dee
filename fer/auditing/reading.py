"""A dataset as an audit needs it: its samples, without the packages that a DataModule takes to read them."""

import multiprocessing
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from fer.data.samples import Samples
from fer.errors import FERError


@dataclass(frozen=True)
class Dataset:
    """What is known of a dataset with the splits that it has on disk.

    Attributes:
        name: Its name.
        samples: All that is in a split.
        root: Its folder; None if it has none.
        fit: How its images become square, one of :data:`fer.data.squares.FITS`.
        cache_dir: Where its decoded images are kept.
    """

    name: str
    samples: Samples
    root: Path | None
    fit: str
    cache_dir: Path


def read(nodes: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, Dataset]:
    """Read datasets in a process of their own: torch and Lightning, 700 MiB of imports, are gone with it.

    Where they are in memory already (in a notebook), or where a process cannot be split (Windows), they are read here.

    Args:
        nodes: Configs of datasets, by the group that each comes from (``data``).
        seed: As for training.

    Returns:
        The datasets, by the same names.

    Raises:
        FERError: If the packages do not fit together, or a dataset cannot be read.
    """
    if "torch" in sys.modules or "fork" not in multiprocessing.get_all_start_methods():
        found = _read(nodes, seed)
    else:
        found = _read_apart(nodes, seed)
    from fer.auditing.appearance import in_a_split

    return {
        where: replace(dataset, samples=in_a_split(_mapped(dataset.samples), dataset.cache_dir))
        for where, dataset in found.items()
    }


def _read(nodes: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, Dataset]:
    from fer import environment
    from fer.build import build

    environment.check()
    environment.quieten(first=True)
    found = {}
    for where, node in nodes.items():
        datamodule = build(node, where, seed=seed)
        datamodule.use_own_splits()
        root = getattr(datamodule, "root", None)
        found[where] = Dataset(datamodule.name, datamodule.samples, root, datamodule.fit, datamodule.cache_dir)
    return found


@dataclass(frozen=True)
class _File:
    """A memory-mapped array's file, in place of what is in it."""

    path: Path
    offset: int
    shape: tuple[int, ...]


def _read_apart(nodes: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, Dataset]:
    # No pool of processes: its end after Ctrl-C can wait for ever.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_hand_over, args=(sender, nodes, seed))
    process.start()
    sender.close()
    try:
        found: dict[str, Dataset] | Exception = receiver.recv()
    except EOFError:
        raise FERError("The process that reads the dataset was ended from outside, perhaps for its memory.") from None
    finally:
        process.terminate()
        process.join()
    if isinstance(found, Exception):
        raise found
    return found


def _hand_over(to: Connection, nodes: Mapping[str, Mapping[str, Any]], seed: int) -> None:
    """Read datasets, and name the files of their images: the pixels may be more than memory holds."""
    with suppress(KeyboardInterrupt):  # the other process has it too, and says so
        try:
            found = _read(nodes, seed)
            for where, dataset in found.items():
                images = dataset.samples.images
                if isinstance(images, np.memmap) and images.filename is not None:
                    file = _File(Path(str(images.filename)), images.offset, images.shape)
                    found[where] = replace(dataset, samples=replace(dataset.samples, images=file))  # type: ignore[arg-type]
            to.send(found)
        except Exception as error:  # raised again by the process that waits
            to.send(error)


def _mapped(samples: Samples) -> Samples:
    file: Any = samples.images
    if not isinstance(file, _File):
        return samples
    return replace(samples, images=np.memmap(file.path, np.uint8, "r", file.offset, file.shape))
