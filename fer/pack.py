"""Any dataset as tar shards: ``python -m fer.pack data=folder data.root=<folder> to=<folder>``."""

from typing import TYPE_CHECKING

from fer.cli import command
from fer.cli.in_python import settled
from fer.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def pack(cfg: "DictConfig") -> None:
    """Write a dataset, with its splits, as WebDataset shards, which ``data=shards`` reads.

    A repeated command does what is left.

    Args:
        cfg: The composed ``conf/pack.yaml``.

    Raises:
        FERError: If no dataset is named, it cannot be read, or the folder holds something else.
    """
    config = settled(cfg)
    if config.get("data") is None:
        raise ConfigError("data: which dataset? For example data=fer2013 data.root=<folder>, or data=synthetic.")
    # Imported here, so that a mistake in the command is reported before the seconds that torch takes.
    from pathlib import Path

    from fer import environment
    from fer.build import build
    from fer.data.cache_lock import alone
    from fer.packing import telling, writing

    for key in ("refine", "select_on_test", "fold"):
        if (value := config["data"].get(key)) is not None and value is not False:
            raise ConfigError(f"data.{key}: says how to train and not what to pack. Say it with data=shards.")
    to, root = Path(config["to"]).expanduser(), config["data"].get("root")
    if root is not None and Path(root).expanduser().resolve() in (to.resolve(), *to.resolve().parents):
        raise ConfigError(f"to={to}: lies in the dataset's folder. Choose a folder beside it.")
    environment.quieten(first=True)
    datamodule = build(config["data"], "data")
    datamodule.as_files = True
    datamodule.use_own_splits()
    with alone(to):
        index, before = writing.pack(
            datamodule.samples,
            to,
            config["shard_mb"],
            datamodule.name,
            datamodule.fit,
            datamodule.draw_targets,
            datamodule.image_size,
            datamodule.channels,
        )
    telling.tell(to, index, before)
    telling.warn_of_carved(datamodule)


def main() -> None:
    """Compose the config from the command line and pack."""
    command.run(pack, "pack")


if __name__ == "__main__":
    # Through the import: Hydra names the log file by the function's module.
    from fer.pack import main as entry

    entry()
