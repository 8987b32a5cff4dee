"""One command of fer in a process of its own, timed: ``python -m benchmarks.growth_task <out.json> audit data=...``.

Writes seconds without imports, and the most memory that the process had (without its loaders' processes), in MiB.
"""

import importlib
import json
import pkgutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean

import fer
from fer.build import build

ROOMS = {
    "read": ("datasets",), "train": ("datasets", "training"), "audit": ("datasets", "auditing"),
    "test": ("datasets", "testing"), "report": ("reporting", "plots.figures", "plots.page"),
}  # fmt: skip
WARM_UP = 2  # steps of each epoch


def perform(command: str, overrides: Sequence[str], work: Path) -> dict[str, float]:
    """Run a command and return what it took, by name."""
    if command == "read":
        options = dict(fer.compose("train", overrides).data)
        start = time.perf_counter()
        build(options, "data").samples.images[-1].sum()
        return {"s": time.perf_counter() - start}
    start = time.perf_counter()
    clock = work / "clock.json"
    if command == "train":
        overrides = [
            *overrides, "+callbacks.clock._target_=benchmarks.growth_clock.Clock", f"+callbacks.clock.out={clock}",
        ]  # fmt: skip
    fer.run(command, overrides)
    if command != "train":
        return {"s": time.perf_counter() - start}
    noted = json.loads(clock.read_text())
    steps = [b - a for epoch in noted["steps"] for a, b in zip(epoch[WARM_UP:], epoch[WARM_UP + 1 :], strict=False)]
    return {
        "first step, s": noted["steps"][0][0] - start,
        "step, s": mean(steps),
        "validation, s": min(noted["validations"]),
    }


def peak_mib() -> float:
    """Return the most memory that this process has had; 0 where the system does not tell (it is not Linux)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def main(out: str, command: str, *overrides: str) -> None:
    """Import what the command needs, run it, and write what it took."""
    for room in ROOMS[command]:
        package = importlib.import_module(f"fer.{room}")
        for module in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
            with suppress(ImportError):  # of packages that are not installed
                importlib.import_module(module.name)
    found = perform(command, overrides, Path(out).parent)
    Path(out).write_text(json.dumps(found | {"MiB": peak_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
