"""The files that an export can be: ONNX, OpenVINO's, torch.export's, safetensors."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer.errors import FERError
from fer.exporting.graph import ExportedGraph
from fer.predicting.exported import ExportedNetwork
from fer.training.module import FERModule

_EXAMPLE = (2, 60, 52, 3)  # a batch that is neither square nor of the network's size: both stay free


def write_onnx(graph: ExportedGraph, path: Path, description: dict[str, Any]) -> None:
    """Write ``model.onnx``: uint8 images (B, H, W, 3) in, probabilities float32 (B, C) out; B, H and W are free.

    Args:
        graph: The network with its preprocessing.
        path: The file.
        description: Stands in the file's metadata too, under ``fer``: the file alone says what it is.

    Raises:
        FERError: If torch cannot write the network as ONNX.
    """
    import onnx

    model = _as_onnx(graph, "onnx")
    onnx.helper.set_model_props(model, {"fer": json.dumps(description, ensure_ascii=False)})
    onnx.save(model, str(path))


def write_openvino(graph: ExportedGraph, path: Path, description: dict[str, Any]) -> None:
    """Write ``model.xml`` and ``model.bin``, OpenVINO's own format, in 32 bits; in and out are as ONNX's.

    OpenVINO reads the graph as ONNX, and leaves out there that a resizing to fewer pixels averages: the answers were
    others by up to 0.1. So the resizing is put in again, as its own one that does (as Pillow's does, and torch's).
    ``openvino.convert_model`` would read torch's graph, but sends news of each use to the package's makers.

    Args:
        graph: See :func:`write_onnx`.
        path: The ``.xml`` file.
        description: Stands in the file too, as ``model.get_rt_info(["fer"])``.

    Raises:
        FERError: If torch or OpenVINO cannot write the network.
    """
    import openvino
    from openvino import opset13

    try:
        model = openvino.Core().read_model(_as_onnx(graph, "openvino").SerializeToString(), b"")
        for node in model.get_ops():
            if node.get_type_name() == "Interpolate" and node.get_attributes()["antialias"]:
                size = opset13.constant(np.full(2, graph.preprocess.image_size))
                axes = opset13.constant(np.array([2, 3]))
                resized = opset13.interpolate(node.input_value(0), size, "bilinear_pillow", "sizes", axes=axes)
                node.output(0).replace(resized.output(0))
        model.set_rt_info(json.dumps(description, ensure_ascii=False), ["fer"])
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except RuntimeError as error:
        raise FERError(f"format=openvino: OpenVINO cannot read this network: {_first_line(error)}") from error


def _as_onnx(graph: ExportedGraph, said: str) -> Any:
    """Return a graph as an ``onnx.ModelProto``; ``said`` is the format that was asked for."""
    try:
        program = torch.onnx.export(
            graph, (_example(),), dynamo=True, verbose=False, dynamic_shapes=(_free_sizes(),),
            input_names=["images"], output_names=["probabilities"],
        )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        raise FERError(f"format={said}: torch cannot write this network as ONNX: {_first_line(error)}") from error
    assert program is not None
    return program.model_proto


def write_torch_export(graph: ExportedGraph, path: Path, description: dict[str, Any]) -> None:
    """Write ``model.pt2``, which ``torch.export.load(path).module()`` runs without a line of fer's code.

    Args:
        graph: See :func:`write_onnx`.
        path: The file.
        description: Stands in the file too: ``torch.export.load(path, extra_files={"fer.json": ""})``.

    Raises:
        FERError: If torch cannot export the network.
    """
    try:
        program = torch.export.export(graph, (_example(),), dynamic_shapes=(_free_sizes(),))
    except (RuntimeError, ValueError) as error:  # torch._dynamo's errors are RuntimeErrors
        raise FERError(f"format=torch_export: torch cannot export this network: {_first_line(error)}") from error
    torch.export.save(program, path, extra_files={"fer.json": json.dumps(description, ensure_ascii=False)})


def write_safetensors(module: FERModule | ExportedNetwork, path: Path) -> None:
    """Write ``model.safetensors``: the weights alone; ``config.json`` says of which network.

    Args:
        module: The trained module.
        path: The file.
    """
    from safetensors.torch import save_file

    assert module.net is not None
    weights = {key: value.contiguous().clone() for key, value in module.net.state_dict().items()}  # none shared
    save_file(weights, str(path), metadata={"format": "pt"})


def _example() -> torch.Tensor:
    return torch.randint(0, 256, _EXAMPLE, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _free_sizes() -> dict[int, Any]:
    return dict.fromkeys(range(3), torch.export.Dim.DYNAMIC)


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[0][:300] if str(cause).strip() else type(cause).__name__


def quieten() -> None:
    """Keep the exporters' own remarks off the terminal."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"torch\.onnx|onnxscript|copyreg")
