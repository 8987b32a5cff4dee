"""What an export says of itself, and what it is made from: the run's scores, its data, tests of its checkpoint."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import fer
from fer.build import build
from fer.data.base import FERDataModule
from fer.datasets.synthetic import Synthetic
from fer.display import cell, say
from fer.errors import ConfigError, FERError
from fer.exporting.checks import Comparison
from fer.exporting.int8 import Price
from fer.files import export, run_folder, run_record
from fer.files import metrics as metrics_file
from fer.files.hub import Pushed
from fer.plots.tables import fitted
from fer.predicting.exported import ExportedNetwork
from fer.scores import calibration, seen_images
from fer.training.checkpoint_content import load_checkpoint
from fer.training.module import FERModule

log = logging.getLogger(__name__)
_SCORES = ("accuracy", "f1_macro")  # of the model card


def metrics_of(ckpt: str) -> dict[str, Any]:
    """Return ``metrics.json`` of the run that a checkpoint belongs to; empty if it stands alone."""
    path = Path(ckpt)
    run = path if path.is_dir() else path.parent.parent
    try:
        metrics = metrics_file.read(run / metrics_file.FILE)
        metrics_file.check(metrics, _SCORES)
    except (OSError, ValueError):
        return {}
    return metrics if metrics.get("checkpoint_mark") == run_folder.checkpoint_mark(ckpt) else {}


def soup_of(ckpt: str) -> list[dict[str, Any]]:
    """Return what a soup scored when its ensemble was made, as a test's ``metrics.json``; empty if it is no soup's."""
    path = Path(ckpt)
    try:
        metrics = metrics_file.read((path if path.is_dir() else path.parent.parent) / metrics_file.FILE)
        if metrics_file.kind_of(metrics) != "ensemble" or not isinstance(metrics.get("soup"), dict):
            return []
        # What was seen and the stamp are of all members, so of no fewer images than of the soup's.
        found = metrics | {key: metrics["soup"][key] for key in ("test", "clean") if key in metrics["soup"]}
        metrics_file.check(found, _SCORES)
    except (OSError, ValueError):
        return []
    return [found] if metrics.get("checkpoint_mark") == run_folder.checkpoint_mark(ckpt) else []


def tests_of(folders: Sequence[str], ckpt: str) -> list[dict[str, Any]]:
    """Return ``metrics.json`` of tests of a checkpoint.

    Raises:
        ConfigError: If a folder holds no test, or another checkpoint's.
    """
    found = []
    mark = run_folder.checkpoint_mark(ckpt)
    for folder in folders:
        try:
            metrics = metrics_file.read(Path(folder) / metrics_file.FILE)
            metrics_file.check(metrics, _SCORES)
            if metrics_file.kind_of(metrics) != "test":
                raise ValueError("it is a training's")
        except (OSError, ValueError) as error:
            raise ConfigError(f"tests={folder}: holds no test that can be read ({error}).") from error
        if metrics.get("checkpoint_mark") != mark:
            raise ConfigError(f"tests={folder}: is a test of another checkpoint, {metrics['checkpoint']}.")
        found.append(metrics)
    return found


def data(ckpt: str, trust: object, module: FERModule | ExportedNetwork, needed: bool) -> FERDataModule:
    """Return the run's own data; drawn faces if they are not here.

    Args:
        ckpt: The run or its checkpoint.
        trust: Whose run folders are followed, see :func:`fer.files.run_record.data_of`.
        module: The trained module.
        needed: Whether nothing but the run's own data will do.

    Raises:
        FERError: If they are needed and not here.
    """
    try:
        if isinstance(module, ExportedNetwork):
            raise FERError(f"ckpt={ckpt}: is an export, which does not say where its run's data stand.")
        node = run_record.data_of(ckpt, trust)
        datamodule: FERDataModule = build(node, "data", seed=module.hparams["seed"])
        datamodule.setup("fit")
    except FERError as error:
        if needed:
            raise FERError(
                f"int8=true calibrates on the run's training images, and they are not here: {error}"
            ) from error
        log.warning("the run's dataset is not here, so the comparison is on drawn faces: %s", error)
        datamodule = Synthetic(num_samples=300, image_size=module.preprocess.image_size)
        datamodule.setup("fit")
    return datamodule


def original(config: Mapping[str, Any]) -> FERModule | ExportedNetwork:
    """Return the model that is to be exported: a checkpoint's, or that of an export's weights.

    Raises:
        FERError: If it cannot be used.
    """
    path = Path(config["ckpt"]).expanduser()
    if export.is_export(path):
        return ExportedNetwork(path)
    packages = config["trust"] if isinstance(config["trust"], list) else ()
    return FERModule.load_from_checkpoint(config["ckpt"], packages=packages)


def describe(module: FERModule | ExportedNetwork, config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return what stands in ``config.json`` before anything is measured; see :func:`fer.files.export.write`.

    Raises:
        FERError: If it is the export of an export whose own description lacks something.
    """
    if isinstance(module, ExportedNetwork):
        return _as_before(module, config, file)
    checkpoint = load_checkpoint(config["ckpt"])
    seen = checkpoint.get(seen_images.KEY) or {}
    hparams = module.hparams
    return {
        "file": file,
        "export_format": config["format"],
        "network": module.name,
        "classes": list(module.classes),
        "preprocessing": module.preprocess.as_dict(),
        "temperature": calibration.temperature_of(checkpoint),
        "input": "images: uint8 (B, H, W, 3), RGB, each of them a face; grey images with three equal channels",
        "output": f"probabilities: float32 (B, {len(module.classes)}), in the order of classes",
        "model": hparams["model"] if config["format"] == "safetensors" else None,
        "training": {
            "dataset": seen.get("dataset"),
            "fitted": len(seen.get("train", ())),
            "chose": len(seen.get("val", ())),
            "selected_on_test": bool(seen.get("selected_on_test", False)),
            "monitor": hparams["monitor"],
            "parent": _parent(checkpoint.get(seen_images.PARENT), seen),
            "checkpoint_mark": run_folder.checkpoint_mark(config["ckpt"]),
        },
        "fer": fer.__version__,
    }


def _as_before(network: ExportedNetwork, config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return the description of an export that is written in another format."""
    content, training = network.content, network.content.get("training")
    if (
        not isinstance(training, dict)
        or not all(isinstance(training.get(key), int) for key in ("fitted", "chose"))
        or not all(isinstance(training.get(key), str | None) for key in ("dataset", "monitor"))
        or not _is_parent(training.get("parent"))
        or not all(isinstance(content.get(key), str) for key in ("network", "input", "output"))
    ):
        said = config["hub"] or config["ckpt"]
        raise FERError(f"ckpt={said}: its {export.FILE} does not say what it was trained on.")
    kept = ("network", "classes", "preprocessing", "temperature", "input", "output", "training")
    return {
        "file": file,
        "export_format": config["format"],
        **{key: content.get(key) for key in kept},
        "model": content["model"] if config["format"] == "safetensors" else None,
        "hub": config["hub"],
        "fer": fer.__version__,
    }


def _is_parent(said: object) -> bool:
    """Say whether somebody's description of the model before is what :func:`_parent` returns."""
    return said is None or (
        isinstance(said, dict)
        and "fitted" in said
        and isinstance(said["fitted"], int | None)
        and isinstance(said.get("dataset"), str | None)
    )


def _parent(record: Mapping[str, Any] | None, seen: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the model whose weights the training began with was trained on; None without one."""
    if record is None:
        return None
    known = not seen.get(seen_images.UNKNOWN, False)
    images = seen_images.earlier(seen) if known else None
    return {"dataset": record.get("dataset"), "checkpoint_mark": record.get("mark"), "fitted": images}


def measured(found: Comparison, price: Price | None) -> dict[str, Any]:
    """Return what was measured, for ``config.json``."""
    values: dict[str, Any] = {
        "int8": price is not None,
        "largest_difference": found.difference,
        "compared_images": found.images,
    }
    return values if price is None else values | {"accuracy_float32": price.before, "accuracy_int8": price.after}


def refuse_other_answers(found: Comparison, tolerance: float, path: Path) -> None:
    """Refuse an export that answers otherwise than torch does; its folder of work is removed.

    Raises:
        FERError: Saying how large the difference is.
    """
    if not found.difference <= tolerance:  # NaN is refused too
        shutil.rmtree(path.parent, ignore_errors=True)
        raise FERError(
            f"the export differs from torch by up to {found.difference:.1e} in probability; allowed are "
            f"{tolerance:.0e} (tolerance=). It was not kept."
        )


def print_table(folder: Path, path: Path, found: Comparison, price: Price | None) -> None:
    """Print the comparison, and where the export stands."""
    console = Console()
    header = ["batch", "torch, ms", "export, ms", "times as fast"]
    rows = [[f"{n}", f"{a:.2f}", f"{b:.2f}", f"{a / b:.2f}"] for n, (a, b) in found.milliseconds.items()]
    said = f"largest difference in probability {found.difference:.1e} on {found.images:,} images"
    for part in fitted(said, header, rows):
        console.print(part)
    if price is not None:
        say(
            console,
            f"accuracy on validation, n {price.images:,}: {price.before:.4f} in 32 bits, {price.after:.4f} in 8",
        )
    size = sum(part.stat().st_size for part in export.parts(path))
    console.print(cell(f"{size / 1e6:.1f} MB"))
    say(console, f"export: {folder}")


def print_pushed(pushed: Pushed) -> None:
    """Print where an export went, who can see it, and by what address this state of it is named."""
    console = Console()
    say(console, f"pushed: {pushed.page} ({'private' if pushed.private else 'public: everybody can see it'})")
    say(console, f"use it: python -m fer.predict ckpt={pushed.address} source=photo.jpg")
