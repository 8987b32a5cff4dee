"""``python -m benchmarks gpu``, tried on a CPU: the same trainings, of few small images."""

import sys
from pathlib import Path

import pytest
import torch
from conftest import REPO, composed
from rich.console import Console


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(REPO))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    from benchmarks import gpu

    return gpu


def test_both_tables_are_printed(gpu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu, "PAIRS", 2)
    monkeypatch.setattr("fer.plots.figures.save", lambda figure, path, dpi=150: path.touch())  # nobody looks at them
    small = {"model": "small_cnn", "data.image_size": "32", "trainer.max_epochs": "1"}
    given = {"accelerator": "cpu", "limit": "28", **small}
    gpu.measure(Console(width=140), **gpu.options(given), minutes=4.0)
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    speed, fast, slow = rows
    assert speed[:2] == ["32-true", "1"]
    ours, bare = (float(cell.replace(",", "")) for cell in speed[2:4])
    assert ours > 1
    assert bare > 1
    ratios = [float(ratio) for ratio in speed[4].split()]
    assert len(ratios) == 2
    assert 0.2 < ratios[0] < 5
    assert fast[:2] == ["fer2013_cpu", "1"]
    assert slow[:2] == ["fer2013_gpu", "1"]
    assert slow[4] == "tta=tencrop"
    assert "drawn faces: no result" in out


def test_the_recipe_gets_the_epochs_that_there_is_time_for(gpu) -> None:
    epoch = 28709 + 3589 / 3
    assert gpu._epochs(60, epoch, {}) == 60
    assert gpu._epochs(1000, epoch, {}) == 150
    assert gpu._epochs(-5, epoch, {}) == 1
    assert gpu._epochs(1000, epoch, {"trainer.max_epochs": 7}) == 7


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_machine_without_a_gpu_is_told_so(gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import __main__

    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    with pytest.raises(SystemExit, match="there is no GPU here"):
        __main__.main()
    monkeypatch.setattr(sys, "argv", ["benchmarks", "cpu"])
    with pytest.raises(SystemExit, match="unknown: cpu"):
        __main__.main()


def test_the_recipe_augments_on_the_device() -> None:
    from fer.data.augment import Augment
    from fer.data.augment_on_device import AugmentOnDevice

    config = composed("experiment=fer2013_gpu")
    assert config["data"]["augment_on"] == "device"
    AugmentOnDevice(Augment(config["transforms"]))  # which refuses a step that a device cannot do
