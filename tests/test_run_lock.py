"""A command's folder is its own, whatever the clock does."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fer.run_lock import OwnFolder


def test_a_folder_named_by_the_second_is_claimed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seconds = iter(range(10))
    OmegaConf.register_new_resolver("tick", lambda: next(seconds), replace=True)
    cfg = OmegaConf.create({"hydra": {"run": {"dir": "out/${tick:}"}, "overrides": {"hydra": []}}})
    OwnFolder().on_run_start(cfg)
    assert cfg.hydra.run.dir == cfg.hydra.run.dir == "out/0"
    assert [folder.name for folder in Path("out").iterdir()] == ["0"]


def test_two_commands_of_one_second_have_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = []
    for _ in range(2):
        cfg = OmegaConf.create({"hydra": {"run": {"dir": "out/now"}, "overrides": {"hydra": []}}})
        OwnFolder().on_run_start(cfg)
        folders.append(cfg.hydra.run.dir)
    assert folders == ["out/now", "out/now-2"]
