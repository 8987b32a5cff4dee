"""After the first steps a run says, once, how long it takes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY


@pytest.mark.parametrize(("size", "said"), [(8, 1), (32, 0)])
def test_an_estimate_after_twenty_steps(
    train_here: Callable[..., Path], capsys: pytest.CaptureFixture[str], size: int, said: int
) -> None:
    run = train_here(*TINY, f"data.batch_size={size}")  # with 32 the whole run has fewer steps
    for text in (capsys.readouterr().out, (run / "train.log").read_text()):
        lines = [line for line in text.splitlines() if "speed  about" in line]
        assert len(lines) == said
        for line in lines:
            assert " s an epoch, " in line
            assert "for 2 epochs, without validation" in line
            assert "GiB at most" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("model=small_cnn", "callbacks=[default,progressive_resizing]"),
            " an epoch at the first epochs' size, without validation (",
        ),
        (
            ("model=timm", "model.name=test_resnet", "callbacks=[default,finetuning]"),
            " an epoch while the backbone is frozen, without validation (",
        ),
    ],
    ids=["smaller", "frozen"],
)
def test_cheaper_first_epochs_tell_nothing_of_the_whole_run(
    train_here: Callable[..., Path], options: tuple[str, ...], said: str
) -> None:
    run = train_here(*TINY, *options, "data.batch_size=8")
    (line,) = [line for line in (run / "train.log").read_text().splitlines() if "speed  about" in line]
    assert said in line
    assert "for 2 epochs" not in line
