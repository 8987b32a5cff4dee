"""Leaving samples out by a list: nothing on disk is touched."""

import csv
import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer.data.samples import Samples, readable
from fer.errors import ConfigError
from fer.files.csv_table import from_csv

log = logging.getLogger(__name__)


def listed_ids(path: Path) -> frozenset[str]:
    """Read the ids of samples to leave out.

    Args:
        path: A csv file with a column ``id``, and perhaps ``reason``.

    Raises:
        ConfigError: If the file is absent, is no csv file or has no column ``id``.
    """
    if not path.is_file():
        raise ConfigError(
            f"data.exclude={path}: no such file. python -m fer.audit writes one, with columns id, reason."
        )
    try:
        # Spreadsheets write a byte-order mark; names of files need not be UTF-8.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            if "id" not in (reader.fieldnames or ()):
                columns = readable(", ".join(reader.fieldnames or ("none",)))
                raise ConfigError(f"data.exclude={path}: has no column 'id'; its columns are: {columns[:200]}.")
            return frozenset(readable(from_csv(row["id"])) for row in reader if row["id"])
    except (OSError, csv.Error) as error:
        raise ConfigError(f"data.exclude={path}: cannot be read as a csv file ({error}).") from error


def exclude(samples: Samples, path: Path, name: str, unused: Collection[str] = ()) -> Samples:
    """Take the samples that a csv file lists out of every split.

    Args:
        samples: The dataset.
        path: A csv file with a column ``id``, and perhaps ``reason``.
        name: The dataset's name.
        unused: Ids that are the dataset's too, though none of the samples has them.

    Raises:
        ConfigError: If the file cannot be used, or names no sample of this dataset.
    """
    ids = listed_ids(path)
    out = np.isin(samples.ids, sorted(ids))
    known = ids & {*samples.ids[out].tolist(), *unused}
    if ids and not known:
        raise ConfigError(
            f"data.exclude={path}: none of its {len(ids)} ids is a sample of {name} (whose ids look like "
            f"'{samples.ids[0]}'). Is it the list of another dataset, or of another form of this one?"
        )
    if unknown := len(ids - known):
        log.warning("data.exclude=%s: %d of its %d ids are no samples of %s.", path, unknown, len(ids), name)
    counts = {split: int((samples.splits[out] == split).sum()) for split in ("train", "val", "test")}
    said = ", ".join(f"{count} {split}" for split, count in counts.items() if count)
    log.info("%s: %d images are left out by %s (%s).", name, int(out.sum()), path, said or "none in a split")
    return replace(samples, splits=np.where(out, "", samples.splits))
