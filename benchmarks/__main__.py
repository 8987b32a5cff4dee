"""Run measurements and print them as tables: ``python -m benchmarks``, or some alone: ``python -m benchmarks csv``.

``python -m benchmarks copies 36000 100000 450000 <folder>`` takes numbers of images, and faces to make them from.
``python -m benchmarks gpu <FER2013>`` needs a GPU, or ``accelerator=cpu``; see :mod:`benchmarks.gpu`.
``python -m benchmarks kills`` kills trainings at random moments and resumes them; ``kills_writing 25`` kills commands
while they write files, so many times each.
``python -m benchmarks photographs <pictures> ckpt=<run>`` sets other packages beside ``fer.load``; see
:mod:`benchmarks.photographs`.
``python -m benchmarks growth minutes=120`` measures how time and memory grow; see :mod:`benchmarks.growth`.
``python -m benchmarks predict_workers`` sets two workers of ``fer.predict`` beside one; see
:mod:`benchmarks.predict_workers`.
``python -m benchmarks readme`` makes the README's picture from the default run.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

MEASUREMENTS = ("startup", "fer2013_csv", "pipeline", "memory", "training", "features", "copies", "use")
ALONE = ("gpu", "growth", "kills", "kills_writing", "photographs", "predict_workers", "readme")
"""Left out where none is named."""


def main() -> None:
    """Run the measurements that the command names; all of :data:`MEASUREMENTS` if it names none."""
    names, sizes, folders, options = [], [], [], {}
    for given in sys.argv[1:]:
        key, equals, value = given.partition("=")
        name = "fer2013_csv" if given == "csv" else given
        if equals:
            options[key] = value
        elif given.isdecimal():
            sizes.append(int(given))
        elif name in (*MEASUREMENTS, *ALONE):
            names.append(name)
        elif Path(given).is_dir():
            folders.append(Path(given))
        else:
            sys.exit(f"unknown: {given}; there are: {', '.join((*MEASUREMENTS, *ALONE))}, and folders that exist")
    console = Console(width=max(100, Console().width))
    for name in names or MEASUREMENTS:
        module = importlib.import_module(f"benchmarks.{name}")
        more: dict[str, Any] = {}
        if name == "copies":
            more = {"sizes": sizes or module.SIZES, "source": next(iter(folders), None)}
        elif name in ("kills", "kills_writing") and sizes:
            more = {"kills": sizes[0]}
        elif name in ("photographs", "predict_workers"):
            more = {"pictures": next(iter(folders), None), "options": options}
        elif name == "gpu":
            more = {"root": next(iter(folders), None), **module.options(options)}
        elif name == "growth":
            more = module.options(options)
        (module.make if name == "readme" else module.measure)(console, **more)


if __name__ == "__main__":
    main()
