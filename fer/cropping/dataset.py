"""All photographs: cut side by side, written down as they are done, and taken up again where that was interrupted."""

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fer import progress
from fer.cropping import contact_sheet
from fer.cropping.cutting import Cutter, crop_names, is_as_before
from fer.cropping.photos import Photo
from fer.display import cell, say
from fer.environment import usable_cores
from fer.errors import ConfigError
from fer.files import faces_manifest as manifest
from fer.files.atomic import writing
from fer.files.faces_manifest import SAVED, Row

log = logging.getLogger(__name__)

SETTINGS = "faces.json"
_CHUNK = 64  # photographs that are cut side by side
_EVERY = 20.0  # seconds between two writings of the manifest
_NAMED = 10  # photographs without a face, or unreadable, that are named on the terminal


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder whose faces were cut otherwise; write down how they are cut now.

    Raises:
        ConfigError: Naming what differs.
        UnwritableError: If the folder cannot be written.
    """
    path = folder / SETTINGS
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            changed = [key for key in settings if before[key] != settings[key]]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}). Choose another folder: to=...") from error
        if changed:
            was = ", ".join(f"{key}={before[key]} (now {settings[key]})" for key in changed if key != "framing")
            was = ", ".join(filter(None, (was, "another framing" if "framing" in changed else "")))
            raise ConfigError(
                f"to={folder}: holds faces that were cut with {was}. Choose another folder, or remove this one."
            )
        return
    if any(not entry.name.startswith(".") and entry.suffix != ".log" for entry in folder.iterdir()):
        raise ConfigError(f"to={folder}: is not empty, and holds no faces of fer.faces. Choose another folder.")
    with writing(path) as file:
        json.dump(settings, file, indent=1)


def run(cutter: Cutter, photos: Sequence[Photo]) -> tuple[list[Row], int]:
    """Cut all photographs that have not been cut yet, and write the manifest.

    Args:
        cutter: Cuts one.
        photos: All of them, sorted by path.

    Returns:
        The rows of all, in the photographs' order, and how many photographs were done before.

    Raises:
        UnwritableError: If the folder cannot be written; what is done is kept.
    """
    done = _done_before(cutter, photos)
    names = dict(zip((photo.path for photo in photos), crop_names(list(photos)), strict=True))
    left = [photo for photo in photos if photo.shown not in done]
    before, written = len(done), time.monotonic()

    def all_rows() -> list[Row]:
        return [row for photo in photos for row in done.get(photo.shown, ())]

    with ThreadPoolExecutor(usable_cores()) as pool, progress.bar("faces", len(left), at_least=20) as bar:
        try:
            for start in range(0, len(left), _CHUNK):
                chunk = left[start : start + _CHUNK]
                for photo, rows in zip(
                    chunk, pool.map(lambda photo: cutter.cut(photo, names[photo.path]), chunk), strict=True
                ):
                    done[photo.shown] = rows
                    bar.update()
                if time.monotonic() - written > _EVERY:
                    manifest.write(cutter.to, all_rows())
                    written = time.monotonic()
        finally:  # when interrupted too: a repeated command goes on from here
            manifest.write(cutter.to, all_rows())
    return all_rows(), before


def _done_before(cutter: Cutter, photos: Sequence[Photo]) -> dict[str, list[Row]]:
    """Return the rows of photographs that are cut, unchanged, and whose crops are there."""
    by_source: dict[str, list[Row]] = {}
    for row in manifest.read(cutter.to):
        by_source.setdefault(row.source, []).append(row)
    done = {}
    for photo in photos:
        rows = by_source.get(photo.shown, [])
        if rows and all(
            is_as_before(cutter.root / photo.path, row)
            and (row.label, row.subject) == (photo.label, photo.subject)
            and (row.result != SAVED or (cutter.to / row.file).is_file())
            for row in rows
        ):
            done[photo.shown] = rows
    return done


def tell(folder: Path, rows: Sequence[Row], before: int, several: str) -> None:
    """Write the contact sheet; print what was found, in which photographs no face was, and what comes next."""
    console = Console()
    table = Table(box=None)
    for number, name in enumerate(("class", "photographs", "faces saved", "not saved", "no face", "unreadable")):
        table.add_column(cell(name), justify="right" if number else "left")
    labels = sorted({row.label for row in rows})
    for label in [*labels, None]:
        of = [row for row in rows if label is None or row.label == label]
        counts = Counter(_kind(row) for row in of)
        photographs = len({row.source for row in of})
        values = [photographs, *(counts[kind] for kind in (SAVED, "left out", "no face", "unreadable"))]
        table.add_row(cell("all" if label is None else label), *(cell(f"{value:,}") for value in values))
    console.print(table)
    if before:
        say(console, f"photographs that an earlier start had cut: {before:,}.")
    for kind, what in (("no face", "no face was found in"), ("unreadable", "cannot be read:")):
        named = [row for row in rows if _kind(row) == kind]
        for row in named[:_NAMED]:
            why = f" ({row.result.partition(': ')[2]})" if kind == "unreadable" else ""
            say(console, f"{what} {row.source}{why}", "yellow")
        if len(named) > _NAMED:
            say(console, f"... and {len(named) - _NAMED:,} more; {manifest.FILE} has all.", "yellow")
    crowded = len({row.source for row in rows if row.faces > 1})
    if crowded:
        say(console, f"photographs with several faces: {crowded:,} (several={several}).")
    if not any(row.result == SAVED for row in rows):
        say(console, f"No face was saved. {manifest.FILE} says why of each photograph.", "yellow")
        return
    say(console, f"look them over: {contact_sheet.write(folder, rows)}")
    say(console, f"train on them: python -m fer.train data=folder data.root={folder}")


def _kind(row: Row) -> str:
    if row.result == SAVED:
        return SAVED
    return "left out" if row.face else "unreadable" if row.result.startswith("cannot") else "no face"
