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
MOVED_CLASSES = {
    "fer.progress.RunProgress": "fer.training.progress.RunProgress",
    "fer.training.callbacks.EventLogger": "fer.training.loggers.EventLogger",
    "fer.training.callbacks.HistoryLogger": "fer.training.loggers.HistoryLogger",
    "fer.training.callbacks.OptunaPruning": "fer.training.stopping.OptunaPruning",
    "fer.training.callbacks.StopOnSignal": "fer.training.stopping.StopOnSignal",
}
"""Old class, by the new name of its module, to new class."""


def current(node: Any) -> Any:
    """Return a config node whose ``_target_``, if it has moved, is named by its new place. Looks no deeper."""
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        return node
    module, dot, name = node["_target_"].rpartition(".")
    place = f"{MOVED.get(module, module)}{dot}{name}"
    place = MOVED_CLASSES.get(place, place)
    return node if place == node["_target_"] else {**node, "_target_": place}


def all_current(node: Any) -> Any:
    """Return a config in which every node is :func:`current`: of a whole run, to be compared with another."""
    if isinstance(node, Mapping):
        return {key: all_current(value) for key, value in current(node).items()}
    return [all_current(value) for value in node] if isinstance(node, list) else node
