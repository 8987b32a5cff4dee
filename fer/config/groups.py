"""The config groups on disk, and a nested config as dotted keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def conf_dir() -> Path:
    """Return the folder of the configs: ``fer/conf`` in an installed wheel, ``conf`` beside ``fer`` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def group_names(conf: Path) -> list[str]:
    """Return the names of the config groups."""
    return sorted(path.name for path in conf.iterdir() if path.is_dir() and path.name != "hydra")


def option_names(conf: Path, group: str) -> list[str]:
    """Return the options of a config group."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml") if not path.stem.startswith("_"))


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nest of mappings as dotted keys."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    out: dict[str, Any] = {prefix: node} if prefix and not node else {}
    for key, value in node.items():
        out |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return out
