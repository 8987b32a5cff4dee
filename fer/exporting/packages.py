"""Which packages a format needs. Imports nothing slow."""

import importlib.util

from fer.errors import ConfigError, FERError
from fer.extras import missing_package

_NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": (), "safetensors": ("safetensors",)}


def need(format_name: str, int8: bool) -> None:
    """Refuse a format whose packages are not installed, and 8 bits for a format that has none.

    Raises:
        ConfigError: If ``int8`` does not go with the format.
        FERError: With the command that installs what is missing.
    """
    if int8 and format_name != "onnx":
        raise ConfigError(f"int8=true: is for format=onnx alone, not for format={format_name}.")
    for package in _NEEDED[format_name]:
        if importlib.util.find_spec(package) is None:
            raise FERError(f"format={format_name}: {missing_package(package)}")
