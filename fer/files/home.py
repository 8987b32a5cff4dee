"""Paths that begin with ``~``. Imports nothing slow."""

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """Return a path whose ``~`` or ``~user`` is that user's home; of no user's it stays as it is.

    :meth:`pathlib.Path.expanduser` raises ``RuntimeError`` there, and editors call files ``~backup.jpg``.
    """
    return Path(os.path.expanduser(path))
