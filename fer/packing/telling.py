"""What was packed, on the terminal."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from fer.data.samples import SPLITS
from fer.display import cell, say
from fer.files.shards import Index

if TYPE_CHECKING:
    from fer.data.base import FERDataModule

log = logging.getLogger(__name__)


def warn_of_carved(datamodule: "FERDataModule") -> None:
    """Warn of splits that were carved out of the parts of a combined dataset: the shards keep them as they are."""
    parts: Mapping[str, FERDataModule] = getattr(datamodule, "parts", {})
    if carved := [f"{split} of {name}" for name, part in parts.items() for split in part.carved]:
        log.warning(
            "%s: what it lacks was carved when it was packed (%s), with data.split_seed=%d. Trainings on the shards "
            "share these splits, whatever their seed. Pack it again with another data.split_seed for others.",
            datamodule.name, ", ".join(carved), datamodule.split_seed,
        )  # fmt: skip


def tell(folder: Path, index: Index, before: int) -> None:
    """Print a table of the splits, and what an earlier start had done.

    Args:
        folder: Where the shards are.
        index: What they are.
        before: Number of samples that an earlier start had packed.
    """
    console = Console()
    table = Table(box=None)
    for number, name in enumerate(("split", "images", "shards", "MB")):
        table.add_column(cell(name), justify="right" if number else "left")
    for split in (*SPLITS, "all"):
        shards = [shard for shard in index.shards if split in (shard.split, "all")]
        if shards:
            images, size = sum(shard.samples for shard in shards), sum(shard.bytes for shard in shards)
            table.add_row(*map(cell, (split, f"{images:,}", f"{len(shards):,}", f"{size / 1e6:,.1f}")))
    console.print(table)
    if before:
        say(console, f"images that an earlier start had packed: {before:,}.")
    say(console, f"train on them: python -m fer.train data=shards data.root={folder}")
