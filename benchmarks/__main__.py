"""Run measurements and print them as tables: ``python -m benchmarks``, or some alone: ``python -m benchmarks csv``."""

import sys
from collections.abc import Callable

from rich.console import Console

from benchmarks import features, fer2013_csv, memory, pipeline, startup, training

MEASUREMENTS: dict[str, Callable[[Console], None]] = {
    "startup": startup.measure,
    "csv": fer2013_csv.measure,
    "pipeline": pipeline.measure,
    "memory": memory.measure,
    "training": training.measure,
    "features": features.measure,
}


def main() -> None:
    """Run the measurements that the command names; all of them if it names none."""
    names = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are: {', '.join(MEASUREMENTS)}")
    console = Console(width=max(100, Console().width))
    for name in names:
        MEASUREMENTS[name](console)


if __name__ == "__main__":
    main()
