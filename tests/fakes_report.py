"""What finished runs and tests leave for a report, without training."""

import json
from pathlib import Path
from typing import Any

import yaml

SCORES = {"n": 100, "accuracy": 0.5, "balanced_accuracy": 0.5, "f1_macro": 0.5}
CLASSES = {"happy": {"f1": 0.6, "support": 99}, "sad": {"f1": 0.4, "support": 1}, "fear": {"f1": 0.0, "support": 0}}


def scores(accuracy: float) -> dict[str, Any]:
    interval = [accuracy - 0.05, accuracy + 0.05]
    confusion = [[60, 39, 0], [1, 0, 0], [0, 0, 0]]
    return {**SCORES, "accuracy": accuracy, "accuracy_95": interval, "per_class": CLASSES, "confusion": confusion}


def dataset(name: str, root: str, pixels: str = "p") -> dict[str, Any]:
    return {
        "name": name, "root": root, "classes": list(CLASSES), "ids": "i", "labels": "l", "pixels": pixels,
        "input": [48, 48, "pad"],
    }  # fmt: skip


def make_run(folder: Path, accuracy: float, seed: int = 0, lr: float = 0.1, augment: bool = True, **other: Any) -> Path:
    """Leave what a finished run leaves."""
    folder.mkdir(parents=True)
    metrics = {
        "model": "net", "stamp": None, "monitor": "val/loss", "best_score": 1.0, "best_epoch": 2, "epochs": 2,
        "last_epoch": {"epoch": 2}, "val": scores(accuracy), "test": scores(accuracy), "data": "folder",
        "dataset": dataset("folder", "/data/x"), "checkpoint_mark": f"mark of {folder.name}", **other,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    config = {"seed": seed, "optimizer": {"lr": lr}, "transforms": {"flip": {"p": 0.5}} if augment else {}}
    config |= {"output_dir": str(folder), "callbacks": {"best": {"dirpath": f"{folder}/checkpoints"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "history.csv").write_text("epoch,train/accuracy,val/loss\n1,0.4,0.4\n2,0.75,0.5\n")
    ids = "".join(f"{split},im{i},happy,{'happy' if i % 3 else 'sad'}\n" for split in ("val", "test") for i in range(9))
    (folder / "predictions.csv").write_text("split,id,label,predicted\n" + ids)
    return folder


def make_test(folder: Path, run: Path, accuracy: float, **other: Any) -> Path:
    """Leave what a test leaves."""
    folder.mkdir(parents=True)
    seen = {"known": True, "trained_on": "folder", "images": 9, "in_training": 0, "in_training_exactly": 0}
    metrics = {
        "data": "folder", "split": "all", "tta": "none", "stamp": None, "label_space": {"merged": {}},
        "checkpoint": str(run / "checkpoints" / "best.ckpt"), "checkpoint_mark": f"mark of {run.name}",
        "dataset": dataset("folder", "/data/y", "q"), "seen": {**seen, "chose_the_checkpoint": 0},
        "test": scores(accuracy), **other,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder
