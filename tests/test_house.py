"""The house keeps its order: imports run downward, some rooms stay free of torch, files and functions stay short."""

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import REPO

STOREYS = (
    {"cli", "auditing", "cropping", "exporting", "packing", "reporting", "serving", "testing"},
    {"predicting"},
    {"training"},
    {"datasets"},
    {"models"},
    {"plots"},
    {"scores", "framing"},
    {"data"},
    {"files"},
    {"config"},
    {"build", "compat", "display", "environment", "errors", "extras", "imports", "progress", "ranks"},
)
"""Rooms from top to bottom; each imports only from storeys below its own. Every other module of ``fer`` is a door: it
stands above all rooms, and no room imports it."""

WITHOUT_TORCH = ("cli", "config", "display", "errors", "files", "framing", "report", "reporting", "scores.registry")
"""Rooms and modules whose import brings neither torch nor Lightning, so that errors and help come at once."""

SLOW = {"lightning", "pytorch_lightning", "timm", "torch", "torchmetrics", "torchvision"}

LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 300, 50
LINES_OF_A_TEST_FILE = 500  # tests are read one by one

LONG_FILES = {
    "fer/data/base.py": "the one class that every dataset shares; its parts are modules of fer.data already",
    "fer/training/module.py": "one LightningModule, whose hooks must be its methods",
}
LONG_FUNCTIONS = {
    "fer.audit.audit": "an audit from start to end, in order",
    "fer.models.timm_model.__init__": "most of it are the options",
    "fer.export.export": "an export from start to end, in order",
    "fer.train.train": "a training from start to end, in order",
}


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of each module of ``fer``, by its dotted name."""
    paths = sorted((REPO / "fer").rglob("*.py"))
    return {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


def imports_of(name: str, everywhere: bool) -> Iterator[str]:
    """Yield what a module imports: modules of ``fer`` by their full name, others by the name of their package.

    Args:
        name: The module.
        everywhere: Whether imports inside functions count too; those for type checkers alone never do.
    """

    def statements(node: ast.AST) -> Iterator[ast.stmt]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child
            elif everywhere or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from statements(child)

    for statement in statements(modules()[name]):
        if isinstance(statement, ast.Import):
            found = [alias.name for alias in statement.names]
        else:
            assert isinstance(statement, ast.ImportFrom)
            found = [f"{statement.module}.{alias.name}" for alias in statement.names]
        for full in found:
            if full.partition(".")[0] != "fer":
                yield full.partition(".")[0]
            else:
                yield full if full in modules() else full.rpartition(".")[0]


def storey(name: str) -> int:
    """Return how far down a module stands; doors are at 0."""
    room = name.split(".")[1]
    return next((number for number, rooms in enumerate(STOREYS, start=1) if room in rooms), 0)


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    said = node.body[0] if ast.get_docstring(node) is not None else None
    assert node.end_lineno is not None
    without = 0 if said is None or said.end_lineno is None else said.end_lineno - said.lineno + 1
    return node.end_lineno - node.lineno + 1 - without


def test_no_imports_go_round_in_circles() -> None:
    graph = {name: set(imports_of(name, everywhere=True)) & modules().keys() - {name} for name in modules()}
    graphlib.TopologicalSorter(graph).prepare()


def test_imports_run_downward() -> None:
    upward = [
        f"{name} imports {imported}"
        for name in modules() if name != "fer"
        for imported in imports_of(name, everywhere=True)
        if imported.startswith("fer.") and name.split(".")[1] != imported.split(".")[1]
        and not (storey(name) == storey(imported) == len(STOREYS)) and storey(imported) <= storey(name)
    ]  # fmt: skip
    assert not upward


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_what_must_be_fast_imports_neither_torch_nor_lightning(room: str) -> None:
    pending = [name for name in modules() if f"{name}.".startswith(f"fer.{room}.")]
    assert pending, "no such room"
    by: dict[str, str] = dict.fromkeys(pending, "")
    while pending:
        name = pending.pop()
        for imported in imports_of(name, everywhere=False):
            assert imported not in SLOW, f"{name} imports {imported}; reached through {by[name] or 'itself'}"
            packages = [imported.rpartition(".")[0]] if imported.startswith("fer.") else []
            for found in (imported, *packages):
                if found in modules() and found not in by:
                    by[found] = f"{by[name]} {name}".strip()
                    pending.append(found)


def test_no_file_is_long_without_a_reason() -> None:
    sizes = {
        path.relative_to(REPO).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("fer", "tests")
        for path in (REPO / folder).rglob("*.py")
    }
    most = {"fer": LINES_OF_A_FILE, "tests": LINES_OF_A_TEST_FILE}
    assert not {
        path: lines for path, lines in sizes.items() if lines > most[path.partition("/")[0]] and path not in LONG_FILES
    }


def test_no_function_is_long_without_a_reason() -> None:
    sizes = {
        f"{name}.{node.name}": length(node)
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {
        name: lines for name, lines in sizes.items() if lines > LINES_OF_A_FUNCTION and name not in LONG_FUNCTIONS
    }
