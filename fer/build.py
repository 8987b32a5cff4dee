"""From a config node to an object: the one place where a ``_target_`` is imported and called."""

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

import hydra
from hydra.errors import InstantiationException

from fer.errors import ConfigError


def locate(target: str, where: str) -> Callable[..., Any]:
    """Import what ``target`` names (``package.module.Name``).

    Args:
        target: The import path.
        where: The config node it stands in, for the error (``model``).

    Raises:
        ConfigError: If the module or the name in it does not exist.
    """
    module_name, _, name = target.rpartition(".")
    key = f"{where}._target_={target}"
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{key}: cannot import '{module_name}' ({error}). A package of your own must be installed or stand in the "
            f"current folder."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{key}: must be an import path such as my_package.MyNet.") from error
    try:
        found: Callable[..., Any] = getattr(module, name)
    except AttributeError as error:
        close = difflib.get_close_matches(name, dir(module), n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise ConfigError(f"{key}: '{module_name}' has no '{name}'.{hint}") from error
    return found


def options_of(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the named parameters of a callable, and whether it takes any other keyword too."""
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # some built-ins do not say
        return {}, True
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    return named, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def check_options(target: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    """Refuse an option that the target does not take, and a call that lacks one it needs.

    Raises:
        ConfigError: Naming the key, the closest option, and all that are allowed.
    """
    named, takes_any = options_of(target)
    label = getattr(target, "__name__", str(target))
    for key in options:
        if key not in named and not takes_any:
            close = difflib.get_close_matches(key, named, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ConfigError(f"{where}.{key}: {label} has no such option.{hint} It takes: {', '.join(named)}.")
    missing = [name for name, p in named.items() if p.default is p.empty and name not in options]
    if missing:
        raise ConfigError(f"{where}: {label} needs {', '.join(missing)}; set {where}.{missing[0]}=...")


def build(node: Mapping[str, Any], where: str, **extra: Any) -> Any:
    """Instantiate a node (Hydra's ``instantiate``) after checking its options against the target's signature.

    Args:
        node: A plain mapping with ``_target_``; nested nodes are built first.
        where: The node's key in the config, for errors.
        **extra: Objects that a config cannot hold (parameters, callbacks); they win over the node's keys.

    Raises:
        ConfigError: If the target cannot be imported, an option is unknown or missing, or the call refuses a value.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{where}: needs a _target_ (an import path).")
    _check_node(node, where, extra)
    node = {key: value for key, value in node.items() if key not in extra}
    try:
        # Partial, because Hydra would try to turn the extra objects into config nodes.
        call = hydra.utils.instantiate({**node, "_partial_": True}, _convert_="all")
        return call(**extra)
    except (TypeError, ValueError, InstantiationException, *_lightning_refusals()) as error:  # type: ignore[misc]
        raise ConfigError(f"{where}: {node['_target_']} refuses its options: {error}") from error


def _lightning_refusals() -> tuple[type[Exception], ...]:
    """Return what Lightning raises for options that do not go together, if Lightning is loaded."""
    loaded = sys.modules.get("lightning_fabric.utilities.exceptions")
    return (cast("type[Exception]", loaded.MisconfigurationException),) if loaded else ()


def _check_node(node: Mapping[str, Any], where: str, extra: Mapping[str, Any]) -> None:
    target = locate(str(node["_target_"]), where)
    options = {key: value for key, value in node.items() if not (key.startswith("_") and key.endswith("_"))}
    if "_args_" not in node:
        check_options(target, {**options, **extra}, where)
    for key, value in options.items():
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, Mapping) and "_target_" in item:
                _check_node(item, f"{where}.{key}[{number}]" if isinstance(value, list) else f"{where}.{key}", {})
