"""An exported model where a trained module is expected: the same methods, without the training's code."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fer.errors import ConfigError, FERError
from fer.extras import missing_package
from fer.files import export
from fer.models import build_model
from fer.models.preprocessing import LARGEST_INPUT, Preprocessing
from fer.training.allowed import NETWORKS, check_node


class ExportedNetwork:
    """A model from ``fer.export``: ONNX by onnxruntime, OpenVINO's, or safetensors in one of fer's own networks.

    Args:
        path: The export's folder, or its ``model.onnx``, ``model.xml`` or ``model.safetensors``.

    Raises:
        FERError: If it cannot be read, is of a newer format, or its package is not installed.

    Attributes:
        classes: The classes, in the order of the probabilities.
        preprocess: What the model wants to see; a graph of ONNX or OpenVINO does all of it by itself.
        name: The network's name.
        temperature: By which its graph, or ``probabilities``, divides the logits already.
        device: Always the CPU.
        net: The network in torch, of safetensors; None of a graph.
    """

    device = torch.device("cpu")

    def __init__(self, path: Path) -> None:
        self.content = export.read(path)
        folder = path if path.is_dir() else path.parent
        self.path = path if path.is_file() else folder / self.content["file"]
        self.classes: list[str] = self.content["classes"]
        try:
            self.preprocess = Preprocessing.from_dict(self.content["preprocessing"])
            self.temperature = float(self.content.get("temperature", 1.0))
            if not 0 < self.temperature < float("inf"):
                raise ValueError(f"temperature {self.temperature:g}")
            if not 1 <= self.preprocess.image_size <= LARGEST_INPUT:
                raise ValueError(f"image_size {self.preprocess.image_size}")
        except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
            raise FERError(f"{folder / export.FILE}: its preprocessing cannot be used ({error}).") from error
        if self.path.name == self.content["file"] and self.content.get("sha256"):
            export.check_sums(folder, self.content, str(path))
        self.net: torch.nn.Module | None = None
        self.name = str(self.content.get("network", self.path.stem))
        self._run: Callable[[Tensor], Tensor]
        if self.path.suffix == ".onnx":
            self._run = self._onnx()
        elif self.path.suffix == ".xml":
            self._run = self._openvino()
        elif self.path.suffix == ".safetensors":
            self._run = self._weights()
        else:
            raise FERError(
                f"{self.path}: fer reads its exports as ONNX, OpenVINO and safetensors. A .pt2 file is for programs "
                f"without fer: torch.export.load({str(self.path)!r}).module()"
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
        self._refuse_other(written)
        return lambda images: torch.from_numpy(session.run(None, {"images": _rgb(images)})[0])

    def _openvino(self) -> Callable[[Tensor], Tensor]:
        try:
            import openvino
        except ImportError as error:
            raise FERError(f"{self.path}: {missing_package('openvino')}") from error
        # In 32 bits, also where the processor could do it in fewer; as many threads as torch would take.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        try:
            core = openvino.Core()
            graph = core.read_model(*map(str, export.parts(self.path)))
            written = json.loads(graph.get_rt_info(["fer"]).value) if graph.has_rt_info(["fer"]) else {}
            compiled = core.compile_model(graph, "CPU", options)
        except (
            Exception
        ) as error:  # OpenVINO's are RuntimeErrors, and those of what it cannot bring to Python are others
            raise FERError(f"{self.path}: cannot be read ({str(error).strip().splitlines()[-1][:200]}).") from error
        self._refuse_other(written)
        # A request of its own each time: threads that share one are refused.
        return lambda images: torch.from_numpy(compiled.infer_new_request({"images": _rgb(images)})[0])

    def _refuse_other(self, written: object) -> None:
        """Refuse a graph that says that it knows other classes than the description beside it."""
        if not isinstance(written, dict) or written.get("classes") != self.classes:
            raise FERError(f"{self.path}: is not the model that {export.FILE} beside it describes (other classes).")

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
            if not all(torch.isfinite(tensor).all() for tensor in net.state_dict().values()):
                raise ValueError("its weights hold values that are no finite numbers")
        except (FERError, RuntimeError, OSError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0][:300]
            raise FERError(f"{self.path}: cannot be used: {reason}") from error
        except Exception as error:  # safetensors' own, which has no public base
            raise FERError(f"{self.path}: cannot be read ({str(error).splitlines()[0][:200]}).") from error
        self.net = net.eval()

        def run(images: Tensor) -> Tensor:
            return (net(self.preprocess(images)).float() / self.temperature).softmax(1)  # type: ignore[no-any-return]

        return run


def _rgb(images: Tensor) -> npt.NDArray[np.uint8]:
    """Return images (B, H, W) or (B, H, W, 3) with three channels, as graphs take them."""
    array = images.cpu().numpy()
    return np.ascontiguousarray(np.repeat(array[..., None], 3, axis=3) if array.ndim == 3 else array)
