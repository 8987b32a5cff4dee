"""Draw what imports what: ``python tools/house.py`` writes docs/includes/house.html, a picture and a table.

Read from the code alone, nothing is imported. A test compares the file with the code.
"""

import ast
import re
import sys
import textwrap
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Final

REPO: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPO / "docs" / "includes" / "house.html"
_DOORS: Final = [path.stem for path in sorted((REPO / "conf").glob("*.yaml"))]
BASEMENT: Final = [
    path.stem for path in sorted((REPO / "fer").glob("*.py")) if path.stem[0] != "_" and path.stem not in _DOORS
]
"""Modules that every room may use; their arrows are left out."""
_WIDTH, _BOX, _GAP, _FLOOR = 1000, 150, 16, 108  # of the picture, of a box, between two boxes, of a floor


def imports(repo: Path = REPO) -> dict[str, set[str]]:
    """Return for each room and each command the rooms that it imports, at any place in its files.

    Raises:
        ValueError: If two rooms import each other, directly or through others.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((repo / "fer").rglob("*.py")):
        inside = path.relative_to(repo / "fer").with_suffix("").parts
        room = inside[0]
        if room in ("__init__", "__main__", *BASEMENT):
            continue
        found[room] |= {name for name in _imported(ast.parse(path.read_text(encoding="utf-8"))) if name != room}
    rooms = {room: targets & found.keys() for room, targets in found.items()}
    levels(rooms)  # raises if there is a circle
    return rooms


def _imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for_types: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for_types |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        names |= {parts[1] for module in modules if (parts := module.split("."))[0] == "fer" and len(parts) > 1}
    return names


def levels(rooms: dict[str, set[str]]) -> dict[str, int]:
    """Return each room's floor: 0 for those that import no other, else one above the highest that it imports."""
    floor: dict[str, int] = {}

    def of(room: str, above: tuple[str, ...]) -> int:
        if room in above:
            raise ValueError(f"a circle of imports: {' -> '.join([*above[above.index(room) :], room])}")
        if room not in floor:
            floor[room] = 1 + max((of(target, (*above, room)) for target in sorted(rooms[room])), default=-1)
        return floor[room]

    for room in sorted(rooms):
        of(room, ())
    return floor


def needed(rooms: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the arrows that no other path implies."""

    def reach(room: str) -> set[str]:
        return set().union(*({target} | reach(target) for target in rooms[room])) if rooms[room] else set()

    return [
        (room, target)
        for room in sorted(rooms)
        for target in sorted(rooms[room])
        if not any(target in reach(other) for other in rooms[room] - {target})
    ]


def _purpose(room: str) -> str:
    for file in (REPO / "fer" / room / "__init__.py", REPO / "fer" / f"{room}.py"):
        if file.is_file():
            doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            return " ".join(doc.partition("\n\n")[0].replace("``", "").replace(":mod:", "").replace("`", "").split())
    return ""


def picture(rooms: dict[str, set[str]]) -> str:
    """Return the house as an SVG whose colours follow the page: commands on top, what all use at the bottom."""
    floor = levels(rooms)
    doors = [room for room in rooms if room in _DOORS]
    rows = [
        doors,
        *(
            [room for room in rooms if room not in doors and floor[room] == n]
            for n in range(max(floor.values()), -1, -1)
        ),
    ]
    rows = [row for row in rows if row]
    place: dict[str, tuple[float, float]] = {}
    arrows = [(room, target) for room, target in needed(rooms) if not (room in doors and target == "cli")]
    for number, row in enumerate(rows):  # each room below the middle of those that use it
        wish = {r: [place[a][0] for a, b in arrows if b == r and a in place] or [_WIDTH / 2] for r in row}
        row.sort(key=lambda room: (sum(wish[room]) / len(wish[room]), room))
        step = min(_BOX + _GAP, (_WIDTH - _GAP) / len(row))
        left = (_WIDTH - step * len(row)) / 2 + step / 2
        place |= {room: (left + step * column, 40 + _FLOOR * number) for column, room in enumerate(row)}
    height = 40 + _FLOOR * len(rows)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height + 30}" role="img" aria-label="What imports what in fer" class="house">'
    ]
    for room, target in arrows:
        (x1, y1), (x2, y2) = place[room], place[target]
        y1, y2 = y1 + 30, y2 - 30
        far = ' class="far"' if abs(y2 - y1) > _FLOOR else ""
        parts.append(
            f'<path{far} d="M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + 45:.0f} {x2:.0f} {y2 - 45:.0f} {x2:.0f} {y2:.0f}"/>'
        )
        parts.append(f'<path class="head" d="M{x2 - 4:.0f} {y2 - 8:.0f}L{x2:.0f} {y2:.0f}L{x2 + 4:.0f} {y2 - 8:.0f}"/>')
    for room, (x, y) in place.items():
        kind = "door" if room in doors else "room"
        width = min(_BOX, (_WIDTH - _GAP) / max(len(row) for row in rows if room in row) - _GAP)
        parts.append(
            f'<rect class="{kind}" x="{x - width / 2:.0f}" y="{y - 30}" width="{width:.0f}" height="60" rx="6"/>'
        )
        name = f"fer.{room}" if kind == "door" else f"{room}/"
        lines = [] if kind == "door" else textwrap.wrap(re.split(r"[:,.] ", _purpose(room) + " ")[0], 26)[:3]
        parts.append(f'<text class="name" x="{x:.0f}" y="{y + 5 - 7 * len(lines)}">{escape(name)}</text>')
        parts += [
            f'<text x="{x:.0f}" y="{y + 12 + 12 * n - 6 * (len(lines) - 1)}">{escape(line)}</text>'
            for n, line in enumerate(lines)
        ]
    below = f"every command starts in cli/; every room may use {', '.join(BASEMENT)}"
    parts.append(f'<text class="name" x="{_WIDTH / 2:.0f}" y="{height + 5}">{below}</text>')
    return "\n".join([*parts, "</svg>"])


def page() -> str:
    """Return the picture and, below it, each room with its purpose and what it imports."""
    rooms = imports()
    floor = levels(rooms)
    rows = [
        f"<tr><td><code>{escape(room)}</code></td><td>{escape(_purpose(room))}</td>"
        f"<td>{escape(', '.join(sorted(rooms[room])) or 'none')}</td></tr>"
        for room in sorted(rooms, key=lambda room: (-floor[room], room))
    ]
    table = ["<table>", "<tr><th>room</th><th>what it is for</th><th>imports</th></tr>", *rows, "</table>"]
    return "\n".join(["<div>", picture(rooms), "</div>", "<div>", *table, "</div>", ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"drawn: {PAGE.relative_to(REPO)}", file=sys.stderr)
