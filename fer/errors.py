"""Errors that a user can act on: printed as their message alone, without a traceback, with exit code 2."""

import difflib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path


class FERError(Exception):
    """What went wrong, where, and what to do about it, in words for the user."""

    def __reduce__(self) -> tuple[type["FERError"], tuple[str]]:
        # Subclasses take other arguments than their message; a sweep's jobs hand errors over between processes.
        return FERError, (str(self),)


class ConfigError(FERError):
    """A configuration key or value that cannot be used."""


class LabelError(FERError):
    """A class name or label code that is not known."""


class DatasetError(FERError):
    """A dataset that is there but cannot be used as it is (broken image, wrong row, empty split)."""


class DatasetNotFoundError(DatasetError):
    """A dataset that is not where it was looked for.

    Args:
        name: The dataset's name, as in ``data=<name>``.
        looked: Every path that was tried.
        expected: What should stand there, in a sentence or two.
        source: Where the dataset comes from (page or e-mail form).
    """

    def __init__(self, name: str, looked: Sequence[Path], expected: str, source: str) -> None:
        where = "\n".join(f"    {path}" for path in looked)
        super().__init__(
            f"dataset '{name}' was not found. Looked for:\n{where}\n"
            f"  Expected: {expected}\n  Source: {source}\n"
            f"  Then name the folder with data.root=<folder>."
        )


class StreamError(DatasetError):
    """An image that is decoded during training and is no longer what it was, or where it was."""

    def __init__(self, message: str) -> None:
        # Of an error in a loader's process torch makes one whose message is its traceback; the last line is ours.
        super().__init__(message.rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip())


class TrainingError(FERError):
    """A training run that cannot go on (non-finite loss, no space left)."""


class Interrupted(BaseException):
    """A run that was asked to stop and has saved its state; no Exception, so that a sweep ends with it.

    Args:
        number: The signal (SIGINT, SIGTERM).
        epoch: Epoch that was running, from 1.
        step: Optimiser steps done.
        run: The run's folder.
    """

    def __init__(self, number: int, epoch: int, step: int, run: Path) -> None:
        self.exit_code = 128 + number
        self._arguments = number, epoch, step, run
        super().__init__(
            f"stopped in epoch {epoch} after step {step}; everything up to there is saved. Go on with:\n"
            f"  python -m fer.train resume={shlex.quote(str(run))}"
        )

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[int, int, int, Path]]:
        return Interrupted, self._arguments


class ScoringInterrupted(BaseException):
    """A scoring that was asked to stop: nothing of it is kept.

    Args:
        number: The signal (SIGINT, SIGTERM).
    """

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(number)


def did_you_mean(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """Return ``" Did you mean 'x' or 'y'?"`` for the known words closest to ``word``, at least so alike, or nothing."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(lower), n=3, cutoff=alike)

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, name, word.lower()).ratio()

    close = [name for name in close if likeness(name) > likeness(close[0]) - 0.1]  # others only distract
    if not close:
        return ""
    return " Did you mean " + " or ".join(f"'{lower[name]}'" for name in close) + "?"


def listing(items: Sequence[str], limit: int = 20) -> str:
    """Return ``items`` one per indented line, at most ``limit`` of them and then how many more there are."""
    lines = [f"    {item}" for item in items[:limit]]
    if len(items) > limit:
        lines.append(f"    ... and {len(items) - limit} more")
    return "\n".join(lines)
