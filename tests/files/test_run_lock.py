"""A command's folder is its own, whatever the clock does."""

from pathlib import Path

import pytest
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from fer.files.run_lock import OwnFolder


@pytest.fixture(autouse=True)
def _before_hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    setup_globals()  # registers Hydra's own resolvers
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # as when a command starts


def command(folder: str) -> DictConfig:
    cfg = OmegaConf.create({"hydra": OmegaConf.structured(HydraConf)})
    cfg.hydra.run.dir, cfg.hydra.runtime.choices = folder, {"data": "faces"}
    return cfg


def test_a_folder_named_by_the_second_is_claimed_once() -> None:
    seconds = iter(range(10))
    OmegaConf.register_new_resolver("tick", lambda: next(seconds), replace=True)
    cfg = command("out/${tick:}")
    OwnFolder().on_run_start(cfg)
    assert cfg.hydra.run.dir == cfg.hydra.run.dir == "out/0"
    assert [folder.name for folder in Path("out").iterdir()] == ["0"]


def test_two_commands_of_one_second_have_two_folders() -> None:
    folders = []
    for _ in range(2):
        cfg = command("${hydra:runtime.choices.data}/now")
        OwnFolder().on_run_start(cfg)
        folders.append(cfg.hydra.run.dir)
    assert folders == ["faces/now", "faces/now-2"]
