"""What ``--help``, ``--version`` and ``python -m fer`` print. Imports nothing slow.

A command's help is the template in ``conf/hydra/help/<command>.yaml``. Two resolvers fill it from the composed config,
so that ``python -m fer.train model=cnn --help`` shows that network's options:

- ``${groups:}`` lists the config groups of the command, each with its choice and its options;
- ``${about:data.batch_size}`` is a key, its value and the comment beside it in ``conf/``.
"""

import re
import textwrap
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from platform import python_version
from typing import Any, Final

import yaml
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer import __version__
from fer.config.groups import conf_dir, group_names, option_names

_WIDTH: Final = 80
_COLUMN: Final = 30  # where the comments begin
_ORDER: Final = (  # others follow
    "train", "test", "audit", "report", "ensemble", "predict", "demo", "faces", "pack", "export",
)  # fmt: skip
_PACKAGES: Final = ("torch", "pytorch-lightning", "hydra-core", "timm")


def register_resolvers() -> None:
    """Register what the templates of ``--help`` are filled with."""
    OmegaConf.register_new_resolver("groups", lambda *, _root_: _escaped(_groups(_root_)), replace=True)
    OmegaConf.register_new_resolver("about", lambda key, *, _root_: _escaped(_about(str(key), _root_)), replace=True)


def version() -> str:
    """Return one line with the version of fer, of Python and of the packages that decide a run's numbers."""
    found = [f"Python {python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {installed_version(package)}")
        except PackageNotFoundError:  # a broken installation still says what it has
            found.append(f"{package} not installed")
    return f"fer {__version__} ({', '.join(found)})"


def commands() -> dict[str, str]:
    """Return the commands, most used first, each with one line on what it does."""
    names = {path.stem for path in conf_dir().glob("*.yaml")}
    ordered = [name for name in _ORDER if name in names] + sorted(names - set(_ORDER))
    return {name: _first_line(name) for name in ordered}


def overview() -> str:
    """Return what ``python -m fer`` prints."""
    lines = [
        "fer: facial-expression recognition whose numbers can be trusted.",
        "",
        *(_row(f"  python -m fer.{name}", what, column=26) for name, what in commands().items()),
        "",
        "Start:     python -m fer.train      the embedded dataset, no download",
        "More:      python -m fer.train --help",
        "Versions:  python -m fer --version",
    ]
    return "\n".join(lines)


def _first_line(command: str) -> str:
    file = conf_dir() / "hydra" / "help" / f"{command}.yaml"
    header = str(yaml.safe_load(file.read_text(encoding="utf-8"))["header"])
    return header.partition("\n")[0].removeprefix(f"fer.{command}: ")


def _groups(root: DictConfig) -> str:
    """Return a line for each group: ``data=synthetic`` and what else it can be."""
    chosen_ones = OmegaConf.select(root, "hydra.runtime.choices")
    rows = []
    for default in yaml.safe_load(_primary(root).read_text(encoding="utf-8"))["defaults"]:
        (choice, preset), *_ = default.items() if isinstance(default, dict) else [("", None)]
        group, _, package = choice.partition("@")
        if group not in group_names(conf_dir()):
            continue
        chosen = chosen_ones.get(choice, preset)  # of several, Hydra notes none
        text = f"[{','.join(chosen)}]" if isinstance(chosen, list) else _written(chosen)
        options = "as data" if package else ", ".join(option_names(conf_dir(), group))
        rows.append(_row(f"  {package or group}={text}", options, column=22))
    return "\n".join(rows)


def _about(key: str, root: DictConfig) -> str:
    """Return a key, its value and its comment, in two columns.

    Args:
        key: A dotted key; ``model.pretrained@timm`` is explained by that option where the chosen one has no such key.
        root: The composed config.
    """
    key, _, other = key.partition("@")
    group, _, leaf = key.rpartition(".")
    parent: DictConfig | None = OmegaConf.select(root, group) if group else root
    here = parent is not None and leaf in parent.keys()  # noqa: SIM118 - `in` alone passes over a value that must be given
    if not here and not other:
        return _row(f"  {key}", "(not with these choices)")
    chosen = OmegaConf.select(root, f"hydra.runtime.choices.{group}") if group else None
    files = _files(group, str(chosen if here else other)) if group else [_primary(root)]
    value = _value(key, root) if here else _in_files(leaf, files)[0]
    return _row(f"  {key}={value}", next(filter(None, (_in_files(leaf, [file])[1] for file in files)), ""))


def _primary(root: DictConfig) -> Path:
    return conf_dir() / f"{OmegaConf.select(root, 'hydra.job.config_name')}.yaml"


def _files(group: str, option: str) -> list[Path]:
    """Return a group's chosen file, and after it those that it is made of."""
    file = conf_dir() / group / f"{option}.yaml"
    if not file.is_file():  # of a user's own --config-dir, or several
        return []
    parts = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("defaults", [])
    return [file, *(part for name in parts if name != "_self_" for part in _files(group, name))]


def _in_files(leaf: str, files: list[Path]) -> tuple[str, str]:
    """Return the value and the comment that stand beside a key: of one line, or going on below."""
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            found = re.match(rf"{re.escape(leaf)}:\s*(.*?)(?:\s+#\s*(.*))?$", line)
            if found is None:
                continue
            comment = [found[2] or ""]
            for below in lines[number + 1 :]:
                more = re.match(r"\s{8,}#\s*(.*)", below)
                if more is None:
                    break
                comment.append(more[1])
            return found[1], " ".join(comment).strip()
    return "", ""


def _value(key: str, root: DictConfig) -> str:
    """Return a key's value, with what it refers to filled in where that is known before a run."""
    try:
        value = OmegaConf.select(root, key, throw_on_missing=True)
        return _written(OmegaConf.to_container(value, resolve=True) if isinstance(value, Container) else value)
    except OmegaConfBaseException:  # what must be given, or is known in a run alone
        return "..."


def _written(value: Any) -> str:
    """Return a value as one would type it."""
    if isinstance(value, str):
        return value
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).partition("\n")[0].replace(", ", ",")


def _row(left: str, right: str, column: int = _COLUMN) -> str:
    """Set two columns; the right one is wrapped, and begins below where the left one is too long."""
    room = _WIDTH - column
    wrapped = textwrap.wrap(right, room, break_on_hyphens=False) or [""]
    first = f"{left:<{column}}{wrapped[0]}" if len(left) < column else f"{left}\n{'':<{column}}{wrapped[0]}"
    return "\n".join([first.rstrip(), *(f"{'':<{column}}{line}" for line in wrapped[1:])])


def _escaped(text: str) -> str:
    """Keep Hydra, which fills ``$NAME`` in a template, from reading a value's own ``${...}``."""
    return text.replace("$", "$$")
