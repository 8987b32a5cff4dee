"""fer: facial-expression recognition whose numbers can be trusted."""

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer.cli.in_python import compose as compose
    from fer.cli.in_python import run as run
    from fer.predicting.model import load as load

# albumentations asks a registry for its newest version at import time; a training job must not.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"

# What is offered as fer.<name>, and where it stands: imported when it is asked for, since torch takes seconds.
_OFFERED = {"compose": "fer.cli.in_python", "load": "fer.predicting.model", "run": "fer.cli.in_python"}


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        if not name.startswith("_") and importlib.util.find_spec(f"fer.{name}"):  # a module: fer.train.train(cfg)
            return importlib.import_module(f"fer.{name}")
        raise AttributeError(f"module 'fer' has no attribute {name!r}")
    return getattr(importlib.import_module(_OFFERED[name]), name)
