"""``data.batch_size=auto``: the largest batch is searched, kept, and the training is as if it had been given."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import TINY, composed

from fer.errors import ConfigError, TrainingError
from fer.files import run_folder, run_record
from fer.training import batch_finder
from fer.training.batch_finder import largest
from fer.training.module import FERModule

AUTO = (*TINY, "trainer.accelerator=auto", "data.batch_size=auto")
LIMIT, FOUND = 61, 48  # 64 and 62 do not fit, 60 do: nine tenths of them, in eights


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make this machine look as if it had a GPU whose memory takes LIMIT images; return what was tried."""
    step, sizes = FERModule.training_step, []

    def limited(self: FERModule, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        sizes.append(len(batch["label"]))
        if len(batch["label"]) > LIMIT + 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if len(batch["label"]) > LIMIT:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return step(self, batch, index)

    monkeypatch.setattr(FERModule, "training_step", limited)
    monkeypatch.setattr(batch_finder, "gpus", lambda config: [0])
    return sizes


@pytest.mark.parametrize("limit", [0, 1, 7, 16, 17, 100, 1000, 5000])
def test_the_search_ends_near_the_limit_and_never_above(limit: int) -> None:
    asked: list[int] = []

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= limit

    most = 3000
    found = largest(fits, most)
    assert found <= min(limit, most)
    assert min(limit, most) - found <= max(0, found // 16)
    assert found in (0, *asked)  # nothing is taken on trust
    assert len(asked) < 16
    assert max(asked) <= most


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_training_is_as_if_the_number_had_been_given(train_here: Callable[..., Path], tried: list[int]) -> None:
    options = ("transforms=standard", "scheduler=onecycle", "optimizer.lr=0.01", "mixup=both", "data.augment_on=device")
    found = train_here(*AUTO, *options, name="found")
    searched = len([size for size in tried if size > LIMIT])
    assert searched > 0
    tried.clear()
    given = train_here(*AUTO, *options, f"data.batch_size={FOUND}", name="given")
    assert set(tried) == {FOUND}
    for name, tensor in weights(given).items():
        assert torch.equal(weights(found)[name], tensor), name
    assert (found / "history.csv").read_text() == (given / "history.csv").read_text()
    assert (found / "predictions.csv").read_text() == (given / "predictions.csv").read_text()
    files = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in (found, given)]
    assert {name for name in files[0] if "events" not in name} == {name for name in files[1] if "events" not in name}
    configs = [run_folder.read_config(run) for run in (found, given)]
    assert configs[0]["data"] == configs[1]["data"]
    assert configs[0]["data"]["batch_size"] == FOUND
    told = (found / "train.log").read_text()
    assert f"data.batch_size={FOUND} fits: 4 steps an epoch" in told
    assert f"data.batch_size=auto: {FOUND} images a step. optimizer.lr=0.01 may have to follow" in told
    record = run_record.read(found)
    assert record is not None
    assert record.overrides[-1] == f"data.batch_size={FOUND}"


def test_a_resumed_run_does_not_search(train_here: Callable[..., Path], tried: list[int]) -> None:
    run = train_here(*AUTO, "scheduler=constant", "trainer.max_epochs=1")
    tried.clear()
    train_here(f"resume={run}", "trainer.max_epochs=2")
    assert set(tried) == {FOUND}
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["batch_size"] == FOUND


def test_a_repeated_sweep_keeps_what_its_jobs_found(
    run_here: Callable[..., Path], tried: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = (*AUTO, "-m", "trainer.max_epochs=1", "optimizer.lr=0.01,0.001", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    run_here("fer.train", *sweep)
    assert run_folder.read_config(tmp_path / "sweep" / "1")["data"]["batch_size"] == FOUND
    tried.clear()
    (tmp_path / "sweep" / "1" / "metrics.json").unlink()  # as if it had been killed at its end
    capsys.readouterr()
    run_here("fer.train", *sweep)
    out = capsys.readouterr().out
    assert "job 0: finished before, kept" in out
    assert "job 1: begun before, going on" in out
    assert set(tried) <= {FOUND}


def test_several_gpus_share_the_batch(tried: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_finder, "gpus", lambda config: [0, 1])

    def fits(*args: Any) -> bool:
        torch.rand(1), np.random.rand(), random.random()  # as a trial draws
        return args[3] <= LIMIT

    monkeypatch.setattr(batch_finder, "_fits", fits)
    before = torch.random.get_rng_state(), np.random.get_state()[1], random.getstate()
    rows: dict[str, list[int]] = {"train": list(range(1000))}
    datamodule: Any = type("Data", (), {"rows": staticmethod(rows.__getitem__)})
    assert batch_finder.find(composed(), datamodule, None) == 2 * FOUND  # type: ignore[arg-type]
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert before[2] == random.getstate()
    rows["train"] = list(range(50))  # all of them fit
    assert batch_finder.find(composed(), datamodule, None) == 50  # type: ignore[arg-type]
    monkeypatch.setattr(batch_finder, "_fits", lambda *args: False)
    with pytest.raises(TrainingError, match="not even a batch of one image"):
        batch_finder.find(composed(), datamodule, None)  # type: ignore[arg-type]


def test_other_errors_of_a_step_are_not_taken_for_full_memory(
    train_here: Callable[..., Path], tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(FERModule, "training_step", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train_here(*AUTO)


def test_a_preview_is_of_the_number_found(
    train_here: Callable[..., Path], tried: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(*AUTO, "preview=true", "trainer.limit_train_batches=2")
    assert f"a step of {FOUND} images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("trainer.accelerator=cpu",), "trainer.accelerator=cpu the memory is the whole machine's"),
        (("ckpt=somewhere.ckpt",), "a run goes on with the batch size that it has"),
        (("trainer.strategy=fsdp",), "trainer.strategy=fsdp no GPU's memory"),
    ],
)
def test_where_there_is_nothing_to_search(options: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        composed("data.batch_size=auto", *options)
    assert said in str(error.value)
    assert "data.batch_size=64" in str(error.value)
    assert str(error.value).count("\n") == 0


def test_distributed_data_parallel_is_searched_for() -> None:
    for strategy in ("ddp", "{_target_:pytorch_lightning.strategies.DDPStrategy}"):
        composed("data.batch_size=auto", "trainer.devices=2", f"trainer.strategy={strategy}")


def test_processes_of_a_launcher_do_not_search(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "1"), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"data\.batch_size=auto: processes of torchrun would each find"):
        composed("data.batch_size=auto", "trainer.devices=2")


def test_a_test_needs_a_number() -> None:
    with pytest.raises(ConfigError, match="only a training searches"):
        composed("data=synthetic", "ckpt=x", "data.batch_size=auto", config="test")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_machine_without_a_gpu_refuses(train_here: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        train_here(*AUTO)
    assert end.value.code == 2
    assert "data.batch_size=auto: there is no GPU here" in capsys.readouterr().err
