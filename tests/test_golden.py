"""Numbers stay what they are: training's losses to the digit, and the answers of checkpoints of earlier releases.

``python tests/test_golden.py`` writes them anew; do so only where numbers are meant to change, or for a release, and
say it in the changelog.
"""

import csv
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import TINY

GOLDEN = Path(__file__).parent / "golden"
RECIPES = {
    "plain": ("model=simple_conv", "transforms=standard"),
    "mixed": (
        "model=small_cnn",
        "optimizer=sgd",
        "scheduler=onecycle",
        "scheduler.max_momentum=0.95",
        "scheduler.base_momentum=0.85",
        "mixup=both",
        "transforms=strong",
    ),
    "weighted": (
        "model=emotion_net",
        "callbacks=[default,ema]",
        "data.sampler=weighted",
        "trainer.precision=bf16-mixed",
    ),
}
STEPS = 20


class KeepLosses(pl.Callback):
    """Writes the loss of each step beside the run."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        Path(trainer.default_root_dir, "losses.json").write_text(json.dumps(self.losses))


def machine() -> dict[str, str]:
    """Return what decides about the last digits."""
    from fer import environment

    return {
        "cpu": environment.describe()["cpu"]["name"],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def losses_of(recipe: str, train: Callable[..., Path]) -> list[float]:
    keep = ("+callbacks.keep._target_=test_golden.KeepLosses", f"trainer.limit_train_batches={STEPS}")
    tiny = [option for option in TINY if not option.startswith(("model=", "transforms=", "data.num_samples="))]
    run = train(
        *RECIPES[recipe],
        *tiny,
        *keep,
        "data.image_size=24",
        "data.num_samples=900",
        "trainer.max_epochs=1",
        name=recipe,
    )
    found: list[float] = json.loads((run / "losses.json").read_text())
    assert len(found) == STEPS
    return found


@pytest.mark.parametrize("recipe", RECIPES)
def test_losses(recipe: str, train_here: Callable[..., Path]) -> None:
    kept = json.loads((GOLDEN / "losses.json").read_text())
    found = losses_of(recipe, train_here)
    if kept["machine"] == machine():
        assert found == kept["losses"][recipe]
    else:  # another processor or release rounds otherwise, and the differences grow from step to step
        assert found[:3] == pytest.approx(kept["losses"][recipe][:3], rel=1e-3 if recipe != "weighted" else 2e-2)


def write_images(root: Path) -> Path:
    fakes.write_image_folder(root, splits=("test",), per_class=6, size=24, seed=5)
    return root


def answers(checkpoint: Path, root: Path, run: Callable[..., Path]) -> dict[str, list[float]]:
    test = run("fer.test", f"ckpt={checkpoint}", "data=folder", f"data.root={root}", "mistakes=0", name="test")
    with (test / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in rows[0] if name.startswith("p_")]
    assert len(columns) == 7
    return {row["id"]: [float(row[name]) for name in columns] for row in rows}


@pytest.mark.parametrize("release", sorted(path.stem for path in GOLDEN.glob("*.ckpt")))
def test_checkpoints_of_earlier_releases(release: str, run_here: Callable[..., Path], tmp_path: Path) -> None:
    found = answers(GOLDEN / f"{release}.ckpt", write_images(tmp_path / "images"), run_here)
    kept = json.loads((GOLDEN / f"{release}.json").read_text())
    assert found.keys() == kept.keys()
    for name, probabilities in kept.items():
        assert found[name] == pytest.approx(probabilities, abs=1e-4), name


def write(release: str, folder: Path, run: Callable[..., Path]) -> None:
    """Write the losses of today, and a checkpoint of a release with its answers."""
    (GOLDEN / "losses.json").write_text(
        json.dumps({"machine": machine(), "losses": {name: losses_of(name, run) for name in RECIPES}}, indent=1) + "\n"
    )
    fakes.write_image_folder(folder / "train", per_class=12, size=24, seed=1)
    tiny = [option for option in TINY if not option.startswith(("model=", "data.num_samples="))]
    small = ("model=cnn", "model.filters=[8,16]", "data=folder", f"data.root={folder / 'train'}", "data.batch_size=28")
    trained = run("fer.train", *tiny, *small, "optimizer.lr=2e-3", "trainer.max_epochs=6", name="trained")
    (GOLDEN / f"{release}.ckpt").write_bytes((trained / "checkpoints/best.ckpt").read_bytes())
    found = answers(GOLDEN / f"{release}.ckpt", write_images(folder / "images"), run)
    (GOLDEN / f"{release}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    import tempfile

    from conftest import in_process

    import fer

    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as temporary,
        pytest.MonkeyPatch.context() as patch,
        in_process(Path(temporary), Path(temporary, "cache"), patch) as run_it,
    ):

        def run_command(*args: str, name: str = "run") -> Path:
            return run_it(*(args if args[0].startswith("fer.") else ("fer.train", "framing=false", *args)), name=name)

        write(fer.__version__, Path(temporary), run_command)
