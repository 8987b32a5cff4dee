"""Text and JSON of files that somebody else may have written: only data, and perhaps damaged. Imports nothing slow.

A reader raises ``OSError`` or ``ValueError``, and nothing else.
"""

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer.files.atomic import writing

_LARGEST = 2**26  # bytes of a file that is read as a whole


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file (reading a pipe would never end), larger than 64 MiB, or no UTF-8.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > _LARGEST:
        raise ValueError(f"it has {status.st_size:,} bytes")
    return path.read_text(encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON object.
    """
    try:
        content = json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain data as JSON with line breaks, whole or not at all.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    with writing(path) as file:
        file.write(json.dumps(values, indent=2) + "\n")
