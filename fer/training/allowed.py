"""What a checkpoint may ask to be built: classes of closed lists, with plain data as their options.

A checkpoint may come from anyone, and a ``_target_`` is code that runs. So the names that it holds are compared with
the lists below as text; nothing is imported for the comparison.
"""

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from fer.build import locate
from fer.config.plain_data import check_plain
from fer.errors import ConfigError

NETWORKS = (
    "fer.models.cnn.CNN",
    "fer.models.deep_cnn.DeepCNN",
    "fer.models.eda_cnn.EDACNN",
    "fer.models.emotion_net.EmotionNet",
    "fer.models.fully_connected.FullyConnected",
    "fer.models.fusion.Fusion",
    "fer.models.iresnet.IResNet",
    "fer.models.shallow_cnn.ShallowCNN",
    "fer.models.simple_conv.SimpleConv",
    "fer.models.timm_model.TimmModel",
)
LOSSES = (
    "fer.training.losses.FocalLoss",
    "fer.training.losses.LogitAdjustedLoss",
    "fer.training.losses.MultiTargetLoss",
    "timm.loss.LabelSmoothingCrossEntropy",
    "timm.loss.SoftTargetCrossEntropy",
    "torch.nn.CrossEntropyLoss",
    "torch.nn.MultiMarginLoss",
    "torch.nn.NLLLoss",
)


def check_node(node: Any, where: str, allowed: Collection[str], packages: Collection[str] = ()) -> None:
    """Refuse a checkpoint's node that names anything but an allowed class, or holds anything but plain data.

    Args:
        node: ``_target_`` and options.
        where: ``model`` or ``loss``, for the error.
        allowed: Import paths that may be built.
        packages: Packages whose classes the user allows besides.

    Raises:
        ConfigError: Naming what is not allowed.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"its {where} is no mapping")
    target = node.get("_target_")
    trusted = isinstance(target, str) and any(target.startswith(f"{package}.") for package in packages)
    if target not in allowed and not trusted:
        package = str(target).partition(".")[0]
        raise ConfigError(
            f"its {where} is {target!r}, whose code this project does not know. Nothing in it was run. If it is a "
            f"class of a package of your own that you trust: trust=[{package}]"
        )
    options = {key: value for key, value in node.items() if key != "_target_"}
    check_plain(options, where)
    if trusted:
        # The package is the user's, what it has imported is not: a path through its attributes leads anywhere.
        found, package = locate(target, where), str(target).partition(".")[0]
        own = isinstance(found, type) and found.__module__.partition(".")[0] == package
        if not (own and issubclass(found, nn.Module)):  # type: ignore[arg-type]
            raise ConfigError(f"its {where} is {target!r}, which is no torch.nn.Module that {package} defines")
