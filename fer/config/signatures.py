"""The options of a ``_target_``, read from its source code without importing it: torch takes seconds to load."""

import ast
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Signature:
    """The options of a class or function.

    Args:
        name: Its name.
        annotations: Each option's annotation; None where it has none.
        required: Options without a default.
        takes_any: Whether it takes any other option too.
    """

    name: str
    annotations: Mapping[str, ast.expr | None]
    required: frozenset[str]
    takes_any: bool


@dataclass(frozen=True)
class Kind:
    """One kind of value that an annotation allows.

    Args:
        words: For messages: ``a number``.
        plural: For messages on lists: ``numbers``.
        fits: Whether a value of a config is of this kind.
        choices: The values, where only a few are allowed.
    """

    words: str
    plural: str
    fits: Callable[[Any], bool] = field(compare=False)
    choices: tuple[Any, ...] = ()


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and isfinite(value))


_PLAIN = {
    "int": Kind("a whole number", "whole numbers", _is_whole),
    "float": Kind("a number", "numbers", _is_number),
    "bool": Kind("true or false", "true or false", lambda value: isinstance(value, bool)),
    "str": Kind("a text", "texts", lambda value: isinstance(value, str)),
    "None": Kind("null", "null", lambda value: value is None),
}
_LISTS = {"list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Collection", "set"}
_MAPPINGS = {"dict", "Dict", "Mapping"}
# Any other class: not known here. A config gives it as a text or a node.
_OBJECT = Kind(
    "a node with _target_",
    "nodes",
    lambda value: isinstance(value, str) or (isinstance(value, dict) and "_target_" in value),
)
_LIST = Kind("a list", "lists", lambda value: isinstance(value, list))
_MAPPING = Kind("options (key: value)", "options", lambda value: isinstance(value, dict))


@cache
def kinds(annotation: str) -> tuple[Kind, ...]:
    """Return what an annotation (``float | Sequence[float] | None``) allows; nothing where that is not known."""
    found = _kinds(ast.parse(annotation, mode="eval").body)
    return () if found == (_OBJECT,) else found


def _kinds(node: ast.expr) -> tuple[Kind, ...]:
    """Return what an annotation allows; nothing for ``Any``."""
    if isinstance(node, ast.Constant):
        return _kinds(ast.parse(node.value, mode="eval").body) if isinstance(node.value, str) else (_PLAIN["None"],)
    if isinstance(node, ast.BinOp):
        return _either([node.left, node.right])
    name = _last_name(node)
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Union":
            return _either(inner)
        if name == "Optional":
            return _either([*inner, ast.Constant(None)])
        if name == "Annotated":
            return _kinds(inner[0])
        if name == "Literal":
            return (_one_of([item.value for item in inner if isinstance(item, ast.Constant)]),)
        if name in _LISTS:
            return (_list_of(inner, fixed=name in ("tuple", "Tuple")),)
    if name in ("Any", "object"):
        return ()
    if name in _LISTS:
        return (_LIST,)
    return (_MAPPING,) if name in _MAPPINGS else (_PLAIN.get(name, _OBJECT),)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _either(nodes: list[ast.expr]) -> tuple[Kind, ...]:
    parts = [_kinds(node) for node in nodes]
    if not all(parts):
        return ()
    found = list(dict.fromkeys(kind for part in parts for kind in part))
    if _PLAIN["float"] in found and _PLAIN["int"] in found:  # "a number" includes whole numbers
        found.remove(_PLAIN["int"])
    return tuple(sorted(found, key=lambda kind: kind is _PLAIN["None"]))


def _one_of(values: list[Any]) -> Kind:
    words = ", ".join("null" if value is None else str(value) for value in values)

    def fits(value: Any) -> bool:  # 1 must not count as true
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in values)

    return Kind(f"one of {words}" if len(values) > 1 else words, words, fits, tuple(values))


def _list_of(items: list[ast.expr], fixed: bool) -> Kind:
    """Return a list of one kind of items; a tuple without ``...`` fixes their number."""
    length = len(items) if fixed and not (isinstance(items[-1], ast.Constant) and items[-1].value is ...) else None
    of = _kinds(items[0])

    def fits(value: Any) -> bool:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            return False
        return not of or all(any(kind.fits(item) for kind in of) for item in value)

    plural = " or ".join(kind.plural for kind in of) or "values"
    return Kind(f"a list of {f'{length} ' if length else ''}{plural}", f"lists of {plural}", fits)


@cache
def read(target: str) -> Signature | None:
    """Return the options of a ``_target_``; None where its source is not found or does not tell."""
    module, _, name = target.rpartition(".")
    path = _path(module) if module else None
    found = _find(path, name) if path else None
    return _signature(*found, name) if found else None


def _signature(path: Path, node: ast.ClassDef | ast.FunctionDef, name: str) -> Signature | None:
    if isinstance(node, ast.FunctionDef):
        return _of_function(node, name, skip_first=False)
    own = next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None)
    if own is None and any(_last_name(getattr(part, "func", part)) == "dataclass" for part in node.decorator_list):
        return None
    signature = _of_function(own, name, skip_first=True) if own else None
    if own and signature and not (signature.takes_any and _hands_on(own)):
        return signature
    # One of the class's own name, as a module's attribute, would be found as the class itself.
    bases = [base for each in node.bases if (base := _find(path, _last_name(each))) and base[1] is not node]
    inherited = next((read for base in bases if (read := _signature(*base, name))), None)
    if signature is None or inherited is None:
        return signature or inherited
    # Options that the class does not name itself are passed on to its base.
    annotations = {**inherited.annotations, **signature.annotations}
    return Signature(name, annotations, signature.required, inherited.takes_any)


def _hands_on(init: ast.FunctionDef) -> bool:
    """Say whether a constructor passes its ``**options`` on to its base's."""
    return any(
        isinstance(call, ast.Call)
        and ast.unparse(call.func) == "super().__init__"
        and any(keyword.arg is None for keyword in call.keywords)
        for call in ast.walk(init)
    )


def _of_function(node: ast.FunctionDef, name: str, skip_first: bool) -> Signature:
    positional = [*node.args.posonlyargs, *node.args.args][1 if skip_first else 0 :]
    with_default = {argument.arg for argument in positional[len(positional) - len(node.args.defaults) :]}
    with_default = with_default if node.args.defaults else set()
    with_default |= {
        a.arg for a, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if default is not None
    }
    every = [*positional, *node.args.kwonlyargs]
    required = frozenset(argument.arg for argument in every) - with_default
    return Signature(name, {a.arg: a.annotation for a in every}, required, node.args.kwarg is not None)


def _path(module: str) -> Path | None:
    """Return a module's file. Only the top package is looked up: finding a submodule would import its packages."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    origin = Path(spec.origin)
    if not rest:
        return origin
    below = origin.parent.joinpath(*rest)
    return next((path for path in (below.with_suffix(".py"), below / "__init__.py") if path.is_file()), None)


@cache
def _find(path: Path, name: str) -> tuple[Path, ast.ClassDef | ast.FunctionDef] | None:
    """Find where a name is defined: in this file, or in one that it is imported from."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    # This block alone is parsed: some files of torch and albumentations take a second.
    block = re.search(rf"^(?:@[^\n]*\n)*(?:class|def) {re.escape(name)}\b.*?(?=^[^\s#)\]]|\Z)", text, re.M | re.S)
    try:
        if block:
            node = ast.parse(block[0]).body[0]
            return (path, node) if isinstance(node, ast.ClassDef | ast.FunctionDef) else None
        if name not in text and "import *" not in text:
            return None
        imports = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    except SyntaxError:
        return None
    for node in imports:
        original = next((a.name for a in node.names if (a.asname or a.name) == name), None)
        if original is None and node.names[0].name != "*":
            continue
        source = _imported(path, node)
        if source and source != path and (found := _find(source, original or name)):
            return found
    return None


def _imported(path: Path, node: ast.ImportFrom) -> Path | None:
    if not node.level:
        return _path(node.module or "")
    folder = path.parents[node.level - 1]
    below = folder.joinpath(*(node.module or "").split(".")) if node.module else folder
    return next((file for file in (below.with_suffix(".py"), below / "__init__.py") if file.is_file()), None)
