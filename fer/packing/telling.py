"""What was packed, on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from fer.data.samples import SPLITS
from fer.display import cell, say
from fer.files.shards import Index


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
