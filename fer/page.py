"""One self-contained HTML page: tables, pictures and text in a single file that can be sent around."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fer.display import plain

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #8884; }
nav a { margin-right: 1rem; } img { max-width: 100%; background: white; border-radius: 4px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8883; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { position: sticky; top: 0; background: Canvas; }
.stamp { color: #c00; font-weight: bold; } .note { color: #777; } code { background: #8882; padding: 0 .25em; }
"""


def _escaped(text: object) -> str:
    """Return text that a browser shows as it is."""
    return html.escape(plain(text))


class Page:
    """A page that grows section by section.

    Args:
        title: Its title and first heading.
        intro: A sentence or two below it.
    """

    def __init__(self, title: str, intro: str = "") -> None:
        self.title, self.intro = title, intro
        self._sections: list[tuple[str, list[str]]] = []

    def section(self, heading: str) -> None:
        """Begin a section; what is added from now on stands in it."""
        self._sections.append((heading, []))

    def text(self, text: str, kind: str = "") -> None:
        """Add a paragraph.

        Args:
            text: Plain text.
            kind: ``stamp`` for what must not be overlooked, ``note`` for an aside.
        """
        self._add(f'<p class="{kind}">{_escaped(text)}</p>')

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table."""
        head = "".join(f"<th>{_escaped(name)}</th>" for name in header)
        body = "".join("<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        self._add(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')

    def figure(self, figure: Figure, alt: str, dpi: int = 110) -> None:
        """Add a picture.

        Args:
            figure: What is drawn.
            alt: What it shows, for those who cannot see it.
            dpi: Dots per inch.
        """
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
        data = base64.b64encode(buffer.getvalue()).decode()
        self._add(f'<p><img alt="{_escaped(alt)}" src="data:image/png;base64,{data}"></p>')

    def write(self, path: Path) -> None:
        """Write the page."""
        links = "".join(f'<a href="#s{i}">{_escaped(name)}</a>' for i, (name, _) in enumerate(self._sections))
        parts = "\n".join(
            f'<section id="s{i}"><h2>{_escaped(name)}</h2>\n' + "\n".join(content) + "</section>"
            for i, (name, content) in enumerate(self._sections)
        )
        title = _escaped(self.title)
        path.write_text(
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
            f"<body><h1>{title}</h1><p>{_escaped(self.intro)}</p><nav>{links}</nav>\n{parts}\n</body></html>\n",
            encoding="utf-8",
        )

    def _add(self, markup: str) -> None:
        if not self._sections:
            self.section("Overview")
        self._sections[-1][1].append(markup)
