"""How far something is: one style of bar on a terminal. Imports nothing slow."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

log = logging.getLogger(__name__)

_BAR = "{desc} {bar} {percentage:3.0f} %  {elapsed}, {remaining} left{postfix}"
_SPINNER = "{desc} {elapsed}"


def bar(what: str, total: int | None, at_least: int = 0, done: int = 0) -> Any:
    """Return a progress bar that is shown only on a terminal and disappears at its end: log files get no control codes.

    Args:
        what: What is being done.
        total: The number of steps.
        at_least: With fewer steps than this, no bar is shown.
        done: Steps of an earlier start.
    """
    hidden = not sys.stderr.isatty() or (total is not None and total < at_least)
    return tqdm(
        desc=what, total=total, initial=done, disable=hidden, leave=False, dynamic_ncols=True, smoothing=0,
        mininterval=0.2, bar_format=_BAR if total else _SPINNER,
    )  # fmt: skip


@contextmanager
def step(what: str) -> Iterator[None]:
    """Show on a terminal what is being done and for how long, and say so in the log when it is done."""
    start, ended = time.monotonic(), threading.Event()
    with bar(what, None) as shown:

        def tick() -> None:
            while not ended.wait(0.5):
                shown.refresh()

        if not shown.disable:
            threading.Thread(target=tick, daemon=True).start()
        try:
            yield
        finally:
            ended.set()
    log.info("%s: %.1f s", what, time.monotonic() - start)


def clock(seconds: float) -> str:
    """Return a duration as ``1:05`` or ``2:01:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
