"""Which packages a format needs. Imports nothing slow."""

from fer import extras
from fer.errors import ConfigError

_NEEDED = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino", "onnx", "onnxscript"),
    "torch_export": (),
    "safetensors": ("safetensors",),
}


def need(format_name: str, int8: bool) -> None:
    """Refuse a format whose packages are not installed, and 8 bits for a format that has none.

    Raises:
        ConfigError: If ``int8`` does not go with the format.
        FERError: With the command that installs what is missing.
    """
    if int8 and format_name != "onnx":
        raise ConfigError(f"int8=true: is for format=onnx alone, not for format={format_name}.")
    extras.need(f"format={format_name}", *_NEEDED[format_name])
