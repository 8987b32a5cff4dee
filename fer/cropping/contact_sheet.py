"""A picture of a folder of faces to look over: a row for each class, and the faces that look least certain."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fer.display import plain
from fer.files.atomic import writing
from fer.files.faces_manifest import SAVED, Row

FILE = "contact_sheet.jpg"
_CELL, _GAP, _LINE = 96, 4, 20  # pixels: a face, between faces, a line of text
_COLUMNS = 12
_CLASSES = 40  # shown
_UNSURE = 24


def write(folder: Path, rows: Sequence[Row]) -> Path:
    """Write the contact sheet.

    Args:
        folder: The folder of faces.
        rows: Its manifest.

    Returns:
        The picture's path.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    saved = [row for row in rows if row.result == SAVED]
    parts: list[tuple[str, list[Row]]] = []
    for label in sorted({row.label for row in saved})[:_CLASSES]:
        of_class = [row for row in saved if row.label == label]
        step = max(1.0, len(of_class) / _COLUMNS)
        shown = [of_class[int(number * step)] for number in range(min(_COLUMNS, len(of_class)))]
        parts.append((f"{plain(label)[:60]}: {len(of_class):,}", shown))
    unsure = sorted(saved, key=lambda row: float(row.score or 0))[:_UNSURE]
    parts.append(("the least sure of all (by the detector's score): look for what is no face", unsure))
    blurred = sorted(saved, key=lambda row: float(row.sharpness or 0))[:_UNSURE]
    parts.append(("the least sharp of all", blurred))

    lines = sum(_LINE + -(-len(part) // _COLUMNS) * (_CELL + _GAP) + _GAP for _, part in parts)
    sheet = Image.new("RGB", (_COLUMNS * (_CELL + _GAP) + _GAP, lines + _GAP), "white")
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(13), _GAP
    for title, part in parts:
        draw.text((_GAP, top), title, fill="black", font=font)
        top += _LINE
        for number, row in enumerate(part):
            place = (_GAP + number % _COLUMNS * (_CELL + _GAP), top + number // _COLUMNS * (_CELL + _GAP))
            with Image.open(folder / row.file) as face:
                sheet.paste(face.resize((_CELL, _CELL), Image.Resampling.BOX), place)
        top += -(-len(part) // _COLUMNS) * (_CELL + _GAP) + _GAP
    with writing(folder / FILE, "wb") as file:
        sheet.save(file, "JPEG", quality=88)
    return folder / FILE
