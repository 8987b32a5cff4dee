"""What a user reads first: ``--help``, ``--version``, ``python -m fer``."""

import re
import runpy
import sys
from contextlib import suppress

import pytest
from conftest import Run
from hydra.core.global_hydra import GlobalHydra

import fer
from fer.cli import command
from fer.cli import help as help_text
from fer.config.groups import conf_dir, group_names, option_names

COMMANDS = list(help_text.commands())


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(config_name: str, *args: str) -> str:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [f"fer.{config_name}", *args])
        with suppress(SystemExit):  # Hydra's end of --help
            command.run(lambda cfg: None, config_name)
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_two_screens(printed, name: str) -> None:
    text = printed(name, "help")
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert len(lines) <= 90
    assert lines[0] == f"fer.{name}: {help_text.commands()[name]}"
    assert "(not with these choices)" not in text
    assert "--cfg job" in lines[-2]


def test_help_names_every_group_and_option(printed) -> None:
    text = printed("train", "--help")
    for group in group_names(conf_dir()):
        assert re.search(rf"^  {group}=", text, flags=re.M), group
        for option in option_names(conf_dir(), group):
            assert re.search(rf"[ ,]{option}(,|$)", text, flags=re.M), f"{group}={option}"
    assert not re.search(r"[ ,]_", text), "files that other configs are made of are no choices"


def test_help_explains_keys_with_the_comments_of_the_chosen_options(printed) -> None:
    text = printed("train", "--help", "model=timm", "model.name=resnet18", "optimizer.lr=0.25", "data=fer2013")
    assert re.search(r"^  data.batch_size=64 +of all devices; auto: the largest that fits \(GPU\)$", text, flags=re.M)
    assert "optimizer.lr=0.25  " in text
    assert "model=timm " in text
    assert re.search(r"^  name=fer2013-timm", text, flags=re.M), "a value that refers to others is filled in"
    # A comment that goes on in the next line of the YAML.
    assert "build the data that somebody else's run folder names" in re.sub(r"\s+", " ", printed("test", "--help"))
    assert "ckpt=..." in printed("test", "--help"), "a value that must be given"


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version_is_ours(printed, flag: str) -> None:
    assert re.fullmatch(rf"fer {fer.__version__} \(Python 3\.\d+\.\d+, torch \S+, .*\)\n", printed("train", flag))


def listing(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fer", *args])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("fer", run_name="__main__")
    return stop.value.code


def test_fer_alone_lists_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert listing(monkeypatch) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^  python -m fer\.{name} +\w.*$", text, flags=re.M)
    assert max(map(len, text.splitlines())) <= 80
    assert listing(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith(f"fer {fer.__version__}")
    assert listing(monkeypatch, "trian", "data=fer2013") == 2
    assert "Did you mean: python -m fer.train data=fer2013" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["fer", "fer.train"])
def test_help_comes_without_torch(command: Run, tmp_path, module: str) -> None:
    for slow in ("torch", "pytorch_lightning", "timm", "matplotlib"):
        (tmp_path / f"{slow}.py").write_text("raise SystemExit('imported')")
    done = command("--help", module=module)
    assert done.returncode == 0
    assert "fer.train" in done.stdout or module.removeprefix("fer.") in done.stdout
