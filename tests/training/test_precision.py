"""``precision=auto`` takes bfloat16 only where the processor has it; elsewhere bfloat16 is warned of."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY

from fer.training import precision


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets what the processor can do."""

    def has(**features: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **features})

    return has


@pytest.mark.parametrize(
    ("features", "chosen"),
    [({}, "32-true"), *(({name: True}, "bf16-mixed") for name in ("avx512_bf16", "amx_bf16", "bf16"))],
)
def test_auto_follows_the_processor(cpu: Callable[..., None], features: dict[str, bool], chosen: str) -> None:
    cpu(**features)
    assert precision.settle("auto", "cpu") == chosen
    assert precision.settle("bf16-true", "cpu") == "bf16-true"  # what is asked for is kept


def test_auto_follows_the_gpu(cpu: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    cpu()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert precision.settle("auto", "auto") == ("bf16-mixed" if native else "32-true")
        assert precision.settle("auto", "cpu") == "32-true"


def test_the_run_says_what_was_chosen(
    train_here: Callable[..., Path], cpu: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    cpu()
    tiny = (*TINY, "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    run = train_here(*tiny, "trainer.precision=auto", name="auto")
    assert "precision 32-true" in capsys.readouterr().out
    assert "precision: 32-true" in (run / "config.yaml").read_text()
    train_here(*tiny, "trainer.precision=bf16-mixed", "model=fully_connected", name="slow")
    assert "about ten times as slow" in " ".join(capsys.readouterr().out.split())
