"""One self-contained HTML page: tables, pictures and text in a single file that can be sent around."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer.display import plain
from fer.files.atomic import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1800px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #8884; }
h1, h2, h3, p, li, nav a { overflow-wrap: anywhere; } p, li { max-width: 80ch; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; } p:has(img) { max-width: none; }
nav a { margin-right: 1rem; display: inline-block; } img { max-width: 100%; background: white; border-radius: 4px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8883; white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; } td.word, th.word { text-align: left; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; z-index: 1; }
.stamp { color: #c00; font-weight: bold; } .note { color: #777; } code { background: #8882; padding: 0 .25em; }
.long td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: min(16rem, 34vw); max-width: 40vw; }
small { opacity: .7; margin-left: .3em; }
.matrices { display: flex; flex-wrap: wrap; gap: 1.5rem 2.5rem; }
figure { margin: 0; max-width: 100%; overflow-x: auto; }
figcaption { white-space: pre-line; overflow-wrap: anywhere; margin-bottom: .4rem; }
.matrix td { min-width: 2.4em; padding: .3rem .2rem; text-align: center; position: static; border: 0; }
.matrix td { background: rgb(8 81 156 / var(--share)); } .matrix td.most { color: white; }
.matrix th { font-weight: normal; text-align: left; position: static; border: 0; }
.matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 1.2rem; }
.pictures figure { max-width: 20rem; } .pictures img { height: 96px; margin-right: 3px; image-rendering: pixelated; }
.pictures figcaption { font-size: .8rem; line-height: 1.3; margin: 0; }
pre { background: #8882; padding: .6em .8em; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
pre code { background: none; }
@media (prefers-color-scheme: dark) {
  .matrix td { background: rgb(40 116 200 / var(--share)); } .stamp { color: #ff7b72; } .note { color: #999; }
}
"""


def _escaped(text: object, keep: str = "") -> str:
    """Return text that a browser shows as it is."""
    return html.escape(plain(text, keep))


class Score(NamedTuple):
    """A table's cell: a number, what stands small beside it, and whether it is the best of its column."""

    text: str
    aside: str = ""
    best: bool = False


def _cell(value: object) -> str:
    if not isinstance(value, Score):
        return _escaped(value)
    text = f"<b>{_escaped(value.text)}</b>" if value.best else _escaped(value.text)
    return text + (f"<small>{_escaped(value.aside)}</small>" if value.aside else "")


def _matrix(title: str, counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    head = "".join(f"<th>{_escaped(name)}</th>" for name in classes)
    body = ""
    for name, row in zip(classes, counts, strict=True):
        total = sum(row)
        body += f"<tr><th>{_escaped(name)} <small>{total:,}</small></th>"
        for other, count in zip(classes, row, strict=True):
            share = count / total if total else 0.0
            kind = ' class="most"' if share > 0.5 else ""
            said = _escaped(f"{count:,} of {total:,} images of {name} were taken for {other}")
            text = f"{100 * share:.0f}" if count else "<small>·</small>"
            body += f'<td{kind} style="--share: {share:.2f}" title="{said}">{text}</td>'
        body += "</tr>"
    return (
        f"<figure><figcaption>{_escaped(title, keep=chr(10))}</figcaption>"
        f'<table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></figure>'
    )


def _png(image: npt.NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


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

    def heading(self, text: str) -> None:
        """Add a smaller heading."""
        self._add(f"<h3>{_escaped(text)}</h3>")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> None:
        """Add a table.

        Args:
            header: Names of the columns.
            rows: Their cells; a :class:`Score` has more to show.
            words: How many of the first columns hold words, and are aligned left.
        """

        def line(tag: str, values: Sequence[object]) -> str:
            kinds = [' class="word"' if number < words else "" for number in range(len(values))]
            return "".join(f"<{tag}{kind}>{_cell(value)}</{tag}>" for kind, value in zip(kinds, values, strict=True))

        rows = list(rows)
        body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
        long = ' class="long"' if any(len(str(row[0])) > 28 for row in rows if row) else ""
        head = f"<thead><tr>{line('th', header)}</tr></thead>"
        self._add(f'<div class="scroll"><table{long}>{head}<tbody>{body}</tbody></table></div>')

    def matrices(self, matrices: Iterable[tuple[str, Sequence[Sequence[int]], Sequence[str]]]) -> None:
        """Add confusion matrices side by side: in percent of the true class, the darker the more.

        Args:
            matrices: Title, counts (true class in rows) and class names of each.
        """
        self._add(f'<div class="matrices">{"".join(_matrix(*one) for one in matrices)}</div>')

    def points(self, points: Sequence[str]) -> None:
        """Add a list of sentences; nothing if there is none."""
        if points:
            self._add(f"<ul>{''.join(f'<li>{_escaped(point)}</li>' for point in points)}</ul>")

    def command(self, command: str) -> None:
        """Add a command to be copied."""
        self._add(f"<pre><code>{_escaped(command)}</code></pre>")

    def pictures(self, pictures: Iterable[tuple[Sequence[npt.NDArray[np.uint8]], Sequence[str]]]) -> None:
        """Add pictures side by side, each over its caption.

        Args:
            pictures: Images of one picture, uint8 of shape (H, W) or (H, W, 3), and the lines below them.
        """
        parts = []
        for images, lines in pictures:
            shown = "".join(f'<img alt="" src="{_png(image)}">' for image in images)
            caption = "\n".join(_escaped(line) for line in lines)
            parts.append(f"<figure>{shown}<figcaption>{caption}</figcaption></figure>")
        if parts:
            self._add(f'<div class="pictures">{"".join(parts)}</div>')

    def figure(self, figure: "Figure", alt: str, dpi: int = 110) -> None:
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
        with writing(path) as file:
            file.write(
                f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
                f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
                f"<body><h1>{title}</h1><p>{_escaped(self.intro)}</p><nav>{links}</nav>\n{parts}\n</body></html>\n",
            )

    def _add(self, markup: str) -> None:
        if not self._sections:
            self.section("Overview")
        self._sections[-1][1].append(markup)
