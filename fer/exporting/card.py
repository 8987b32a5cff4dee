"""The model card: what a model is, what it was trained on, how well it does and on what, and what it is not for.

After Mitchell et al., Model Cards for Model Reporting, FAT* 2019, https://arxiv.org/abs/1810.03993. The head is what
the Hugging Face Hub reads (https://huggingface.co/docs/hub/model-cards).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fer.display import markdown
from fer.exporting.checks import Comparison
from fer.files.atomic import writing
from fer.files.hub import CARD
from fer.plots.class_table import said_of_tta
from fer.plots.tables import NOTHING
from fer.scores.protocol import leak_line

FILE = CARD

_USE = """## Use

```python
import fer
model = fer.load("{folder}")
model.predict("photo.jpg")
```

or `python -m fer.predict ckpt={folder} source=photo.jpg`.{without}
"""
_WITHOUT = {
    "onnx": (
        " Without fer: any ONNX runtime takes uint8 RGB images `images` (B, H, W, 3), each a face, and gives "
        "`probabilities` (B, {classes}); resizing and normalisation are in the graph."
    ),
    "openvino": (
        " Without fer: OpenVINO reads `model.xml` and takes uint8 RGB images `images` (B, H, W, 3), each a face, and "
        "gives `probabilities` (B, {classes}); resizing and normalisation are in the graph."
    ),
    "torch_export": (
        " Without fer: `torch.export.load('model.pt2').module()` takes uint8 RGB images (B, H, W, 3), each a face, and "
        "gives probabilities (B, {classes})."
    ),
    "safetensors": "",
}
_LIMITS = """## Limits

- An expression that can be seen is not a feeling: people smile without joy, and hide what they feel. The classes are
  those of the training data's labels, given by people who did not know either.
- The scores hold for images like those they were measured on. Other cameras, light, ages, skin colours, head poses,
  glasses or masks were measured only where a table above says so; expect less elsewhere.
- The model answers with one of its classes on any picture, a face or not. Low probabilities can be left undecided
  (`min_confidence`).

## Intended use, and what the law forbids

For research, teaching, games and tools whose users know of it and agree. Not for decisions on people. The European
Union's AI Act (Regulation (EU) 2024/1689, Art. 5(1)(f)) forbids systems that infer emotions of people at work and in
education, but for medical or safety reasons; other uses count as high risk (Annex III), and people must be told of
them (Art. 50(3)). The licence of the training images may allow research alone, and covers what was learned from them
in some places: ask whoever owns them.
"""
_UNSEEN = ", without images seen in training"


def write(
    folder: Path,
    description: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tests: Sequence[Mapping[str, Any]],
    comparison: Comparison,
    where: str,
) -> None:
    """Write ``README.md``, the model card.

    Args:
        folder: The export's folder.
        description: What stands in ``config.json``.
        metrics: The run's ``metrics.json``; empty if the checkpoint stands alone.
        tests: ``metrics.json`` of tests of this checkpoint.
        comparison: The export beside torch.
        where: By what a reader loads it: a folder's name, or an address of the Hugging Face Hub.
    """
    name, network = str(metrics.get("name") or description["network"]), str(description["network"])
    training = description["training"]
    head = {
        "library_name": "fer",
        "pipeline_tag": "image-classification",
        "tags": ["facial-expression-recognition", "emotion-recognition"],
    }
    lines = ["---", yaml.safe_dump(head, sort_keys=False).strip(), "---", "", f"# {markdown(name)}", ""]
    size, channels = description["preprocessing"]["image_size"], description["preprocessing"]["channels"]
    lines += [
        f"{markdown(network)}, {size} x {size} pixels, {'grey' if channels == 1 else 'RGB'}; tells "
        f"{len(description['classes'])} facial expressions apart: {markdown(', '.join(description['classes']))}.",
        "",
        _USE.format(folder=where, without=_without(description)),
        "## Training",
        "",
        f"- Data: {markdown(training['dataset'] or 'not known')}; {training['fitted']:,} images fitted it, "
        f"{training['chose']:,} chose the checkpoint (by {markdown(training['monitor'] or 'what is not known')}).",
    ]
    lines += _before(training.get("parent"))
    lines += [f"- Epochs: {metrics['epochs']}; the best was {metrics['best_epoch']}."] if "epochs" in metrics else []
    lines += [f"- **{markdown(metrics['stamp'])}**"] if metrics.get("stamp") else []
    lines += ["", "## Scores", "", *_scores(metrics, tests), *_unlike_the_file(description, metrics, tests), ""]
    lines += [*_leaks(metrics, tests), *_compared(comparison), _LIMITS]
    with writing(folder / FILE) as file:
        file.write("\n".join(lines))


def _without(description: Mapping[str, Any]) -> str:
    return _WITHOUT[description["export_format"]].format(classes=len(description["classes"]))


def _before(parent: Mapping[str, Any] | None) -> list[str]:
    """Say what the weights that a training began with had learned from."""
    if parent is None:
        return []
    fitted = parent["fitted"]
    images = "images that are not known" if fitted is None else f"{fitted:,} images that are not among these"
    return [f"- Before that: a model of {markdown(parent['dataset'] or 'unknown data')}, fitted by {images}."]


def _scores(metrics: Mapping[str, Any], tests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of the run's own splits and of other tests, with 95 % intervals."""
    tta = said_of_tta(_tta(metrics))
    rows = [(f"{metrics['data']}, {split}{tta}", metrics[split]) for split in ("val", "test") if split in metrics]
    if metrics.get("clean"):  # of a training that began with another's weights, or had teachers
        rows.append((f"{metrics['data']}, test{_UNSEEN}{tta}", metrics["clean"]))
    for test in tests:
        said, tta = f"{test['data']}, {test['split']}", said_of_tta(_tta(test))
        rows.append((f"{said}{tta}: {test['stamp']}" if test.get("stamp") else f"{said}{tta}", test["test"]))
        rows += [(f"{said}{_UNSEEN}{tta}", test["clean"])] if test.get("clean") else []
        for column, parts in (test.get("slices") or {}).items():
            rows += [(f"{said}, {column} = {value}{tta}", scores) for value, scores in parts.items()]
    if not rows:
        return ["The checkpoint stands alone: no scores are known."]
    header = ["| images | n | accuracy | macro F1 |", "|---|---|---|---|"]
    return header + [
        f"| {markdown(said)} | {scores['n']:,} | {_with_interval(scores, 'accuracy')} | "
        f"{_with_interval(scores, 'f1_macro')} |"
        for said, scores in rows
    ]


def _with_interval(scores: Mapping[str, Any], name: str) -> str:
    bounds = scores.get(f"{name}_95")
    said = NOTHING if scores.get(name) is None else f"{scores[name]:.3f}"
    return f"{said} [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else said


def _tta(scored: Mapping[str, Any]) -> str:
    """Return the test-time augmentation of a training's or a test's scores; old trainings do not say."""
    return str(scored.get("tta") or "none")


def _unlike_the_file(
    description: Mapping[str, Any], metrics: Mapping[str, Any], tests: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Say by what the table's scores are not this file's: they were measured with the checkpoint."""
    lines = []
    if any(_tta(scored) != "none" for scored in (metrics, *tests)):
        lines += ["", "This file answers without test-time augmentation: expect less of it than rows with tta= say."]
    if description["int8"]:
        lines += [
            "",
            f"The rows are of the model in 32 bits. On validation its accuracy without test-time augmentation is "
            f"{description['accuracy_float32']:.4f}; **this file, in 8 bits, has {description['accuracy_int8']:.4f}**.",
        ]
    return lines


def _leaks(metrics: Mapping[str, Any], tests: Sequence[Mapping[str, Any]]) -> list[str]:
    named = [(f"{metrics['data']}, the training's own test", metrics["seen"])] if metrics.get("seen") else []
    named += [(test["data"], test["seen"]) for test in tests if test.get("seen")]
    said = [f"- {markdown(name)}: {markdown(leak_line(seen))}" for name, seen in named]
    return ["Of the tested images:", "", *said, ""] if said else []


def _compared(comparison: Comparison) -> list[str]:
    return [
        "## The file, compared with torch",
        "",
        f"Largest difference in probability {comparison.difference:.1e}, the same class on "
        f"{100 * comparison.agree:.1f} % of {comparison.images:,} images.",
        "",
        "| batch | torch, ms | this file, ms |",
        "|---|---|---|",
        *(f"| {batch} | {a:.2f} | {b:.2f} |" for batch, (a, b) in comparison.milliseconds.items()),
        "",
        "Measured on one CPU while exporting; other machines differ.",
        "",
    ]
