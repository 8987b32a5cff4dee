"""One option's value: its type, then its range, its choices, its items."""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from fer.config import signatures
from fer.config.option_rules import PRECISIONS, Rule
from fer.config.quoting import is_path
from fer.errors import did_you_mean


def shown(value: Any) -> str:
    """Return a value as the command line writes it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{shown(item)}' for key, item in value.items())}}}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def wrong_value(key: str, value: Any, rule: Rule, annotation: str | None) -> list[str]:
    """Say what is wrong with a value, in a sentence that begins with its key; nothing if it is right.

    Args:
        key: Its full key.
        value: The value.
        rule: The rule for the key.
        annotation: The option's type; None where that is not known.
    """
    if endless := [number for number in _numbers(value) if not isfinite(number)]:
        return [f"{key}={shown(value)}: must be a finite number, not {endless[0]}."]
    kinds = signatures.kinds(annotation) if annotation else ()
    if rule.choices:
        return _not_among(key, value, rule.choices)
    if key.endswith("precision") and isinstance(value, str | int) and not isinstance(value, bool):
        return _not_among(key, str(value), PRECISIONS)
    if kinds and not any(kind.fits(value) for kind in kinds):
        return [f"{key}={shown(value)}: must be {_allowed(key, value, kinds)}"]
    if key == "trainer.devices":
        return _wrong_devices(value)
    if key == "trainer.max_time" and value is not None:
        return _wrong_time(value)
    if value == [] and rule.not_empty:
        return [f"{key}=[]: needs at least one."]
    if value == "" and is_path(key):
        return [f"{key}=: needs a path{', or null for none' if key not in ('output_dir', 'runs', 'to') else ''}."]
    if rule.items and isinstance(value, list):
        return [
            f"{key}: '{shown(item)}' must be one of {', '.join(rule.items)}.{did_you_mean(str(item), rule.items)}"
            for item in value
            if item not in rule.items
        ]
    return _out_of_range(key, value, rule)


def _allowed(key: str, value: Any, kinds: Sequence[signatures.Kind]) -> str:
    words = [kind.words for kind in kinds]
    text = " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} or {words[-1]}"
    if isinstance(value, list | Mapping) or value is None:
        return f"{text}."
    if any(word.startswith("a list of") for word in words):
        text += f": {key}=[{shown(value)},...]"
    choices = [str(choice) for kind in kinds for choice in kind.choices]
    return f"{text}.{did_you_mean(shown(value), choices)}"


def _not_among(key: str, value: Any, allowed: tuple[Any, ...]) -> list[str]:
    if any(value == choice and type(value) is type(choice) for choice in allowed):
        return []
    hint = did_you_mean(str(value), map(str, allowed))
    return [f"{key}={shown(value)}: must be one of {', '.join(map(shown, allowed))}.{hint}"]


def _numbers(value: Any) -> list[float]:
    """Return the numbers in a value, which may be a list or a nest of options."""
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, Mapping):
        return _numbers(list(value.values()))
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def _out_of_range(key: str, value: Any, rule: Rule) -> list[str]:
    if isinstance(value, Mapping):
        return []
    most = 1 if rule.share and isinstance(value, float) else rule.at_most
    for number in _numbers(value):
        inside = rule.at_least <= number <= most and rule.above < number < rule.below
        if inside or number == rule.also:
            continue
        bounds = (("at least", rule.at_least), ("above", rule.above), ("at most", most), ("below", rule.below))
        limits = " and ".join(f"{word} {bound:g}" for word, bound in bounds if abs(bound) < 2**31)
        special = f", or {rule.also}" if rule.also is not None else ""
        share = " (a share of the batches; a number of them is a whole number)" if most == 1 and rule.share else ""
        return [f"{key}={shown(value)}: must be {limits}{special}{share}."]
    return []


def _wrong_devices(value: Any) -> list[str]:
    numbers = _numbers(value)
    if isinstance(value, list):
        fine = bool(numbers) and min(numbers) >= 0 and len(set(numbers)) == len(numbers)
    elif isinstance(value, str):
        fine = re.fullmatch(r"auto|-1|\d+(,\d+)*,?", value.replace(" ", "")) is not None
    else:
        fine = value == -1 or 1 <= value <= 1024
    wanted = "a number of devices from 1, a list of their indices ([0,1]), -1 for all, or auto"
    return [] if fine else [f"trainer.devices={shown(value)}: must be {wanted}."]


def _wrong_time(value: Any) -> list[str]:
    units = ("days", "hours", "minutes", "seconds", "weeks")
    if isinstance(value, Mapping):
        fine = bool(value) and all(key in units and _numbers(number) == [number] for key, number in value.items())
        long = fine and sum(value.values()) > 0
    else:
        fine = isinstance(value, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value.strip()) is not None
        long = fine and any(part.strip("0") for part in value.split(":"))
    if long:
        return []
    return [f"trainer.max_time={shown(value)}: must be days:hours:minutes:seconds, more than none: 00:08:00:00."]
