"""What a trained model is worth where there are few faces: ``python -m benchmarks.few_faces <FER2013> <work>``.

The parent learns seven classes on FER2013's Training folder. PublicTest's faces, which it has not seen, are cut anew,
closer (the middle 34 of 48 pixels), without ``neutral``: 5 images a class to train on, 5 to choose on, the rest to test
on, in three draws. On each: the parent as it is, a network from random weights, and two with ``init=<parent>``.
"""

import random
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

import fer
from fer.files import metrics

SEEDS = (0, 1, 2)
EACH = 5
QUICK = {
    "trainer.accelerator": "cpu", "trainer.enable_progress_bar": False, "callbacks.samples": None,
    "callbacks.confusion": None, "data.num_workers": 0, "channels_last": True, "monitor": "val/accuracy",
    "transforms": "light",
}  # fmt: skip
NETWORK = {"model": "small_cnn", "model.filters": [16, 32, 64, 128], "data.image_size": 32}


def draw(public_test: Path, root: Path, seed: int) -> Path:
    """Write one draw of the small dataset, and return its folder."""
    shutil.rmtree(root, ignore_errors=True)
    order = random.Random(seed)
    for folder in sorted(public_test.iterdir()):
        files = sorted(folder.iterdir())
        order.shuffle(files)
        if folder.name == "neutral":
            continue
        for split, part in (("train", files[:EACH]), ("val", files[EACH : 2 * EACH]), ("test", files[2 * EACH :])):
            there = root / split / folder.name
            there.mkdir(parents=True)
            for file in part:
                face = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
                cv2.imwrite(str(there / f"{file.stem}.png"), face[7:41, 7:41])
    return root


def scores(command: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Run a command in a folder, unless that has been done, and return its ``metrics.json``."""
    if not (folder / metrics.FILE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        fer.run(command, {**options, "output_dir": str(folder)})
    return metrics.read(folder / metrics.FILE)


def main() -> None:
    """Train the parent and, on each draw, its children; print accuracies on the test images of the draws."""
    source, work = (Path(given) for given in sys.argv[1:3])
    training = work / "training"
    training.mkdir(parents=True, exist_ok=True)
    if not (training / "train").exists():
        (training / "train").symlink_to((source / "train").absolute())
    whole = {
        "data": "folder", "data.root": str(training), "data.test_fraction": 0, "data.batch_size": 128,
        "scheduler": "onecycle", "scheduler.max_momentum": 0.95, "scheduler.base_momentum": 0.85,
        "optimizer.lr": 0.004, "trainer.max_epochs": 2,
    }  # fmt: skip
    parent = scores("train", work / "parent", {**QUICK, **NETWORK, **whole})
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        root = draw(source / "test", work / f"few{seed}", seed)
        data = {"data": "folder", "data.root": str(root)}
        few = {**QUICK, **data, "data.batch_size": 16, "trainer.max_epochs": 20, "optimizer.lr": 0.001, "seed": seed}
        test = scores("test", work / f"as_it_is{seed}", {"ckpt": str(work / "parent"), "split": "test", **data})
        found.setdefault("the parent as it is", []).append(test["test"]["accuracy"])
        found.setdefault("the same, of the six classes alone", []).append(test["restricted"]["accuracy"])
        for number, (name, more) in enumerate({
            "from random weights": NETWORK,
            "init=<parent>": {"init": str(work / "parent")},
            "init=<parent>, the head alone": {
                "init": str(work / "parent"), "callbacks": ["default", "finetuning"], "callbacks.finetuning.epoch": 20,
            },
        }.items()):  # fmt: skip
            trained = scores("train", work / f"child{number}_{seed}", {**few, **more})
            found.setdefault(name, []).append(trained["test"]["accuracy"])
    table = Table(title=f"{EACH} faces a class; parent {parent['val']['accuracy']:.3f} on its own validation images")
    for column in ("", "test accuracy", "each"):
        table.add_column(column)
    for name, each in found.items():
        mean = f"{statistics.mean(each):.3f} ± {statistics.stdev(each):.3f}"
        table.add_row(name, mean, " ".join(f"{one:.3f}" for one in each))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
