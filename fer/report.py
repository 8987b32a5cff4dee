"""Compare runs: ``python -m fer.report runs=outputs``, or ``runs=[outputs/a/1,outputs/b/2]``."""

from typing import TYPE_CHECKING

from fer.cli import command
from fer.cli.in_python import settled

if TYPE_CHECKING:
    from omegaconf import DictConfig


def report(cfg: "DictConfig") -> None:
    """Compare runs and their tests, a table for each dataset: as text, Markdown, LaTeX, csv and one HTML page.

    What cannot be read is left out and named.

    Args:
        cfg: The composed ``conf/report.yaml``.

    Raises:
        FERError: If there is no run that can be read.
    """
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from fer.display import say
    from fer.plots.tables import fitted
    from fer.reporting import comparison, mcnemar, outputs

    config = settled(cfg)
    folder, score = Path(config["output_dir"]), config["score"]
    console = Console()
    found = comparison.find(config["runs"], score)
    compared: mcnemar.Compared = mcnemar.compare(found) if len(found.runs) == 2 else ([], [])

    folder.mkdir(parents=True, exist_ok=True)
    outputs.write_tables(folder, found, score, compared)
    outputs.page(found, score, compared).write(folder / "report.html")

    for group in found.groups:
        for part in outputs.on_terminal(group, score):
            console.print(part, soft_wrap=isinstance(part, Text))
    rows, refused = compared
    for part in fitted(mcnemar.title(found, longest=18), mcnemar.HEADER, rows) if rows else []:
        console.print(part, soft_wrap=isinstance(part, Text))
    for line in [*refused, *found.stale]:
        say(console, line)
    for line in found.skipped:
        say(console, line, "yellow")
    say(console, f"report: {folder / 'report.html'} (tables: report.md, report.tex, report.csv)")


def main() -> None:
    """Compose the config from the command line and compare."""
    command.run(report, "report")


if __name__ == "__main__":
    main()
