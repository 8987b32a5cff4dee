"""Whether what a file holds is plain data: nothing that a config would call, look up or never come to the end of."""

import math
from collections.abc import Mapping
from typing import Any

from fer.errors import ConfigError

_MOST_VALUES = 10_000  # in one node; a network's options are a few dozen
_DEEPEST = 12


def check_plain(value: Any, where: str) -> None:
    """Refuse what is not plain data: other types, Hydra's words (``_target_``, ``_args_``), and nests without end.

    Raises:
        ConfigError: Naming where it stands.
    """
    pending: list[tuple[Any, str, int]] = [(value, where, 0)]
    seen = 0
    while pending:  # a loop: a nest may be deeper than Python's stack, or name one list a million times
        item, place, depth = pending.pop()
        seen += 1
        if seen > _MOST_VALUES or depth > _DEEPEST:
            raise ConfigError(f"its {where} holds more values than any network or loss has options")
        if isinstance(item, Mapping):
            for key, inner in item.items():
                if not isinstance(key, str) or (key.startswith("_") and key.endswith("_")):
                    raise ConfigError(f"its {place} holds {key!r}, which is no option. Nothing in it was run")
                pending.append((inner, f"{place}.{key}"[:200], depth + 1))
        elif isinstance(item, list | tuple):
            pending += [(inner, f"{place}[{number}]"[:200], depth + 1) for number, inner in enumerate(item)]
        elif not (item is None or isinstance(item, bool | int | float | str)):
            raise ConfigError(f"its {place} is a {type(item).__name__}, no plain data")
        elif isinstance(item, float) and not math.isfinite(item):
            raise ConfigError(f"its {place} is {item}, no finite number")
        elif isinstance(item, str) and "${" in item:  # OmegaConf would resolve it: ${oc.env:...}
            raise ConfigError(f"its {place} is an interpolation ({item[:100]!r}), no plain data")
