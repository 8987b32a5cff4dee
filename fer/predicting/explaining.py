"""What ``explain=true`` needs: looked at before torch is imported."""

import importlib.util

from fer.errors import ConfigError, FERError
from fer.extras import missing_package
from fer.files import export
from fer.files.home import expanded


def check(ckpt: str) -> None:
    """Refuse to explain a model that has no gradients, or without captum.

    Args:
        ckpt: A run, a checkpoint or an export.

    Raises:
        ConfigError: If it is an export other than safetensors.
        FERError: If captum is not installed.
    """
    path = expanded(ckpt)
    if export.is_export(path) and export.read(path)["file"] != export.NAMES["safetensors"]:
        raise ConfigError(
            f"explain=true: ckpt={ckpt} is an export without gradients, which Grad-CAM needs. Name the run, its "
            f"checkpoint, or an export with format=safetensors."
        )
    if importlib.util.find_spec("captum") is None:
        raise FERError(f"explain=true: {missing_package('captum')}")
