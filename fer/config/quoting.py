"""Quotes paths and names for Hydra's grammar: with spaces, brackets, ``,``, ``=``, ``~`` and any letters."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from fer.compat import parse_override

PATHS = (
    "cache_dir", "checkpoint_path", "ckpt", "compare", "exclude", "output_dir", "probabilities", "refine", "resume",
    "root", "runs", "source", "teacher", "to", "votes",
)  # fmt: skip
"""What the last part of a key is called where its value is the path of a file or folder."""
_NAMES = ("name", "storage", "dir", "subdir", "file", "images")


def is_path(key: str) -> bool:
    """Say whether the value of a key is the path of a file or folder."""
    return key == "init" or key.rpartition(".")[2] in PATHS  # model.head.init is a word


def quote(text: object) -> str:
    """Return text in the quotes in which Hydra takes it letter by letter."""
    return QuotedString(str(text), Quote.single).with_quotes()


def written(value: Any) -> str:
    """Return a Python value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(written, value)) + "]"
    text = str(value)
    word = re.fullmatch(r"[A-Za-z_][\w./-]*", text) and text.lower() not in ("null", "true", "false", "inf", "nan")
    return text if word else quote(text)


def unquote(value: str) -> str:
    """Return the text that an override's value stands for; a value that is no text as it is."""
    try:
        parsed = parse_override(f"key={value}").value()
    except HydraException:
        return value
    return parsed if isinstance(parsed, str) else value


def quoted(override: str) -> str:
    """Put an override's value into quotes if it is a path or a name that Hydra's grammar takes for something else."""
    key, _, value = override.partition("=")
    if not value or key.startswith("-") or value[0] in "'\"" or _is_text(override, value):
        return override
    if _is_there(value) or ("=" in value and value[0] not in "[{$" and "," not in value):
        return f"{key}={quote(value)}"
    text = is_path(key) or key.rpartition(".")[2] in _NAMES
    return f"{key}={quote(value)}" if text and not _is_read(override) else override


def _is_text(override: str, value: str) -> bool:
    try:
        parsed = parse_override(override)
        return not parsed.is_sweep_override() and parsed.value() == value
    except HydraException:
        return False


def _is_read(override: str) -> bool:
    try:
        parse_override(override)
    except HydraException:
        return False
    return True


def _is_there(value: str) -> bool:
    """Say whether a value names a file or folder; numbers and words that also are one stay what they are."""
    if re.fullmatch(r"[\w.+-]+", value):
        return False
    try:
        return os.path.lexists(Path(value).expanduser())
    except (OSError, RuntimeError, ValueError):
        return False
