"""What ``transforms=robust`` costs and gains: one small network with each augmentation, on faces made worse.

    python -m benchmarks.robust <FER2013's folders train/ and test/> <folder for the runs>

The data and seeds of :mod:`benchmarks.labels`, and its recipe for more epochs; what is finished is kept. Prints, for
half of PublicTest, accuracy and mean corruption accuracy, and that of each kind over its five strengths: mean and
standard deviation over the seeds.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.labels import QUIET, RECIPE, SEEDS, _spread, quarter

TRANSFORMS = ("light", "standard", "strong", "robust")
LONGER = ("trainer.max_epochs=24", "test_last_epoch=false")


def main(root: str, runs: str, *names: str) -> None:
    """Train and test what is missing, and print the table."""
    data, folder = Path(runs).resolve() / "data", Path(runs).resolve()
    quarter(Path(root).resolve(), data)
    for name in names or TRANSFORMS:
        for seed in SEEDS:
            run = folder / name / str(seed)
            own = (f"transforms={name}", f"seed={seed}", f"data.root={data}", f"output_dir={run}")
            if not (run / "metrics.json").is_file():
                _run("fer.train", *RECIPE, *LONGER, *QUIET, *own)
            tested = run / "test"
            if not (tested / "metrics.json").is_file():
                _run(
                    "fer.test",
                    f"ckpt={run}",
                    "corruptions=true",
                    f"output_dir={tested}",
                    "mistakes=0",
                    "progress=false",
                )
    show(Console(), folder)


def _run(module: str, *options: str) -> None:
    subprocess.run([sys.executable, "-m", module, *options], check=True)


def show(console: Console, folder: Path) -> None:
    """Print what was found with each augmentation."""
    found = {name: _tests(folder / name) for name in TRANSFORMS}
    found = {name: tests for name, tests in found.items() if tests}
    table = Table(title="half of PublicTest, best epoch on the other half: mean ± deviation over seeds")
    for column in ("", *(f"{name} (n = {len(tests)})" for name, tests in found.items())):
        table.add_column(column)

    def add(what: str, values: Sequence[Sequence[float]]) -> None:
        table.add_row(what, *(_spread(list(of_one)) for of_one in values))

    add("accuracy", [[test["test"]["accuracy"] for test in tests] for tests in found.values()])
    worse = [[test["corruptions"] for test in tests] for tests in found.values()]
    add("mean corruption accuracy", [[one["mean_corruption_accuracy"] for one in tests] for tests in worse])
    for kind in worse[0][0]["accuracy"]:
        add(kind, [[mean(one["accuracy"][kind]) for one in tests] for tests in worse])
    console.print(table)


def _tests(folder: Path) -> list[dict[str, Any]]:
    paths = [folder / str(seed) / "test" / "metrics.json" for seed in SEEDS]
    return [json.loads(path.read_text()) for path in paths if path.is_file()]


if __name__ == "__main__":
    main(*sys.argv[1:])
