"""Where the code leans on private parts of libraries: in one file, and loudly when they change."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import REPO
from hydra._internal import utils
from hydra._internal.config_repository import ConfigRepository
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer import compat
from fer.errors import FERError

OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}


def private_parts(path: Path) -> list[str]:
    """Return what a file takes from private modules, and the private attributes of other objects that it touches."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and re.search(r"(^|\.)_[a-z]", node.module or ""):
            found.append(f"{path}:{node.lineno}: from {node.module}")
        elif isinstance(node, ast.Import) and any(re.search(r"(^|\.)_[a-z]", name.name) for name in node.names):
            found.append(f"{path}:{node.lineno}: import")
        elif isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and node.attr not in OF_NAMED_TUPLES:
            owner = node.value
            own = isinstance(owner, ast.Name) and owner.id in ("self", "cls", "other")  # other: of the same class
            if not own and ast.unparse(node) != "os._exit":  # which is documented
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_private_parts_of_libraries_are_used_in_one_file() -> None:
    files = [path for path in (REPO / "fer").rglob("*.py") if path.name != "compat.py"]
    assert [line for path in files for line in private_parts(path)] == []
    assert len(private_parts(REPO / "fer" / "compat.py")) > 3  # the search finds something


def test_the_releases_to_go_back_to_are_the_tested_ones() -> None:
    lines = (REPO / "constraints.txt").read_text().splitlines()
    held = dict(line.split(" ")[0].split("==") for line in lines if re.match(r"[\w.-]+==", line))
    assert {name: held[name].partition("+")[0] for name in compat.TESTED} == compat.TESTED


def test_nothing_slow_is_imported() -> None:
    code = "import sys, fer.compat; print(sorted({'torch', 'hydra', 'pytorch_lightning', 'optuna'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parts_of_configs_are_hidden_while_a_command_runs() -> None:
    before = ConfigRepository.get_group_options
    source = SimpleNamespace(is_group=lambda config_path: True, list=lambda **kwargs: ["_loading", "fer2013"])
    repository = SimpleNamespace(sources=[source])
    with compat.hidden_config_parts():
        assert ConfigRepository.get_group_options(repository, "data") == ["fer2013"]
    assert ConfigRepository.get_group_options is before


def _other_parser() -> Any:
    return SimpleNamespace(_actions=[SimpleNamespace(option_strings=["--other"])])


def test_another_hydra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "get_args_parser", _other_parser)
    with pytest.raises(FERError, match=r"hydra-core \S+ has changed its argument parser.*pip install 'hydra-core=="):
        compat.hydra_flags()
    monkeypatch.setattr(ConfigRepository, "get_group_options", lambda self, group: [])
    with pytest.raises(FERError, match="how a group's options are listed"), compat.hidden_config_parts():
        pass
    monkeypatch.delattr(OverridesParser, "parse_override")
    with pytest.raises(FERError, match="its parser of overrides"):
        compat.parse_override("a=1")


@pytest.mark.parametrize(
    ("use", "part"),
    [
        (compat.resume_by_epochs, "how a run with max_steps is resumed"),
        (compat.is_restoring, "where it holds a checkpoint"),
        (compat.place_in_run, "how it counts epochs"),
    ],
)
def test_another_lightning_is_refused(use: Callable[[Any], Any], part: str) -> None:
    trainer = SimpleNamespace(fit_loop=SimpleNamespace(), _checkpoint_connector=SimpleNamespace())
    with pytest.raises(FERError, match=rf"pytorch-lightning \S+ has changed {part}"):
        use(trainer)


def test_another_state_of_checkpoints_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").touch()
    state = {"best_model_path": "elsewhere/best.ckpt", "dirpath": "elsewhere"}
    with pytest.raises(FERError, match="the state of its ModelCheckpoint callback"):
        compat.follow_moved_folder({"checkpoint": state}, tmp_path)


def test_a_trial_is_found_by_its_number() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="lr", storage=storage)
    asked = [study.ask(), study.ask()]
    trial = compat.optuna_trial(study, "lr", storage, asked[1].number)
    trial.report(0.5, 0)
    assert [t.intermediate_values for t in study.trials] == [{}, {0: 0.5}]
    with pytest.raises(FERError, match=r"optuna \S+ has changed how a trial is found"):
        compat.optuna_trial(study, "lr", SimpleNamespace(), 0)


def test_loads_are_recorded_and_a_load_that_was_not_is_refused() -> None:
    from torch import nn

    net, other = nn.Linear(2, 3), nn.Linear(2, 3)
    before = nn.Module.load_state_dict
    with compat.recorded_loads() as loads:
        net.load_state_dict({"weight": net.weight, "extra": net.bias}, strict=False)
    assert nn.Module.load_state_dict is before
    assert loads == [(net, ["bias"], ["extra"])]
    compat.check_recorded(loads, net)
    with pytest.raises(FERError, match=r"timm \S+ has changed how it loads weights"):
        compat.check_recorded(loads, other)
