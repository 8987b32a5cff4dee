"""ONNX with whole numbers of 8 bits: calibrated on training images, and its price measured on validation."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer.data.base import FERDataModule
from fer.errors import FERError
from fer.exporting import checks
from fer.exporting.checks import rgb
from fer.files import export
from fer.predicting.exported import ExportedNetwork
from fer.scores.label_space import align

CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Price:
    """Accuracy on the validation split before and after, and its number of images."""

    before: float
    after: float
    images: int


def measured(path: Path, smaller: Path, datamodule: FERDataModule, max_drop: float) -> Price:
    """Write an ONNX file once more with 8 bits, and measure what that costs on the whole validation split.

    Args:
        path: The float32 file, in its export's folder.
        smaller: The file to write, in a folder of its own.
        datamodule: The run's data, set up.
        max_drop: The largest loss of accuracy.

    Raises:
        FERError: If more is lost, or the data have no image of the model's classes.
    """
    images, rows, train = datamodule.samples.images, datamodule.rows("val"), datamodule.rows("train")
    before = ExportedNetwork(path.parent)
    # By name: the data may have gained a class since the training, or list them in another order.
    labels = align(before.classes, datamodule.classes).labels(datamodule.samples.labels[rows])
    rows, labels = rows[labels >= 0], labels[labels >= 0]
    if not len(rows):
        raise FERError("int8=true: its price cannot be measured, as no validation image is of the model's classes.")
    chosen = train[np.linspace(0, len(train) - 1, min(CALIBRATION_IMAGES, len(train))).round().astype(np.int64)]
    quantise(path, smaller, images[np.sort(chosen)])
    export.write(smaller.parent, {**before.content, "file": smaller.name})
    accuracies = []
    for network in (before, ExportedNetwork(smaller.parent)):
        answers = checks.answers(checks.of(network), images, rows)
        accuracies.append(float((answers.argmax(1) == labels).mean()))
    price = Price(accuracies[0], accuracies[1], len(rows))
    if not price.before - price.after <= max_drop:
        raise FERError(
            f"int8=true: accuracy on validation falls from {price.before:.4f} to {price.after:.4f}; allowed are "
            f"{max_drop} (max_drop=). {path} holds the float32 model."
        )
    return price


def quantise(source: Path, target: Path, images: npt.NDArray[np.uint8]) -> None:
    """Write an ONNX file whose convolutions and matrix products calculate with 8 bits.

    Static quantisation with one scale for each output channel; the preprocessing and the softmax stay in float32.
    (Jacob et al., CVPR 2018, https://arxiv.org/abs/1712.05877.)

    Args:
        source: The float32 file.
        target: The file to write.
        images: Training images by which the ranges of the activations are measured, uint8 (N, H, W) or (N, H, W, 3).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[Any] = iter([rgb(images[i : i + 32]) for i in range(0, len(images), 32)])

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    logging.disable(logging.WARNING)  # it recommends a step that changes nothing here
    try:
        quantize_static(
            str(source), str(target), Images(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
