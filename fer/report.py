"""Compare runs: ``python -m fer.report runs=outputs``, or ``runs=[outputs/a/1,outputs/b/2]``."""

from typing import TYPE_CHECKING, Any, cast

from fer import cli

if TYPE_CHECKING:
    from omegaconf import DictConfig


def report(cfg: "DictConfig") -> None:
    """Compare runs and their tests in one table, as Markdown, CSV and one HTML page.

    Args:
        cfg: The composed ``conf/report.yaml``.

    Raises:
        FERError: If there is no run, or one that cannot be read.
    """
    from pathlib import Path

    from omegaconf import OmegaConf
    from rich.console import Console

    from fer import comparison, figures
    from fer.display import say, write_csv
    from fer.page import Page

    config = cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True))
    folder, score = Path(config["output_dir"]), config["score"]
    console = Console()

    runs = comparison.find_runs(config["runs"])
    header, rows = comparison.score_table(runs, score)
    per_class_header, per_class = comparison.class_f1_table(runs)
    stamped = [run for run in runs if run.stamp]

    count = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    page = Page("Comparison of runs", f"{count}, by {score.replace('_', ' ')}; best on validation first.")
    page.section("Scores")
    page.table(header, rows)
    page.text(comparison.COLUMNS, "note")
    for run in stamped:
        page.text(f"{run.name}: {run.stamp}", "stamp")
    for line in comparison.leak_lines(runs):
        page.text(line)
    page.section("F1 per class")
    page.table(per_class_header, per_class)
    page.section("Curves")
    if curves := {run.name: run.history for run in runs if run.history}:
        page.figure(figures.overlay_figure(curves), "loss and accuracy of all runs over the epochs")
    page.section("Confusion matrices")
    page.figure(figures.confusions_figure(comparison.confusions(runs)), "confusion matrices side by side")
    tests = comparison.mcnemar_tests(runs) if len(runs) == 2 else []
    if tests:
        page.section("Do the two differ? (McNemar's test)")
        page.table(comparison.MCNEMAR_HEADER, tests)
        page.text(comparison.MCNEMAR_NOTE, "note")

    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "report.csv", header, rows)
    comparison.write_markdown(folder / "report.md", runs, (header, rows), (per_class_header, per_class), tests)
    page.write(folder / "report.html")
    console.print(comparison.rich_table(f"{count}, {score}", header, rows))
    if tests:
        console.print(comparison.rich_table("McNemar's test", comparison.MCNEMAR_HEADER, tests))
    for run in stamped:
        say(console, f"{run.name}: {run.stamp}", "bold red")
    say(console, f"report: {folder / 'report.html'}")


def main() -> None:
    """Compose the config from the command line and compare."""
    cli.run(report, "report")


if __name__ == "__main__":
    main()
