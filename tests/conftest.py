"""What all tests share: two threads at most, no network, and a command line that is run as a user would."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from omegaconf import DictConfig

os.environ["HF_HUB_OFFLINE"] = "1"  # tests never touch the network
_state = tempfile.TemporaryDirectory(prefix="fer-state-")
os.environ["XDG_STATE_HOME"] = _state.name  # nor the user's key
REPO = Path(__file__).parents[1]
SHARED = REPO.parent / "shared"  # real data; tests that need it are skipped where it is absent


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Of the tests of training, those that look at the pictures of a run's end; drawing them takes a fifth of a tiny run.
_LOOK_AT_PICTURES = {"test_preview", "test_lr_finder", "test_temperature", "test_trackers", "test_what_a_run_leaves"}


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures of other tests of training empty."""
    if request.path.parent.name != "training" or {request.path.stem, request.node.name} & _LOOK_AT_PICTURES:
        return
    from fer.plots import figures

    def touch(figure: object, path: Path, dpi: int = 150) -> None:
        path.touch()

    monkeypatch.setattr(figures, "save", touch)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache of decoded images for the whole session."""
    return tmp_path_factory.mktemp("cache")


def composition(*overrides: str, config: str = "train") -> "DictConfig":
    """Return a command's config as the command line would compose it, not checked."""
    import copy

    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from fer.cli import resolvers

    resolvers.register()
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        cfg = compose(config, [*overrides, "hydra.runtime.output_dir=out"], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    cfg = copy.deepcopy(cfg)  # as Hydra does: its own config stays whole
    OmegaConf.set_struct(cfg, False)
    del cfg.hydra
    return cfg


def composed(*overrides: str, config: str = "train") -> dict[str, Any]:
    """Return a command's config as the command line would compose, check and resolve it."""
    from omegaconf import OmegaConf

    from fer.cli import config_check

    cfg = composition(*overrides, config=config)
    config_check.check(cfg)
    return OmegaConf.to_container(cfg, resolve=True)


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path, cache_dir: Path) -> Run:
    """Return a function that runs ``python -m <module> <overrides>`` in an empty folder."""

    def run(
        *args: str, module: str = "fer.train", cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        environment = {
            **os.environ,
            "FER_CACHE": str(cache_dir),
            "PYTHONPATH": str(REPO),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            **(env or {}),
        }
        return subprocess.run(
            [sys.executable, "-m", module, *args],
            cwd=cwd or tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


# A run of a few seconds: tiny network, few faces, one thread, and no pictures, which take longer than the training.
TINY = (
    "callbacks.samples=null",
    "callbacks.confusion=null",
    "model=simple_conv",
    "data.num_samples=280",
    "data.batch_size=32",
    "data.num_workers=0",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "transforms=light",
    "framing=false",  # which takes two seconds
)
WITH_PICTURES = tuple(option for option in TINY if not option.startswith("callbacks."))


@pytest.fixture
def train_here(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Return a function that trains in this process, as the command line would, and gives the run's folder.

    Much faster than :func:`command`, which imports torch anew; errors come as exit codes and printed text all the same.
    """
    with in_process(tmp_path, cache_dir, monkeypatch) as run:

        def train(*args: str, name: str = "run") -> Path:
            resumed = any(arg.startswith(("resume=", "ckpt=")) for arg in args)
            if not resumed and not any(arg.startswith("framing=") for arg in args):
                args = (*args, "framing=false")  # which takes two seconds
            return run("fer.train", *args, name=None if resumed else name)

        yield train


@pytest.fixture
def run_here(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Return a function that runs any command of ours in this process: ``run_here("fer.test", "ckpt=...")``."""
    with in_process(tmp_path, cache_dir, monkeypatch) as run:
        yield run


@contextmanager
def in_process(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Give the block a function that runs a command of ours here, as :func:`run_here` does for a test."""
    import importlib
    import logging

    from hydra.core.global_hydra import GlobalHydra

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_CACHE", str(cache_dir))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    handlers = logging.root.handlers[:]

    def run(module: str, *args: str, name: str | None = "out") -> Path:
        GlobalHydra.instance().clear()
        folder = tmp_path / (name or "")
        if module == "fer.audit" and "framing=true" not in args:
            args = (*args, "framing=false")  # which takes two seconds
        monkeypatch.setattr("sys.argv", [module, *args, *([f"hydra.run.dir={folder}"] if name else [])])
        importlib.import_module(module).main()
        return folder

    yield run
    logging.root.handlers = handlers
