"""Where classes stand today that checkpoints and run folders of earlier versions name by their old place."""

from collections.abc import Mapping
from typing import Any

MOVED = {
    "fer.losses": "fer.training.losses",
    "fer.optim": "fer.training.optim",
    "fer.callbacks": "fer.training.callbacks",
} | {
    f"fer.data.{name}": f"fer.datasets.{name}"
    for name in (
        "affectnet", "ckplus", "combined", "expw", "fer2013", "ferplus", "folder", "jaffe", "kdef", "rafdb", "sfew",
        "synthetic",
    )
}  # fmt: skip
"""Old module to new module."""


def current(node: Any) -> Any:
    """Return a config node whose ``_target_``, if it has moved, is named by its new place. Looks no deeper."""
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        return node
    module, _, name = node["_target_"].rpartition(".")
    return {**node, "_target_": f"{MOVED[module]}.{name}"} if module in MOVED else node
