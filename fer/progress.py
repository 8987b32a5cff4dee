"""How far something is: one style of bar on a terminal. Imports nothing slow."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

log = logging.getLogger(__name__)

_BAR = "{desc} {bar} {percentage:3.0f} %  {elapsed}, {remaining} left{postfix}"
_SPINNER = "{desc} {elapsed}"
_SAY_S = 60.0  # seconds between two lines of a log


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


@contextmanager
def counted(what: str, unit: str, total: int, at_least: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how many things are done a second: in a bar on a terminal, else in a line a minute; and a line at the end.

    Args:
        what: What is being done (``decoding images``).
        unit: Of what (``images``).
        total: How many there are.
        at_least: With fewer than this, nothing is shown.
        done: How many an earlier process has done.

    Yields:
        A function that takes how many more are done.
    """
    begun = said = time.monotonic()
    count = done
    with bar(what, total, at_least, done) as shown:

        def update(more: int) -> None:
            nonlocal count, said
            count += more
            now = time.monotonic()
            rate = (count - done) / max(now - begun, 1e-9)
            shown.set_postfix_str(f"{rate:,.0f} {unit} a second", refresh=False)
            shown.update(more)
            if shown.disable and total >= at_least and now - said >= _SAY_S:
                said = now
                so_far = f"{count:,} of {total:,} {unit}, {rate:,.0f} a second"
                log.info("%s: %s, %s left", what, so_far, clock((total - count) / rate))

        yield update
    seconds = time.monotonic() - begun
    if total >= at_least and count > done:
        rate = (count - done) / max(seconds, 1e-9)
        log.info("%s: %s in %s, %s a second", what, f"{count - done:,} {unit}", clock(seconds), f"{rate:,.0f}")


def clock(seconds: float) -> str:
    """Return a duration as ``1:05`` or ``2:01:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
