"""All photographs: cut side by side, written down as they are done, and taken up again where that was interrupted."""

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
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
from fer.files.atomic import unwritable, writing
from fer.files.faces_manifest import SAVED, Row

log = logging.getLogger(__name__)

SETTINGS = "faces.json"
_CHUNK = 64  # photographs that are cut side by side
_EVERY = 20.0  # seconds between two writings of the manifest
_NAMED = 10  # photographs without a face, or unreadable, that are named on the terminal


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder whose faces were cut otherwise, or of other photographs; write down how they are cut now.

    Args:
        folder: The folder of faces.
        settings: What decides the crops; ``source`` is the photographs' folder.

    Raises:
        ConfigError: Naming what differs.
        UnwritableError: If the folder cannot be written.
    """
    path = folder / SETTINGS
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            source = before.get("source")
            changed = [key for key in settings if key != "source" and before[key] != settings[key]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}). Choose another folder: to=...") from error
        if changed:
            was = ", ".join(f"{key}={before[key]} (now {settings[key]})" for key in changed if key != "framing")
            was = ", ".join(filter(None, (was, "another framing" if "framing" in changed else "")))
            raise ConfigError(
                f"to={folder}: holds faces that were cut with {was}. Choose another folder, or remove this one."
            )
        if source == settings["source"]:
            return
        if source is not None or not _are_of(folder, Path(settings["source"])):
            raise ConfigError(
                f"to={folder}: holds the faces of {'other photographs' if source is None else f'source={source}'}, "
                f"which would be removed for those of {settings['source']}. Choose another folder: to=... (If the "
                f'same photographs only moved there, say so in {path}: "source".)'
            )
    elif any(not entry.name.startswith(".") and entry.suffix != ".log" for entry in folder.iterdir()):
        raise ConfigError(f"to={folder}: is not empty, and holds no faces of fer.faces. Choose another folder.")
    with writing(path) as file:
        json.dump(settings, file, indent=1)


def _are_of(folder: Path, source: Path) -> bool:
    """Whether faces may be those of a source, where an earlier version did not write down whose they are."""
    rows = manifest.read(folder)
    return not rows or any(is_as_before(source / row.source, row) for row in rows)


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
    listed = manifest.read(cutter.to)
    done = _done_before(cutter, photos, listed)
    kept = {row.file for rows in done.values() for row in rows if row.file}
    stale = {row.file for row in listed if row.file} - kept
    _remove(cutter.to, stale)  # first: once this start's manifest is written, nothing tells of them any more
    left = [photo for photo in photos if photo.shown not in done]
    names = crop_names(photos, left, map(cutter.name_of, kept))
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
    rows = all_rows()
    if gone := stale - {row.file for row in rows}:
        log.info("faces removed whose photographs are gone, or show none any more: %d", len(gone))
    return rows, before


def _done_before(cutter: Cutter, photos: Sequence[Photo], listed: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of photographs that are cut, unchanged, and whose crops are there."""
    by_source: dict[str, list[Row]] = {}
    for row in listed:
        by_source.setdefault(row.source, []).append(row)
    crops = Counter(row.file for row in listed)
    done = {}
    for photo in photos:
        rows = by_source.get(photo.shown, [])
        if rows and all(
            is_as_before(cutter.root / photo.path, row)
            and (row.label, row.subject) == (photo.label, photo.subject)
            and (row.result != SAVED or (crops[row.file] == 1 and _is_there(cutter.to, row)))
            for row in rows
        ):
            done[photo.shown] = rows
    return done


def _is_there(folder: Path, row: Row) -> bool:
    """Whether a crop is there, in its photograph's folder: earlier versions put some into another."""
    return PurePosixPath(row.file).parent == PurePosixPath(row.source).parent and (folder / row.file).is_file()


def _remove(folder: Path, files: Iterable[str]) -> None:
    """Remove crops, and folders that are empty then: they would be trained on, or refused as empty classes."""
    inside = folder.resolve()
    for file in files:
        crop = folder / file
        if inside not in crop.parent.resolve().parents or not crop.is_file():
            continue  # of a manifest that somebody edited
        try:
            crop.unlink()
        except OSError as error:
            raise unwritable(crop, error) from error
        with suppress(OSError):  # what still holds something stays
            for parent in crop.relative_to(folder).parents[:-1]:
                (folder / parent).rmdir()


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
