"""TimmModel: any architecture of the timm library, with ImageNet weights on request and a head of its own."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import huggingface_hub
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from timm.models import PretrainedCfg
from torch import Tensor, nn

from fer import compat
from fer.errors import ConfigError, did_you_mean, listing
from fer.models.checks import image_size_error, rehearsal
from fer.models.head import Head, global_pool, read_head

_log = logging.getLogger(__name__)

# Arguments of timm.create_model which the other options of TimmModel decide.
_RESERVED = {
    "num_classes": "the data decides it",
    "in_chans": "the data decides it",
    "pretrained": "use model.pretrained",
    "checkpoint_path": "use model.checkpoint_path",
    "pretrained_cfg": "use a tag in model.name, such as resnet50.a1_in1k",
    "pretrained_cfg_overlay": "use a tag in model.name, such as resnet50.a1_in1k",
    "cache_dir": "use model.checkpoint_path for a local file",
    "features_only": "TimmModel takes the last feature map",
}

_FILLED_AT_LEAST = 0.95  # of a backbone's tensors, for a weights file to pass as the architecture's own
_UNUSED_AT_MOST = 0.1  # of a file's tensors beside its classifiers: a deeper network's fill a shallower one too
_CLASSIFIERS = ("head", "fc", "classifier", "aux", "last_linear")  # in names of layers that another head replaces
_HUB_TIMEOUT = 5.0  # seconds


class TimmModel(nn.Module):
    """A timm backbone and a ``Head``: float32 images (B, in_channels, H, W) -> logits (B, num_classes).

    Args:
        num_classes: Classes.
        in_channels: Channels of an image. ImageNet weights are adapted to it by timm (one channel: the sum of
            three).
        image_size: Height and width of an image; handed to architectures which are built for one size (ViT,
            Swin).
        name: One of timm's architectures, with or without a tag: ``resnet50`` or ``resnet50.a1_in1k``.
        pretrained: Whether to fetch the weights from the Hugging Face hub, or take them from its local cache.
        checkpoint_path: A local file of weights to use instead: .safetensors, or .pth, .pt or .bin holding
            tensors only (a state dict, plain or nested, of timm's or torchvision's naming). Implies
            ``pretrained``.
        freeze: Whether the backbone stays as it is: no gradient, and eval mode (batch norm statistics,
            dropout) even while the head trains.
        kwargs: Further arguments of the architecture, as ``timm.create_model`` takes them.
        head: ``pooling`` and the options of ``fer.models.head.Head``. Pooling ``None`` is the architecture's
            own, with what it has between pooling and classifier (VGG's 4,096 features); ``avg``, ``max``,
            ``avgmax`` and ``flatten`` act on the final feature map instead, and layers left without use are
            removed.

    Raises:
        ConfigError: An option cannot be used, the weights cannot be had or do not fit, or the images are too
            small.

    References:
        Wightman, "PyTorch Image Models", 2019, https://github.com/huggingface/pytorch-image-models.
    """

    backbone: Any  # a timm network: forward_features and forward_head, which nn.Module does not declare

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        name: str,
        pretrained: bool = False,
        checkpoint_path: str | None = None,
        freeze: bool = False,
        kwargs: Mapping[str, Any] | None = None,
        head: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        cfg = _registered(name)
        self.name = name
        self.pooling, head_options = read_head(head, pooling=None)
        for key in kwargs or {}:
            if key in _RESERVED:
                raise ConfigError(f"model.kwargs.{key} cannot be set: {_RESERVED[key]}")
        weights = None
        if checkpoint_path is not None:
            weights = _local_weights(checkpoint_path)
        elif pretrained:
            weights = _hub_weights(name, cfg)

        def arguments(size: int) -> dict[str, Any]:
            sized = {"img_size": size} if cfg.fixed_input_size else {}
            return {**sized, **(kwargs or {}), "in_chans": in_channels, "num_classes": 0}

        def runs(size: int) -> bool:
            return _runs(name, arguments(size), size)

        # Surely taken, or as good a guess as any: what the search for a size that works goes up to.
        largest = max(cfg.input_size[-1], image_size + 32 - image_size % 32)
        try:
            with compat.recorded_loads() as loads:
                self.backbone = timm.create_model(
                    name,
                    pretrained=weights is not None,
                    pretrained_cfg_overlay=weights,
                    **arguments(image_size),
                )
        except Exception as error:  # timm raises whatever its layers, its files or the network raise
            if cfg.fixed_input_size and runs(largest) and not runs(image_size):
                raise image_size_error(name, image_size, runs, largest, error) from error
            raise ConfigError(_build_failure(name, kwargs, weights, error)) from error

        try:
            # Gradients tell which layers an explicit pooling leaves without use.
            with rehearsal(self.backbone), torch.set_grad_enabled(self.pooling is not None):
                features = self.forward_features(torch.zeros(1, in_channels, image_size, image_size))
                if self.pooling is not None:
                    _remove_unused(self.backbone, features)
        except ConfigError:
            raise
        except Exception as error:
            raise image_size_error(name, image_size, runs, largest, error) from error
        if features.ndim != 2:
            raise ConfigError(f"model.kwargs={dict(kwargs or {})} take the pooling away: set model.head.pooling")
        if weights is not None:
            _check_filled(self.backbone, name, weights, loads)
        self.num_features = features.shape[1]
        self.head: nn.Module = Head(self.num_features, num_classes, **head_options)

        self.freeze = freeze
        if freeze:
            self.backbone.requires_grad_(False)
        self.train()

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (B, in_channels, image_size, image_size) to pooled features (B, num_features)."""
        features = self.backbone.forward_features(x)
        if self.pooling is None:
            pooled: Tensor = self.backbone.forward_head(features, pre_logits=True)
            return pooled
        if not isinstance(features, Tensor) or features.ndim != 4:
            raise ConfigError(
                f"model.head.pooling={self.pooling}: {self.name} makes tokens, not a feature map; "
                f"use model.head.pooling=null for its own pooling"
            )
        if getattr(self.backbone, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        return global_pool(features, self.pooling)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.forward_features(x))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Set training mode, of which a frozen backbone takes no part."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self


def pretrained_input(name: str) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
    """Return the image size, channel means and deviations that a model's ImageNet weights were trained with.

    Args:
        name: One of timm's architectures, with or without a tag.

    Raises:
        ConfigError: There is no such architecture or tag.
    """
    cfg = _registered(name)
    red, green, blue = cfg.mean
    red_std, green_std, blue_std = cfg.std
    return cfg.input_size[-1], (red, green, blue), (red_std, green_std, blue_std)


def _registered(name: str) -> PretrainedCfg:
    """Return what timm knows of a model's weights, or raise ConfigError for a model it does not know."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = did_you_mean(architecture, timm.list_models())
        every = """python -c "import timm; print('\\n'.join(timm.list_models()))\""""
        raise ConfigError(f"model.name={name}: timm has no such architecture.{close} Every name: {every}")
    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        known = f"There are:\n{listing(tags)}" if tags else "There are none."
        close = did_you_mean(name, tags)
        raise ConfigError(f"model.name={name}: no {architecture} is tagged {tag}.{close} {known}") from error
    assert cfg is not None
    return cfg


def _local_weights(checkpoint_path: str) -> dict[str, Any]:
    """Return the overlay of timm's pretrained configuration that loads a local file."""
    path = Path(checkpoint_path).expanduser()
    if not path.is_file():
        raise ConfigError(f"model.checkpoint_path={checkpoint_path}: there is no such file")
    return {"file": str(path), "custom_load": False}


def _hub_weights(name: str, cfg: PretrainedCfg) -> dict[str, Any]:
    """Return the overlay of timm's pretrained configuration that loads a model's registered weights.

    Files of the local cache are used without asking the hub. Otherwise the hub is asked once: its client
    would try for a minute before it says that there is no connection.
    """
    architecture = name.partition(".")[0]
    if not cfg.has_weights:
        tags = timm.list_pretrained(f"{architecture}.*")
        close = did_you_mean(architecture, {known.partition(".")[0] for known in timm.list_pretrained()})
        known = f" These have:\n{listing(tags)}" if tags else close
        raise ConfigError(
            f"model.pretrained=true: there are no pretrained weights of {name}. Use model.pretrained=false, "
            f"or model.checkpoint_path=<file> for weights of your own.{known}"
        )
    if not cfg.hf_hub_id:
        return {}  # a plain URL, which torch.hub fetches and caches
    for filename in ("model.safetensors", "pytorch_model.bin"):
        cached = huggingface_hub.try_to_load_from_cache(cfg.hf_hub_id, filename)
        if isinstance(cached, str):
            return {"file": cached, "custom_load": False}
    url = huggingface_hub.hf_hub_url(cfg.hf_hub_id, "model.safetensors")
    try:
        huggingface_hub.get_hf_file_metadata(url, timeout=_HUB_TIMEOUT)
    except EntryNotFoundError:
        pass  # the hub can be reached, and timm knows the other names that a file may have
    except Exception as error:  # whatever the HTTP library of the installed hub client raises
        raise ConfigError(
            f"model.pretrained=true: the weights of {name} were sought at {url} and could not be had: "
            f"{type(error).__name__}: {str(error)[:300]}\n"
            f"  They are not in the local cache either: {huggingface_hub.constants.HF_HUB_CACHE}\n"
            f"  model.checkpoint_path=<file> takes them from a local file, fetched elsewhere from there; "
            "model.pretrained=false trains from scratch."
        ) from error
    return {}


def _build_failure(
    name: str, kwargs: Mapping[str, Any] | None, weights: Mapping[str, Any] | None, error: Exception
) -> str:
    parts = [f"timm could not build {name}"]
    if kwargs:
        parts.append(f"with model.kwargs={dict(kwargs)}")
    if weights is not None:
        parts.append(f"with the weights of {weights.get('file', 'the Hugging Face hub')}")
    reason = "\n".join(str(error).splitlines()[:6])[:1000]
    if weights == {}:
        reason += "\n  model.checkpoint_path=<file> takes weights from a local file."
    elif "weights_only" in reason:  # timm's advice is an argument that the user cannot reach
        reason = "it does not hold tensors alone. Save them with torch.save(model.state_dict(), <file>)."
    return f"{' '.join(parts)}: {type(error).__name__}: {reason}"


def _check_filled(
    backbone: nn.Module,
    name: str,
    weights: Mapping[str, Any],
    loads: compat.Loads,
) -> None:
    """Raise ConfigError unless nearly every tensor that the backbone still has came from the weights."""
    source = weights.get("file", "the Hugging Face hub")
    wanted = {key for key in backbone.state_dict() if not key.endswith("num_batches_tracked")}
    if weights.get("custom_load") is False:  # some of timm's own formats are loaded tensor by tensor
        compat.check_recorded(loads, backbone)
    for module, missing_keys, unexpected_keys in loads:
        if module is not backbone:
            continue
        missing = [key for key in missing_keys if key in wanted]
        if len(missing) > (1 - _FILLED_AT_LEAST) * len(wanted):
            raise ConfigError(
                f"the weights of {source} are not those of {name}: "
                f"they fill {len(wanted) - len(missing)} of its {len(wanted)} tensors.\n"
                f"  Missing:\n{listing(missing, 8)}\n  Not used:\n{listing(list(unexpected_keys), 8)}"
            )
        unused = [key for key in unexpected_keys if not key.endswith("num_batches_tracked")]
        filled = len(wanted) - len(missing)
        _log.info("%s: filled %d of %d tensors of %s, %d unused", source, filled, len(wanted), name, len(unused))
        foreign = [key for key in unused if not any(word in key.lower() for word in _CLASSIFIERS)]
        if len(foreign) > _UNUSED_AT_MOST * (filled + len(foreign)):
            raise ConfigError(
                f"the weights of {source} are not those of {name}: "
                f"they fill {filled} of its {len(wanted)} tensors, and "
                f"{len(foreign)} more, beside classifiers, are not used. Is model.name right?\n"
                f"  Not used:\n{listing(foreign, 8)}"
            )
        if missing:
            _log.warning("%s has no weights for %s of %s: random ones", source, ", ".join(missing), name)


def _remove_unused(backbone: nn.Module, features: Tensor) -> None:
    """Replace every part of the backbone that ``features`` do not depend on by an identity.

    Distributed training stops at parameters without a gradient, and a parameter count should not hold them.
    """
    trainable = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(features.sum(), trainable, allow_unused=True)
    unused = {id(parameter) for parameter, gradient in zip(trainable, gradients, strict=True) if gradient is None}

    def replace(module: nn.Module) -> None:
        for name, child in list(module.named_children()):
            parameters = list(child.parameters())
            if parameters and all(id(parameter) in unused for parameter in parameters):
                setattr(module, name, nn.Identity())
            else:
                replace(child)

    replace(backbone)


def _runs(name: str, arguments: Mapping[str, Any], size: int) -> bool:
    """Return whether an architecture runs on images of a size, found out from shapes alone."""
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), torch.no_grad():
            model: Any = timm.create_model(name, **arguments).eval()
            images = torch.zeros(1, arguments["in_chans"], size, size)
            model.forward_head(model.forward_features(images), pre_logits=True)
    except Exception:  # any of timm's architectures, any reason
        return False
    return True
