"""What turns a backbone's features into class scores: global pooling and dense layers."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from fer.build import unknown_option
from fer.errors import ConfigError, did_you_mean

# Every activation of torch.nn that works element by element and needs no argument.
ACTIVATIONS = sorted(
    set(nn.modules.activation.__all__)
    - {"GLU", "LogSoftmax", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "Threshold"}
)

INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "he_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "glorot_normal": nn.init.xavier_normal_,
    "xavier_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "lecun_normal": partial(nn.init.kaiming_normal_, nonlinearity="linear"),  # gain 1: std = fan_in ** -0.5
    "orthogonal": nn.init.orthogonal_,
}

POOLINGS = ("avg", "max", "avgmax", "flatten")


def make_activation(name: str, key: str) -> nn.Module:
    """Return a new activation layer.

    Args:
        name: A torch.nn class such as ``ReLU``, ``GELU``, ``SiLU`` or ``Tanh``, in any case.
        key: The option's full key, for errors.

    Raises:
        ConfigError: There is no such activation.
    """
    classes = {known.lower(): known for known in ACTIVATIONS}
    if str(name).lower() not in classes:
        raise ConfigError(
            f"{key}={name} is not one of torch.nn's.{did_you_mean(str(name), ACTIVATIONS)}"
            f" There are: {', '.join(ACTIVATIONS)}."
        )
    layer = getattr(nn, classes[name.lower()])()
    assert isinstance(layer, nn.Module)
    return layer


def global_pool(features: Tensor, pooling: str) -> Tensor:
    """Reduce feature maps (B, C, H, W) to (B, C), or to (B, C * H * W) with ``flatten``.

    Args:
        features: The feature maps.
        pooling: ``avg``, ``max``, ``avgmax`` (the mean of both) or ``flatten``.
    """
    if pooling == "avg":
        return features.mean((2, 3))
    if pooling == "max":
        return features.amax((2, 3))
    if pooling == "avgmax":
        return 0.5 * (features.mean((2, 3)) + features.amax((2, 3)))
    return features.flatten(1)


def read_head(options: Mapping[str, Any] | None, pooling: str | None) -> tuple[str | None, dict[str, Any]]:
    """Split the configuration node ``model.head`` into the pooling and the options of ``Head``.

    Args:
        options: The node.
        pooling: The pooling where the node names none.

    Raises:
        ConfigError: An option or a pooling is not known.
    """
    known = ("pooling", "hidden", "activation", "dropout", "batch_norm", "init")
    rest = dict(options or {})
    for key in rest:
        if key not in known:
            raise unknown_option(f"model.head.{key}", "the head", known)
    chosen = rest.pop("pooling", None) or pooling
    if chosen is not None and chosen not in POOLINGS:
        raise ConfigError(
            f"model.head.pooling={chosen} is not known.{did_you_mean(str(chosen), POOLINGS)}"
            f" There are: {', '.join(POOLINGS)} and null."
        )
    return chosen, rest


class Head(nn.Sequential):
    """Dense layers on top of a backbone's features: (B, in_features) -> logits (B, num_classes).

    A hidden layer is Linear - activation - batch norm - dropout, in this order; the last layer is Linear
    alone. Layers are named, so that a checkpoint's keys do not depend on dropout or batch norm.

    Args:
        in_features: Features of a sample.
        num_classes: Classes.
        hidden: Width of each hidden layer; empty for a linear classifier.
        activation: A torch.nn class such as ``ReLU``.
        dropout: One rate, or one for each hidden layer. Without hidden layers, a rate acts before the
            classifier.
        batch_norm: Whether hidden layers are batch-normalised.
        init: How the weights of every Linear are drawn (``he_normal``, ``he_uniform``, ``glorot_normal``,
            ``glorot_uniform``, ``lecun_normal``, ``orthogonal``; ``xavier`` is another word for ``glorot``),
            with biases of zero; None keeps torch's default.

    Raises:
        ConfigError: An option has a value that cannot be used.

    References:
        he_*: He et al., "Delving Deep into Rectifiers", 2015. glorot_*: Glorot and Bengio, "Understanding the
        difficulty of training deep feedforward neural networks", 2010.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        hidden: Sequence[int] = (),
        activation: str = "ReLU",
        dropout: float | Sequence[float] = 0.0,
        batch_norm: bool = False,
        init: str | None = None,
    ) -> None:
        if not isinstance(hidden, Sequence) or isinstance(hidden, str):
            raise ConfigError(f"hidden={hidden} must be a list of widths, such as [512, 128] or []")
        if isinstance(dropout, Sequence):
            if len(dropout) != len(hidden):
                raise ConfigError(f"dropout={list(dropout)} must be one rate, or one for each of hidden={list(hidden)}")
            rates = list(dropout)
        else:
            rates = [dropout] * len(hidden)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = in_features
        for number, (units, rate) in enumerate(zip(hidden, rates, strict=True), start=1):
            layers[f"linear{number}"] = nn.Linear(width, units)
            layers[f"activation{number}"] = make_activation(activation, "model.head.activation")
            if batch_norm:
                layers[f"batch_norm{number}"] = nn.BatchNorm1d(units)
            layers[f"dropout{number}"] = nn.Dropout(rate)
            width = units
        if not hidden and not isinstance(dropout, Sequence):
            layers["dropout"] = nn.Dropout(dropout)
        layers["classifier"] = nn.Linear(width, num_classes)
        super().__init__(layers)
        if init is not None:
            self._draw_weights(init)

    def _draw_weights(self, init: str) -> None:
        if str(init).lower() not in INITS:
            there_are = f"There are: {', '.join(INITS)} and null."
            raise ConfigError(f"init={init} is not known.{did_you_mean(str(init), INITS)} {there_are}")
        for layer in self:
            if isinstance(layer, nn.Linear):
                INITS[init.lower()](layer.weight)
                nn.init.zeros_(layer.bias)
