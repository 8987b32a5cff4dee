"""What is compared: runs, the tests of their checkpoints, and groups of runs on one dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer.files import export, run_folder
from fer.files.metrics import Dataset


@dataclass
class Test:
    """A test of a checkpoint.

    Attributes:
        folder: Its folder.
        metrics: Its ``metrics.json``.
        dataset: What was tested on.
        column: Its name among the tests of all runs.
        twins: The same test made again, with the same scores.
        clean: What follows its column's name for its scores on images that the model has not seen.
    """

    folder: Path
    metrics: Mapping[str, Any]
    dataset: Dataset
    column: str = ""
    twins: list["Test"] = field(default_factory=list)
    clean: str = "clean"

    @property
    def corrupted(self) -> list[Mapping[str, Any]]:
        """What it and its twins scored on images made worse."""
        return [test.metrics["corruptions"] for test in (self, *self.twins) if "corruptions" in test.metrics]

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file."""
        return run_folder.checkpoint_file(Path(self.metrics["checkpoint"]))

    @property
    def home(self) -> Path:
        """The folder of the checkpoint's run, or of an export; the file itself, where it stands in neither."""
        folder = self.checkpoint.parent
        if folder.name == "checkpoints":
            return folder.parent
        return folder if export.model_file(folder) == self.checkpoint else self.checkpoint

    @property
    def kind(self) -> tuple[str, ...]:
        """What tells it from other tests on the same data."""
        merged = self.metrics["label_space"]["merged"]
        said = [f"{source} as {to}" for source, to in merged.items()]
        tta = [self.metrics["tta"]] if self.metrics["tta"] != "none" else []
        frame, precision = self.metrics.get("frame"), self.metrics.get("precision", "32-true")
        said += [f"frame {frame}"] if frame else []  # its images are of twice the size
        said += [precision] if precision != "32-true" else []
        of_run, stem = self.checkpoint.parent.name == "checkpoints", self.checkpoint.stem
        return (self.metrics["split"], *tta, *said, *([f"({stem})"] if of_run and stem != "best" else []))


@dataclass
class Run:
    """A training run with the tests of its checkpoints; or tests of a checkpoint whose run is elsewhere.

    Attributes:
        folder: Its folder.
        metrics: Of the training run's ``metrics.json``; empty for a checkpoint from elsewhere.
        dataset: What was trained on.
        history: One list a column, empty if there is none.
        config: Empty if there is none.
        name: Its folder, as short as it can be told from the others.
        tests: Column name to test.
    """

    folder: Path
    metrics: Mapping[str, Any] = field(default_factory=dict)
    dataset: Dataset | None = None
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    tests: dict[str, Test] = field(default_factory=dict)

    @property
    def stamp(self) -> str:
        """What must not be overlooked about its scores; empty if nothing."""
        tests = (f"{name}: {test.metrics['stamp']}" for name, test in self.tests.items() if test.metrics.get("stamp"))
        return " ".join(filter(None, [self.metrics.get("stamp"), *tests]))

    @property
    def model(self) -> str:
        """Its network's name."""
        return str(self.metrics.get("model") or "")

    def on(self, split: str) -> str:
        """Return what its scores on one of its own splits are called: ``val``; ``val flip`` with ``tta=flip``."""
        tta = self.metrics.get("tta") or "none"
        return split if tta == "none" else f"{split} {tta}"

    @property
    def scored(self) -> dict[str, Mapping[str, Any]]:
        """All that it is scored on: its own splits and its tests, by name."""
        own = {self.on(split): self.metrics[split] for split in ("val", "test") if split in self.metrics}
        return own | {name: test.metrics["test"] for name, test in self.tests.items()}


@dataclass
class Group:
    """Runs on one dataset, best first.

    Attributes:
        label: The dataset's name, with what tells it from another of that name.
        dataset: None for checkpoints whose runs are elsewhere.
        runs: The runs.
    """

    label: str
    dataset: Dataset | None
    runs: list[Run]


@dataclass
class Found:
    """What is compared.

    Attributes:
        groups: The runs, by dataset.
        skipped: What could not be read, and why: a sentence each.
        stale: Tests of checkpoints that are no longer their run's: a sentence each.
    """

    groups: list[Group]
    skipped: list[str]
    stale: list[str]

    @property
    def runs(self) -> list[Run]:
        """All runs."""
        return [run for group in self.groups for run in group.runs]
