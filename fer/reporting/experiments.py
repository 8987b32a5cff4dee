"""Which runs are one experiment, and by what experiments differ."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fer.config.groups import flat
from fer.files.run_folder import REPEATS
from fer.reporting.runs import Run

# What makes no other experiment: where and how fast a run was made, its seed, and its fold.
_IDLE = (
    *REPEATS, "name", "output_dir", "ckpt", "trust", "data.root", "data.cache_dir", "data.num_workers",
    "trainer.enable_progress_bar", "cache_features", "select_by",
)  # fmt: skip


def choices_of(run: Run, with_repeats: bool = False) -> dict[str, Any]:
    """Return what a run's experiment chose, by key: the same for runs that differ in seed or fold alone.

    Args:
        run: The run.
        with_repeats: Add its seed and fold.
    """
    home, repeats = str(run.config.get("output_dir") or ""), REPEATS if with_repeats else ()
    return {
        key: value for key, value in flat(run.config).items()
        if key in repeats or (key not in _IDLE and not key.startswith("logger") and not _is_below(value, home))
    }  # fmt: skip


def _is_below(value: Any, home: str) -> bool:
    """Say whether a choice is the run's folder, or a path in it: what is another one in every run."""
    if not home or not isinstance(value, str):
        return False
    # A folder's name of one word may be a choice too: output_dir=adamw optimizer=adamw.
    return value.startswith(f"{home}/") or (value == home and "/" in home)


def differing(alike: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys by which experiments differ.

    Where they differ in a whole component (``optimizer.name``), its options count only if they differ between
    experiments that share it.
    """
    keys = list(dict.fromkeys(key for choices in alike for key in choices))
    differ = [key for key in keys if _several(alike, key)]
    for what in [key for key in differ if _component(key)]:
        shared: dict[Any, list[Mapping[str, Any]]] = {}
        for choices in alike:
            shared.setdefault(choices.get(what), []).append(choices)
        node = f"{_component(what)}."
        differ = [
            key for key in differ
            if key == what or not key.startswith(node) or any(_several(group, key) for group in shared.values())
        ]  # fmt: skip
    return sorted(differ, key=lambda key: not _component(key))


def _component(key: str) -> str:
    """Return the node that a key names what it is of: ``optimizer`` for ``optimizer.name``; else nothing."""
    node, _, leaf = key.rpartition(".")
    return node if leaf in ("_target_", "name") else ""


def _several(alike: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({json.dumps(choices.get(key), default=str) for choices in alike}) > 1


def told(choices: Mapping[str, Any], differ: Sequence[str], name: str) -> str:
    """Say in a few words by what an experiment differs from others with the same network; else its first run's name."""
    if not choices or len(differ) > 3:
        return name if differ or not choices else ""
    keys = [_component(key) or key for key in differ]
    leaves = [key.rpartition(".")[2] for key in keys]
    short = [leaf if leaves.count(leaf) == 1 else key for leaf, key in zip(leaves, keys, strict=True)]
    values = [
        str(choices.get(key)).rpartition(".")[2] if key.endswith("_target_") else choices.get(key) for key in differ
    ]
    there = [key in choices for key in differ]
    return " ".join(f"{said}={value}" for said, value, has in zip(short, values, there, strict=True) if has)
