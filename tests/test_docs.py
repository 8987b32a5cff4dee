"""What the documentation says is true: commands compose, options are named, messages exist, the picture is current."""

import ast
import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import REPO, composed
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer.cli import help as help_text
from fer.cli.command import _flags_and_overrides
from fer.config.groups import conf_dir, group_names, option_names

PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
COMMANDS = list(help_text.commands())


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each block of shell commands that is not marked ``<!-- untested: why -->``."""
    text = page.read_text()
    assert not re.search(r"^ {4}(python|make|pip) ", text, re.M), f"{page.name}: commands stand between ```bash and ```"
    for found in re.finditer(r"^```bash\n(.*?)^```", text, flags=re.M | re.S):
        if not re.search(r"<!-- untested: .+ -->\s*\Z", text[: found.start()]):
            yield text[: found.start()].count("\n") + 1, found[1]


def lines(page: Path) -> Iterator[tuple[int, str]]:
    for number, block in blocks(page):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                yield number, line.strip()


def filled(override: str) -> str:
    return re.sub(r"<[\w ]+>", "x", override)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_compose(page: Path) -> None:
    for number, line in lines(page):
        words = shlex.split(line, comments=True)
        environment = launched(words)
        if environment:
            words = ["python", *words[words.index("fer.train") - 1 :]]
        module = re.fullmatch(r"fer\.(\w+)", words[2]) if words[:2] == ["python", "-m"] and len(words) > 2 else None
        if module is None:
            assert known(words), f"{page.name}:{number}: {line}"
            continue
        assert module[1] in COMMANDS, f"{page.name}:{number}: {line}"
        overrides = [filled(word) for word in _flags_and_overrides(words[3:])[1]]
        for pick in (0, -1):
            composes(module[1], environment, *chosen(overrides, pick, module[1]))


@cache  # half a second each, and many commands are written more than once
def composes(name: str, environment: tuple[tuple[str, str], ...], *overrides: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment:
            patch.setenv(variable, value)
        composed(*overrides, config=name)


def launched(words: list[str]) -> tuple[tuple[str, str], ...]:
    """Return the variables that torchrun or srun sets, if it starts the command: its numbers are compared with them."""
    flags = {key: value for key, _, value in (word.partition("=") for word in words)}
    if words[0] == "torchrun":
        nodes, each = int(flags["--nnodes"]), flags["--nproc-per-node"]
        count = str(nodes * int(each))
        return (("TORCHELASTIC_RUN_ID", "none"), ("WORLD_SIZE", count), ("LOCAL_WORLD_SIZE", each))
    if words[0] == "srun":
        count = str(int(flags["--nodes"]) * int(flags["--ntasks-per-node"]))
        return (("SLURM_STEP_NUM_TASKS", count), ("SLURM_STEP_NUM_NODES", flags["--nodes"]))
    return ()


def known(words: list[str]) -> bool:
    """Say whether a line that is none of fer's commands calls something that is there."""
    if words[0] == "make":
        return len(words) == 1 or re.search(rf"^{words[1]}:.*## ", (REPO / "Makefile").read_text(), re.M) is not None
    if words[:2] == ["pip", "install"]:
        extras = [name for found in re.findall(r"\[(.*)\]", " ".join(words)) for name in found.split(",")]
        text = (REPO / "pyproject.toml").read_text()
        return all(re.search(rf"^{name} = \[", text, re.M) for name in extras)
    if words[:3] == ["python", "-m", "benchmarks"]:
        return all((REPO / "benchmarks" / f"{word}.py").is_file() for word in words[3:])
    if words[0] == "python" and words[1].endswith(".py"):
        return (REPO / words[1]).is_file()
    return words in (["python", "-m", "fer"], ["tensorboard", "--logdir", "outputs"], ["git", "clone", "<this>"])


def chosen(overrides: list[str], pick: int, module: str) -> list[str]:
    """Return a command's overrides with one value of each that a sweep goes through, and without its shorthands."""
    if module == "audit":
        overrides = [re.sub("^against=", "data@against=", override) for override in overrides]
    if any(override.startswith("model._target_=") for override in overrides):  # as the command does
        overrides = ["model=custom", *(o.replace("my_package.MyNet", "torch.nn.Identity") for o in overrides)]
    plain = []
    for override in overrides:
        if override.startswith(("resume=", "hydra")):
            continue
        parsed = OverridesParser.create().parse_override(override)
        if parsed.is_sweep_override():
            override = f"{parsed.get_key_element()}={list(parsed.sweep_string_iterator())[pick]}"
        plain.append(override)
    return plain


def test_the_documentation_names_every_option() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    missing = [
        f"{group}={name}"
        for group in set(group_names(conf_dir())) - {"logger"}
        for name in option_names(conf_dir(), group)
        if not re.search(rf"[`=,]{name}[`,\]\s]", text)
    ]
    assert not missing


def test_every_page_is_in_the_navigation() -> None:
    def files(node: object) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from files(inner)

    nav = yaml.safe_load((REPO / "mkdocs.yml").read_text())["nav"]
    assert sorted(files(nav)) == [page.relative_to(REPO / "docs").as_posix() for page in PAGES[1:]]
    datasets = {path.stem for path in (REPO / "docs" / "data").glob("*.md")} - {"index"}
    assert datasets == set(option_names(conf_dir(), "data"))


def test_messages_in_troubleshooting_are_those_of_the_code() -> None:
    said = set()
    for path in (REPO / "fer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            said.add(
                "...".join(str(p.value) for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str))
            )
    everything = "\n".join(said)
    messages = re.findall(r"^\*\*`(.+?)`\*\*", (REPO / "docs" / "troubleshooting.md").read_text(), flags=re.M)
    assert len(messages) > 20
    pieces = [piece.strip() for message in messages for piece in message.split("...")]
    assert not [piece for piece in pieces if piece and piece not in everything]


def test_the_picture_of_the_house_is_current() -> None:
    house = runpy.run_path(str(REPO / "tools" / "house.py"))
    assert house["PAGE"].read_text() == house["page"](), "run: python tools/house.py"


def test_a_circle_of_imports_is_named() -> None:
    house = runpy.run_path(str(REPO / "tools" / "house.py"))
    with pytest.raises(ValueError, match="a -> b -> a"):
        house["levels"]({"a": {"b"}, "b": {"a"}})
    assert house["needed"]({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == [("a", "b"), ("b", "c")]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_every_command_is_in_the_table(page: str) -> None:
    text = (REPO / page).read_text()
    assert not [name for name in COMMANDS if f"\n| `fer.{name}` |" not in text]


def test_the_readme_is_short() -> None:
    assert len((REPO / "README.md").read_text().splitlines()) <= 120
