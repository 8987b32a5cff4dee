"""From a config node to an object: the one place where a ``_target_`` is imported and called."""

import importlib
import inspect
import pkgutil
import re
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import hydra

from fer.errors import ConfigError, FERError, did_you_mean


def locate(target: object, where: str) -> Callable[..., Any]:
    """Import what ``target`` names (``package.module.Name``).

    Args:
        target: The import path.
        where: The config node it stands in, for the error (``model``).

    Raises:
        ConfigError: If there is no path, or no such module or name in it.
    """
    example = "Expected an import path such as my_package.MyNet."
    if target is None or target == "???":
        raise ConfigError(f"{where}._target_ is missing. {example}")
    module_name, _, name = str(target).rpartition(".")
    key = f"{where}._target_={target}"
    if not module_name or module_name.startswith("."):
        raise ConfigError(f"{key} is not complete. {example}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and (missing == module_name or module_name.startswith(f"{missing}.")):
            raise ConfigError(f"{key}: {_missing_module(missing)}") from error
        raise ConfigError(f"{key} cannot be imported: {error}") from error
    try:
        found: Callable[..., Any] = getattr(module, name)
    except AttributeError as error:
        raise ConfigError(f"{key}: {module_name} has no {name}.{did_you_mean(name, dir(module))}") from error
    return found


def _missing_module(name: str) -> str:
    parent, _, last = name.rpartition(".")
    if not parent:
        return (
            f"there is no module {name}. Is its folder on Python's path? Run from that folder with "
            f"python -m, or install the package (pip install -e <folder>)."
        )
    path = getattr(importlib.import_module(parent), "__path__", [])
    siblings = [module.name for module in pkgutil.iter_modules(path)]
    return f"{parent} has no module {last}.{did_you_mean(last, siblings)}"


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


def unknown_option(key: str, owner: str, known: Sequence[str]) -> ConfigError:
    """Return the error for a configuration key that does not exist.

    Args:
        key: The full key, such as ``model.dropuot``.
        owner: What has no such option.
        known: The options it has.
    """
    takes = f"It takes: {', '.join(known)}." if known else "It takes no options."
    return ConfigError(f"{key}: {owner} has no such option.{did_you_mean(key.rpartition('.')[2], known)} {takes}")


def check_options(
    target: Callable[..., Any], options: Mapping[str, Any], where: str, given: Collection[str] = ()
) -> None:
    """Refuse an option that the target does not take, and a call that lacks one it needs.

    Args:
        target: What is to be called.
        options: The config's options.
        where: The node they stand in, for the error.
        given: The parameters that are no options, because the program fills them in.

    Raises:
        ConfigError: Naming the key, the closest option, and all that are allowed.
    """
    named, takes_any = options_of(target)
    known = {name: parameter for name, parameter in named.items() if name not in given}
    label = getattr(target, "__name__", str(target))
    for key in options:
        if key not in known and not takes_any:
            raise unknown_option(f"{where}.{key}", label, list(known))
    for name, parameter in known.items():
        if options.get(name) == "???" or (parameter.default is parameter.empty and name not in options):
            raise ConfigError(f"{where}.{name} is missing: {label} needs it")


def build(node: Mapping[str, Any], where: str, **extra: Any) -> Any:
    """Instantiate a node (Hydra's ``instantiate``) after checking its options against the target's signature.

    Args:
        node: A plain mapping with ``_target_``; nested nodes are built first.
        where: The node's key in the config, for errors.
        **extra: Objects that a config cannot hold (parameters, callbacks); they win over the node's keys.

    Raises:
        ConfigError: If the target cannot be imported, an option is unknown or missing, or the call refuses a value.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where}={node}: needs a _target_ (an import path) and its options.")
    node = {key: value for key, value in node.items() if key not in extra}
    _check_node(node, where, extra)
    try:
        # Partial, because Hydra would try to turn the extra objects into config nodes.
        call = hydra.utils.instantiate({**node, "_partial_": True}, _convert_="all")
        return call(**extra)
    except FERError:
        raise
    except OSError as error:
        if error.errno is not None:  # the disk's reason, which is told as such
            raise
        raise refused(where, node, str(node["_target_"]), error) from error
    except Exception as error:  # a component raises whatever it likes
        if isinstance(error.__cause__, FERError):  # of a nested node, wrapped by Hydra
            raise error.__cause__ from error
        raise refused(where, node, str(node["_target_"]), error) from error


def refused(where: str, options: Mapping[str, Any], owner: str, error: Exception) -> ConfigError:
    """Return the error for options that a component does not take, naming the one that its own words name.

    Args:
        where: The component's node, such as ``model``.
        options: The node's options.
        owner: What refuses them.
        error: What it raised.
    """
    said = str(error).strip() or type(error).__name__
    plain = {key: value for key, value in options.items() if not str(key).startswith("_")}
    # Of two that are named (`step_size` in `step_size_up`), words, not parts of words; else the value that is named.
    named = [key for key in plain if re.search(rf"(?<![A-Za-z0-9_]){re.escape(str(key))}(?![A-Za-z0-9_])", said)]
    valued = [key for key, value in plain.items() if len(str(value)) > 1 and str(value) in said]
    culprits = named or (valued if len(valued) == 1 else [])
    given = ", ".join(f"{where}.{key}={plain[key]}" for key in culprits or plain)
    if isinstance(error, ModuleNotFoundError):
        return ConfigError(f"{where}: {owner} needs the package {error.name}, which is not installed: {said}")
    line = ""
    if not isinstance(error, TypeError | ValueError) and (frames := traceback.extract_tb(error.__traceback__)):
        line = f"\n  {type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}"
    return ConfigError(f"{where}: {owner} refuses its options: {said}\n  Given: {given or 'none'}{line}")


def _check_node(node: Mapping[str, Any], where: str, given: Collection[str] = ()) -> None:
    target = locate(node.get("_target_"), where)
    options = {key: value for key, value in node.items() if not (key.startswith("_") and key.endswith("_"))}
    if "_args_" not in node:
        check_options(target, options, where, given)
    for key, value in options.items():
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, Mapping) and "_target_" in item:
                _check_node(item, f"{where}.{key}[{number}]" if isinstance(value, list) else f"{where}.{key}")
