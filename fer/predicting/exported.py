"""An exported model where a trained module is expected: the same methods, without the training's code."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer.errors import ConfigError, FERError
from fer.extras import missing_package
from fer.files import export
from fer.models import build_model
from fer.models.preprocessing import Preprocessing
from fer.training.allowed import NETWORKS, check_node


class ExportedNetwork:
    """A model from ``fer.export``: ONNX by onnxruntime, or safetensors in one of fer's own networks.

    Args:
        path: The export's folder, or its ``model.onnx`` or ``model.safetensors``.

    Raises:
        FERError: If it cannot be read, is of a newer format, or its package is not installed.

    Attributes:
        classes: The classes, in the order of the probabilities.
        preprocess: What the model wants to see; an ONNX file does all of it by itself.
        name: The network's name.
        device: Always the CPU.
        net: The network in torch, of safetensors; None of ONNX.
    """

    device = torch.device("cpu")

    def __init__(self, path: Path) -> None:
        self.content = export.read(path)
        folder = path if path.is_dir() else path.parent
        self.path = path if path.is_file() else folder / self.content["file"]
        self.classes: list[str] = self.content["classes"]
        try:
            self.preprocess = Preprocessing.from_dict(self.content["preprocessing"])
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise FERError(f"{folder / export.FILE}: its preprocessing cannot be used ({error}).") from error
        self.net: torch.nn.Module | None = None
        self.name = str(self.content.get("network", self.path.stem))
        self._run: Callable[[Tensor], Tensor]
        if self.path.suffix == ".onnx":
            self._run = self._onnx()
        elif self.path.suffix == ".safetensors":
            self._run = self._weights()
        else:
            raise FERError(
                f"{self.path}: fer reads its exports as ONNX and as safetensors. A .pt2 file is for programs without "
                f"fer: torch.export.load({str(self.path)!r}).module()"
            )

    def probabilities(self, images: Tensor) -> Tensor:
        """Return float32 (B, C) for uint8 images (B, H, W) or (B, H, W, 3)."""
        return self._run(images)

    def _onnx(self) -> Callable[[Tensor], Tensor]:
        try:
            import onnxruntime
        except ImportError as error:
            raise FERError(f"{self.path}: {missing_package('onnxruntime')}") from error
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()  # as many as torch would take
            session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
            written = json.loads(session.get_modelmeta().custom_metadata_map.get("fer", "{}"))
        except Exception as error:  # onnxruntime's errors share no class of their own
            raise FERError(f"{self.path}: cannot be read ({str(error).splitlines()[0][:200]}).") from error
        if written.get("classes") != self.classes:
            raise FERError(f"{self.path}: is not the model that {export.FILE} beside it describes (other classes).")

        def run(images: Tensor) -> Tensor:
            array = images.cpu().numpy()
            array = np.repeat(array[..., None], 3, axis=3) if array.ndim == 3 else array
            return torch.from_numpy(session.run(None, {"images": np.ascontiguousarray(array)})[0])

        return run

    def _weights(self) -> Callable[[Tensor], Tensor]:
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise FERError(f"{self.path}: {missing_package('safetensors')}") from error
        node = self.content.get("model") or {}
        try:
            check_node(node, "model", NETWORKS)
            size = self.preprocess.image_size
            net = build_model(node, len(self.classes), self.preprocess.channels, size, load_weights=False)
            net.load_state_dict(load_file(str(self.path)))
        except (FERError, RuntimeError, OSError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0][:300]
            raise FERError(f"{self.path}: cannot be used: {reason}") from error
        except Exception as error:  # safetensors' own, which has no public base
            raise FERError(f"{self.path}: cannot be read ({str(error).splitlines()[0][:200]}).") from error
        self.net = net.eval()
        temperature = float(self.content.get("temperature", 1.0))

        def run(images: Tensor) -> Tensor:
            return (net(self.preprocess(images)).float() / temperature).softmax(1)  # type: ignore[no-any-return]

        return run
