"""Packages that only some options need, and how they are installed. Imports nothing slow."""

_EXTRAS = {"optuna": "sweep", "joblib": "sweep", "submitit": "cluster"}
OPTIONAL_PACKAGES = (*_EXTRAS, "wandb", "mlflow", "comet_ml", "neptune", "deepspeed", "torch_xla")
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
