"""Commands from Python, and the idioms of Lightning and Hydra: one tiny run serves them all."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from conftest import REPO, TINY
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import fer
from fer.cli.in_python import Result
from fer.config.groups import conf_dir
from fer.errors import ConfigError, FERError
from fer.files.run_folder import checkpoint_mark

CHOICES: dict[str, Any] = {
    "data": "synthetic",
    "model": "simple_conv",
    "data.num_samples": 280,
    "data.batch_size": 32,
    "data.num_workers": 0,
    "trainer.max_epochs": 1,
    "trainer.accelerator": "cpu",
    "transforms": "light",
    "callbacks": ["default"],
    "data.exclude": None,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Path]:
    here, before = Path.cwd(), os.environ.get("FER_CACHE")
    os.chdir(tmp_path_factory.mktemp("python"))
    os.environ["FER_CACHE"] = str(cache_dir)
    yield Path.cwd()
    os.chdir(here)
    os.environ.pop("FER_CACHE") if before is None else os.environ.update(FER_CACHE=before)


@pytest.fixture(scope="module")
def run(folder: Path) -> Result:
    HydraConfig.instance().cfg = None  # whatever the tests before left
    GlobalHydra.instance().clear()
    return fer.run("train", CHOICES)


def test_it_leaves_what_the_command_line_leaves(run: Result, folder: Path) -> None:
    assert run.folder.parent == folder / "outputs" / "synthetic-simple_conv"
    assert run.found == json.loads((run.folder / "metrics.json").read_text())
    left = {path.name for path in run.folder.iterdir()}
    assert {"checkpoints", "config.yaml", "run.yaml", "history.csv", "predictions.csv", "confusion.png"} <= left
    assert not HydraConfig.initialized()  # nothing is left behind
    assert not GlobalHydra.instance().is_initialized()


def test_a_run_goes_on(run: Result) -> None:
    with pytest.raises(FERError, match="finished"):
        fer.run("train", {"resume": run.folder})
    more = fer.run("train", {"resume": run.folder, "trainer.max_epochs": 2})
    assert more.folder == run.folder
    assert more.found["epochs"] == 2


def test_a_dataset_is_scored(run: Result) -> None:
    test = fer.run("test", {"ckpt": run.folder, "accelerator": "cpu", "resamples": 10, "progress": False})
    assert test.found == json.loads((test.folder / "metrics.json").read_text())
    assert test.found["test"]["n"] == run.found["test"]["n"]


def test_a_folder_is_audited(folder: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(12):
        path = folder / "my photos" / ("happy", "sad")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (16, 16), dtype=np.uint8)).save(path)
    audit = fer.run("audit", {"data": "folder", "data.root": folder / "my photos", "suspect_labels": False})
    assert audit.found == json.loads((audit.folder / "audit.json").read_text())
    assert (audit.folder / "audit.html").is_file()


def test_runs_are_compared(run: Result) -> None:
    assert (fer.run("report", {"runs": [run.folder]}).folder / "report.html").is_file()


def test_a_run_at_home(run: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(run.folder.parent))
    ckpt = f"~/{run.folder.name}"
    assert checkpoint_mark(ckpt) == checkpoint_mark(run.folder), "what the folder of a prediction is called by"
    tested = fer.run("test", {"ckpt": ckpt, "resamples": 0, "accelerator": "cpu"})
    assert tested.found["checkpoint_mark"] == checkpoint_mark(run.folder)


def test_errors_are_those_of_the_command_line(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"optimizer.lrr: there is no such key. Did you mean 'optimizer.lr'"):
        fer.run("train", {"optimizer.lrr": 0.1})
    with pytest.raises(ConfigError, match=r"model=simple_cnov: no such option. Did you mean 'simple_conv'"):
        fer.compose("train", ["model=simple_cnov"])
    with pytest.raises(ConfigError, match=r"optimizer.lr=-1"):
        fer.run("train", {"optimizer.lr": -1})
    with pytest.raises(ConfigError, match=r"tarin: no such command. Did you mean 'train'"):
        fer.run("tarin")
    with pytest.raises(ConfigError, match=r"ckpt=none.ckpt: no such file"):
        fer.run("test", {"ckpt": "none.ckpt"})


def test_a_config_of_hydras_compose_is_trained(folder: Path, run: Result) -> None:
    from fer.train import train

    overrides = [*TINY, "trainer.max_epochs=1", "test_last_epoch=false"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train", overrides, return_hydra_config=True)
        without = hydra.compose("train", overrides)
    try:
        score = train(cfg)
        newest = max(run.folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        assert newest != run.folder
        # The same choices, the same seed: the same numbers.
        assert score == pytest.approx(json.loads((newest / "metrics.json").read_text())["best_score"])
        HydraConfig.instance().cfg = None
        with pytest.raises(ConfigError, match="needs its hydra node"):
            train(without)
    finally:
        HydraConfig.instance().cfg = None


def test_lightnings_own_loops(run: Result) -> None:
    import pytorch_lightning as pl

    from fer.training.module import FERModule

    cfg = fer.compose("train", CHOICES | {"data.classes": ["happy", "sad"], "data.mean": [0.4]})
    chosen = hydra.utils.instantiate(cfg.data, seed=cfg.seed)  # by Hydra alone: lists are ListConfigs
    assert chosen.classes == ("happy", "sad")
    assert chosen.mean == [0.4]
    data = hydra.utils.instantiate(fer.compose("train", CHOICES).data)
    module = FERModule.load_from_checkpoint(run.folder)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False,
    )  # fmt: skip
    metrics = json.loads((run.folder / "metrics.json").read_text())
    (validated,) = trainer.validate(module, data, verbose=False)
    (tested,) = trainer.test(module, data, verbose=False)
    for split, scores in (("val", validated), ("test", tested)):
        for score in ("accuracy", "f1_macro"):
            assert scores[f"{split}/{score}"] == pytest.approx(metrics[split][score], abs=1e-6)
    batches = trainer.predict(module, data)
    rows = torch.cat([batch["row"] for batch in batches])
    assert rows.tolist() == data.rows("test").tolist()
    right = torch.cat([batch["probabilities"].argmax(1) == batch["label"] for batch in batches]).float().mean()
    assert float(right) == pytest.approx(metrics["test"]["accuracy"], abs=1e-6)
    # Weights of a path are taken by a module that has others.
    trainer.test(
        module, data, ckpt_path=str(run.folder / "checkpoints" / "best.ckpt"), weights_only=True, verbose=False
    )
    with pytest.raises(ConfigError, match="tta=flop: must be one of none, flip"):
        FERModule.load_from_checkpoint(run.folder, tta="flop")


def test_a_run_of_lightnings_trainer_alone(run: Result, folder: Path) -> None:
    import pytorch_lightning as pl

    from fer.training.module import FERModule

    data = hydra.utils.instantiate(fer.compose("train", CHOICES).data)
    module = FERModule.load_from_checkpoint(run.folder)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, logger=False, max_epochs=1, limit_train_batches=2, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder / "lightning", use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, data)
    assert trainer.global_step == 2
    assert module.val_confusion is not None
    left = next((folder / "lightning").rglob("*.ckpt"))
    assert FERModule.load_from_checkpoint(left).classes == module.classes


def test_import_is_fast_and_names_are_found() -> None:
    code = (
        "import sys, fer; assert 'torch' not in sys.modules; fer.compose, fer.run, fer.train; "
        "assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        fer.trian  # noqa: B018
