"""What a run with ``init=`` begins with: another one's weights and input, and what those weights have seen."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fer.build import locate
from fer.config.inherited import differences
from fer.config.option_values import shown
from fer.data.base import FERDataModule
from fer.errors import ConfigError, FERError
from fer.files import export
from fer.files.predictions import Predictions
from fer.files.run_folder import checkpoint_file, checkpoint_mark
from fer.models import build_model
from fer.models.preprocessing import Preprocessing
from fer.scores import seen_images
from fer.scores.metrics import final_scores
from fer.scores.protocol import leak_line, stamp_of_test
from fer.training.checkpoint_content import load_checkpoint
from fer.training.module import FERModule

log = logging.getLogger(__name__)

_INPUT = ("image_size", "channels", "mean", "std", "fit")
_NAMED = 8  # classes that a line of the log names


@dataclass(frozen=True)
class Parent:
    """A trained model whose weights another training begins with.

    Attributes:
        path: The checkpoint, or the file of weights.
        mark: What tells it from others, see :func:`fer.files.run_folder.checkpoint_mark`.
        classes: Class names in label order.
        preprocessing: Its input.
        model: The ``model`` node: ``_target_`` and options.
        weights: The tensors of its network that were tested: averaged ones, where it was trained with ``ema``.
        seen: What it carries of the images that it was trained and chosen on; None if it does not say.
    """

    path: Path
    mark: str | None
    classes: Sequence[str]
    preprocessing: Preprocessing
    model: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    seen: Mapping[str, Any] | None

    @property
    def record(self) -> dict[str, Any]:
        """What a child keeps of it: plain data."""
        return {
            "path": str(self.path),
            "mark": self.mark,
            "classes": list(self.classes),
            "dataset": (self.seen or {}).get("dataset"),
        }


def read(path: str | Path, model: Mapping[str, Any]) -> Parent:
    """Read a trained model as plain data; nothing in it is run.

    Args:
        path: A run's folder (for its best checkpoint), a checkpoint, or a safetensors export.
        model: The child's ``model`` node, which must be of the same network.

    Raises:
        FERError: If it cannot be used.
        ConfigError: Naming every option of the network that is another.
    """
    given = Path(path).expanduser()
    found = _read_export(given) if export.is_export(given) else _read_checkpoint(given)
    if lines := differences(model, found.model, f"the network of init={path}"):
        raise ConfigError("\n  ".join(lines))
    return found


def _read_checkpoint(given: Path) -> Parent:
    checkpoint = load_checkpoint(given, key="init")
    hparams = checkpoint["hyper_parameters"]
    state: Mapping[str, Tensor] = checkpoint["state_dict"]
    file = checkpoint_file(given).resolve()
    return Parent(
        file,
        checkpoint_mark(file),
        hparams["classes"],
        Preprocessing.from_dict(hparams["preprocessing"]),
        hparams["model"],
        {key.removeprefix("net."): value for key, value in state.items() if key.startswith("net.")},
        checkpoint.get(seen_images.KEY),
    )


def _read_export(path: Path) -> Parent:
    from safetensors.torch import load_file

    content = export.read(path)
    file = path if path.is_file() else path / content["file"]
    try:
        weights = load_file(str(file))
    except Exception as error:  # safetensors' own, which has no public base
        raise FERError(f"init={path}: cannot be read ({str(error).splitlines()[0][:200]}).") from error
    mark = (content.get("training") or {}).get("checkpoint_mark")
    return Parent(
        file.resolve(), mark, content["classes"], Preprocessing.from_dict(content["preprocessing"]), content["model"],
        weights, None,
    )  # fmt: skip


def inherit_input(data: dict[str, Any], parent: Preprocessing, said: Collection[str]) -> None:
    """Fill the parent's input into a ``data`` node, but for what the command says, and tell which is which.

    Args:
        data: The node; changed in place.
        parent: The parent's input.
        said: Keys of the command's overrides.
    """
    values = parent.as_dict()
    own_fit = getattr(locate(data.get("_target_"), "data"), "own_fit", "")  # portraits, say, are cut in their own way
    keys = [key for key in _INPUT if key in data and (key != "fit" or own_fit is None)]
    given = [key for key in keys if f"data.{key}" in said]
    for key in keys:
        if key not in given:
            data[key] = values[key]
    taken = ", ".join(f"{key}={_said(values[key])}" for key in keys if key not in given)
    here = "".join(f"; given here: {key}={_said(data[key])}, there {_said(values[key])}" for key in given)
    log.info("input  of the parent: %s%s", taken or "nothing", here)


def fill(module: FERModule, parent: Parent) -> None:
    """Copy the parent's weights into a module: of classes that both have by name, and all others as they are.

    Args:
        module: The child, whose classes may differ in number, order and names; new ones keep their random weights.
        parent: The parent.

    Raises:
        ConfigError: If the weights are not those of the child's network and input.
    """
    own = module.net.state_dict()
    axes = _class_axes(module)
    lacking = [key for key in own if key not in parent.weights]
    unused = [key for key in parent.weights if key not in own]
    wrong = [
        f"{key}: {tuple(parent.weights[key].shape)} there, {tuple(own[key].shape)} here"
        for key in own
        if key in parent.weights
        and not _fits(own[key], parent.weights[key], axes.get(key), len(module.classes), len(parent.classes))
    ]
    if problems := [*(f"{key}: not there" for key in lacking), *(f"{key}: not here" for key in unused), *wrong]:
        more = f"\n    ... and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ConfigError(
            f"init={parent.path}: {len(problems)} of its {len(parent.weights)} tensors do not fit this network:\n    "
            + "\n    ".join(problems[:4]) + more
            + "\n  Leave out what changes its shape (data.channels, data.image_size, model.*): it comes from there."
        )  # fmt: skip
    kept = [name for name in parent.classes if name in module.classes]
    here = torch.tensor([module.classes.index(name) for name in kept], dtype=torch.long)
    there = torch.tensor([parent.classes.index(name) for name in kept], dtype=torch.long)
    with torch.no_grad():
        for key, value in own.items():
            given = parent.weights[key].to(value)
            if key in axes:
                value.index_copy_(axes[key], here, given.index_select(axes[key], there))
            else:
                value.copy_(given)
    module.seen_before = parent.seen if parent.seen is not None else {seen_images.UNKNOWN: True}
    module.parent = parent.record
    log.info("init   %s: %d tensors", parent.path, len(own))
    new = [name for name in module.classes if name not in parent.classes]
    dropped = [name for name in parent.classes if name not in module.classes]
    parts = [f"{len(names)} {what} ({_some(names)})" for names, what in (
        (kept, "kept"), (new, "new, begun afresh"), (dropped, "dropped")) if names]  # fmt: skip
    log.info("head   classes: %s", ", ".join(parts))
    if parent.seen is None:
        log.warning("init=%s carries no fingerprints: which images it was trained on cannot be told.", parent.path)


def warn_of_seen(parent: Parent, datamodule: FERDataModule) -> None:
    """Say how many images of the splits that choose and test the child the parent has learned from already."""
    for split in ("val", "test"):
        rows = datamodule.rows(split)
        found = seen_images.find({seen_images.KEY: parent.seen}, datamodule.samples.images, rows)
        known = int((found.fitted | found.chose).sum())
        if known:
            what = "its score chooses the checkpoint, and flatters" if split == "val" else "they are counted as seen"
            log.warning(
                "%s   %s of %s images, or copies of them, fitted or chose the parent: %s", split, f"{known:,}",
                f"{len(rows):,}", what,
            )  # fmt: skip


def seen_by(
    checkpoint: str, module: FERModule, datamodule: FERDataModule, predictions: Sequence[Predictions], stamp: str | None
) -> dict[str, Any]:
    """Return what ``metrics.json`` says of a parent, and of the test images that it, or the teachers, had seen.

    Args:
        checkpoint: The child's best checkpoint.
        module: The child.
        datamodule: Its data.
        predictions: Its answers on each split, the test split last.
        stamp: What must not be overlooked about the scores already.

    Returns:
        ``parent``, where there is one; with a test split ``seen``, ``clean`` (the scores without those images) and
        ``stamp``.
    """
    found: dict[str, Any] = {}
    if module.parent is not None:
        found["parent"] = {key: module.parent.get(key) for key in ("path", "mark", "dataset")}
    test = predictions[-1]
    if test.split != "test":
        return found
    seen = seen_images.find(load_checkpoint(checkpoint), datamodule.samples.images, test.rows)
    found["seen"] = seen.counts()
    unseen = ~(seen.fitted | seen.chose)
    if 0 < unseen.sum() < len(unseen):
        found["clean"] = final_scores(test.probabilities[unseen], test.labels[unseen], datamodule.classes)
    chose = int((seen.chose & ~seen.fitted).sum())
    more = stamp_of_test(len(unseen), int(seen.fitted.sum()), chose, seen.selected_on_test)
    if more and more not in (stamp or ""):
        found["stamp"] = f"{stamp} {more}" if stamp else more
    return found


def told(metrics: Mapping[str, Any]) -> list[str]:
    """Return the lines below a run's table that name its parent, and what that, or its teachers, had seen."""
    parent = metrics.get("parent")
    lines = [f"It began with the weights of {parent['path']} (mark {parent['mark']})."] if parent else []
    if "seen" in metrics:
        lines.append(leak_line(metrics["seen"]))
    if "clean" in metrics:
        scores = metrics["clean"]
        lines.append(
            f"Of the {scores['n']:,} test images that it had not seen: accuracy {scores['accuracy']:.3f}, macro F1 "
            f"{scores['f1_macro']:.3f}."
        )
    return lines


def _class_axes(module: FERModule) -> dict[str, int]:
    """Return the tensors of a network that have one slice for each class, and along which axis.

    They are those whose shape is another in the same network with one class more.
    """
    classes, size = len(module.classes), module.preprocess
    arguments = (module.hparams["model"], classes + 1, size.channels, size.image_size)

    def larger() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return build_model(*arguments, load_weights=False)

    try:
        with torch.device("meta"):  # shapes alone
            other = larger().state_dict()
    except (NotImplementedError, RuntimeError):  # a network that looks at values while it is built
        other = larger().state_dict()
    axes = {}
    for key, value in module.net.state_dict().items():
        pairs = zip(value.shape, other[key].shape, strict=True)
        changed = [axis for axis, (one, more) in enumerate(pairs) if one != more]
        if len(changed) == 1 and value.shape[changed[0]] == classes:
            axes[key] = changed[0]
    return axes


def _fits(own: Tensor, given: Tensor, axis: int | None, classes: int, there: int) -> bool:
    if axis is None or own.ndim != given.ndim:
        return own.shape == given.shape
    wanted = list(own.shape)
    wanted[axis] = there
    return list(given.shape) == wanted and own.shape[axis] == classes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return shown(value[0]) if len(set(value)) == 1 else shown(list(value))
    return shown(value)
