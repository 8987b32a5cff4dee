"""``config.json`` of an exported model: all that its file of weights or its graph does not say by itself."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer.errors import ConfigError, FERError
from fer.files.checksum import sha256
from fer.files.home import expanded
from fer.files.text import read_json, write_json

FILE = "config.json"
UNFINISHED = "unfinished"
"""The folder in an export's folder in which it is written until it has been compared with the model."""
KIND = "fer-export"
FORMAT = 1
NAMES = {
    "onnx": "model.onnx", "openvino": "model.xml", "torch_export": "model.pt2", "safetensors": "model.safetensors",
}  # fmt: skip
"""Each format's file in an export's folder."""


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Write an export's description.

    Args:
        folder: The export's folder.
        content: ``file``, the model's file; ``classes``, in the order of the probabilities; ``preprocessing``, as in a
            checkpoint, with the framing of the training images where it is known; ``temperature``, by which logits are
            divided; ``input`` and ``output``, for readers; ``model``, the network's ``_target_`` and options
            (safetensors alone); ``training``: dataset, number of images that fitted and chose it, what chose it, the
            checkpoint's mark; ``largest_difference`` from torch in probability; ``fer``, the version that wrote it.
            ``sha256`` of the model's file, and of its weights where they stand apart, is added: name to digest.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    sums = {part.name: sha256(part) for part in parts(folder / content["file"]) if part.is_file()}
    write_json(folder / FILE, {"kind": KIND, "format": FORMAT, **content, "sha256": sums})


def finish(work: Path, folder: Path) -> None:
    """Let an export take its place, its description last: without that it is none.

    Args:
        work: Where it was written, in ``folder``; removed.
        folder: The export's folder.
    """
    for part in sorted(work.iterdir(), key=lambda part: part.name == FILE):
        os.replace(part, folder / part.name)
    work.rmdir()


def check_sums(folder: Path, content: Mapping[str, Any], said: str) -> None:
    """Refuse a model's file that is not the one which was described.

    Args:
        folder: The export's folder.
        content: Its description.
        said: What the user called it.

    Raises:
        FERError: If a file is not there, or another.
    """
    given = content.get("sha256")
    for part in parts(folder / content["file"]):
        if not isinstance(given, dict) or not isinstance(given.get(part.name), str):
            raise FERError(f"{said}: its {FILE} gives no SHA-256 of {part.name}. Export the model again.")
        if not part.is_file():
            raise FERError(f"{said}: holds no {part.name}, which its {FILE} names.")
        if sha256(part) != given[part.name]:
            raise FERError(f"{said}: {part.name} is not the file that {FILE} describes (SHA-256): damaged, or another.")


def read(path: Path) -> dict[str, Any]:
    """Read an export's description.

    Args:
        path: The export's folder, or a file in it.

    Raises:
        FERError: If there is none, it is of a newer format, or it lacks what is needed.
    """
    folder = path if path.is_dir() else path.parent
    try:
        content = read_json(folder / FILE)
    except (OSError, ValueError) as error:
        raise FERError(f"{path}: is no export of fer: its {FILE} cannot be read ({error}).") from error
    if content.get("kind") != KIND:
        raise FERError(f"{path}: is no export of fer: {folder / FILE} does not say kind={KIND!r}.")
    if content.get("format") != FORMAT:
        raise FERError(f"{path}: has format {content.get('format')!r}, and this fer reads {FORMAT}. Update fer.")
    classes = content.get("classes")
    named = isinstance(classes, list) and all(isinstance(name, str) and name for name in classes)
    if not named or len(classes) < 2 or len(set(classes)) < len(classes):  # type: ignore[arg-type]
        raise FERError(f"{folder / FILE}: its classes are not a list of two or more names, each once.")
    if content.get("file") not in NAMES.values() or not isinstance(content.get("preprocessing"), dict):
        raise FERError(f"{folder / FILE}: names no model file, or lacks the preprocessing.")
    if not isinstance(content.get("training", {}), dict):
        raise FERError(f"{folder / FILE}: what it says of the training is no mapping.")
    return content


def check_again(ckpt: str, said: str) -> None:
    """Refuse to export an export that is no network any more.

    Args:
        ckpt: A run, a checkpoint or an export.
        said: What the user called it.

    Raises:
        ConfigError: If it is a graph.
        FERError: If it is an export that cannot be read.
    """
    path = expanded(ckpt)
    if not is_export(path):
        return
    file = path.name if path.is_file() else read(path)["file"]
    if file != NAMES["safetensors"]:
        raise ConfigError(
            f"ckpt={said}: is an export ({file}) that cannot be turned into another. Export the run, its checkpoint, "
            f"or an export with format=safetensors."
        )


def check_test(config: Mapping[str, Any]) -> None:
    """Refuse a test of an export that asks what only a checkpoint can give.

    Args:
        config: The config of ``fer.test``.

    Raises:
        ConfigError: Naming the key.
    """
    ckpt = config["ckpt"]
    if not is_export(expanded(ckpt)):
        return
    if config.get("data") is None:
        raise ConfigError(
            f"data: ckpt={ckpt} is an export, which does not say where its run's data stand. Name the dataset: "
            f"data=<name> data.root=<folder>"
        )
    for key, allowed in (("tta", ("none",)), ("accelerator", ("auto", "cpu")), ("precision", ("32-true",))):
        if config[key] not in allowed:
            raise ConfigError(
                f"{key}={config[key]}: ckpt={ckpt} is an export, which runs on the CPU as it is: {key}={allowed[0]}."
            )


def model_file(folder: Path) -> Path | None:
    """Return the model's file in an export's folder; None if the folder is none: a run's is none, whatever is in it."""
    if (folder / "checkpoints").is_dir():
        return None
    there = (folder / name for name in NAMES.values() if (folder / name).is_file())
    return next(there, None) if (folder / FILE).is_file() else None


def parts(path: Path) -> list[Path]:
    """Return a model's file, and the one of its weights where they stand apart: OpenVINO's."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def is_export(path: Path) -> bool:
    """Say whether a path is an export's folder, or a model's file in one, rather than a run or a checkpoint."""
    if path.is_dir():
        return model_file(path) is not None
    return path.suffix in {Path(name).suffix for name in NAMES.values()}
