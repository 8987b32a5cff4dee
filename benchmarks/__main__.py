"""Run measurements and print them as tables: ``python -m benchmarks``, or some alone: ``python -m benchmarks csv``.

``python -m benchmarks readme`` makes the README's picture from the default run.
"""

import sys
from collections.abc import Callable

from rich.console import Console

from benchmarks import features, fer2013_csv, memory, pipeline, readme, startup, training

MEASUREMENTS: dict[str, Callable[[Console], None]] = {
    "startup": startup.measure,
    "csv": fer2013_csv.measure,
    "pipeline": pipeline.measure,
    "memory": memory.measure,
    "training": training.measure,
    "features": features.measure,
}
PICTURES: dict[str, Callable[[Console], None]] = {"readme": readme.make}


def main() -> None:
    """Run the measurements that the command names; all of them if it names none."""
    names = sys.argv[1:] or list(MEASUREMENTS)
    known = {**MEASUREMENTS, **PICTURES}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}")
    console = Console(width=max(100, Console().width))
    for name in names:
        known[name](console)


if __name__ == "__main__":
    main()
