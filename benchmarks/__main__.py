"""Run measurements and print them as tables: ``python -m benchmarks``, or some alone: ``python -m benchmarks csv``.

``python -m benchmarks copies 36000 100000 450000 <folder>`` takes numbers of images, and faces to make them from.
``python -m benchmarks readme`` makes the README's picture from the default run.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks import copies, features, fer2013_csv, memory, pipeline, readme, startup, training, use

MEASUREMENTS: dict[str, Callable[[Console], None]] = {
    "startup": startup.measure,
    "csv": fer2013_csv.measure,
    "pipeline": pipeline.measure,
    "memory": memory.measure,
    "training": training.measure,
    "features": features.measure,
    "copies": copies.measure,
    "use": use.measure,
}
PICTURES: dict[str, Callable[[Console], None]] = {"readme": readme.make}


def main() -> None:
    """Run the measurements that the command names; all of them if it names none."""
    known = {**MEASUREMENTS, **PICTURES}
    sizes = [int(argument) for argument in sys.argv[1:] if argument.isdecimal()]
    folders = [Path(argument) for argument in sys.argv[1:] if argument not in known and Path(argument).is_dir()]
    names = [argument for argument in sys.argv[1:] if not argument.isdecimal() and Path(argument) not in folders]
    names = names or list(MEASUREMENTS)
    if sizes or folders:
        known["copies"] = partial(copies.measure, sizes=sizes or copies.SIZES, source=folders[0] if folders else None)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}")
    console = Console(width=max(100, Console().width))
    for name in names:
        known[name](console)


if __name__ == "__main__":
    main()
