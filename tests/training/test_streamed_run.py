"""A run on images that are streamed is, weight for weight, the run on decoded ones, and goes on as that does."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from conftest import TINY
from fakes import write_image_folder
from fakes_shards import pack
from test_train import same, weights

from fer.datasets.folder import Folder

Train = Callable[..., Path]


@pytest.fixture
def recipe(tmp_path: Path) -> tuple[str, ...]:
    """Shards of 112 training images in 7 batches; val and test are carved out of others'."""
    write_image_folder(tmp_path / "data", per_class=16)
    pack(Folder(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")), tmp_path / "packed", 0.02)
    tiny = (option for option in TINY if not option.startswith(("data.num_", "data.batch", "trainer.max")))
    return (
        *tiny, "data=shards", f"data.root={tmp_path / 'packed'}", f"data.cache_dir={tmp_path / 'cache'}",
        "data.image_size=32", "data.batch_size=16", "trainer.max_epochs=2",
    )  # fmt: skip


class Stop(pl.Callback):
    """Ends the run as Ctrl-C's sibling does: what is done is saved."""

    def on_before_optimizer_step(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == 10:
            os.kill(os.getpid(), signal.SIGTERM)


def stopped(train_here: Train, recipe: tuple[str, ...], *options: str) -> Path:
    """Return the folder of a run that was stopped in the middle of its second epoch."""
    stop = "+callbacks.end._target_=test_streamed_run.Stop"
    with pytest.raises(SystemExit) as ended:
        train_here(*recipe, *options, stop, name="cut")
    assert ended.value.code == 143
    return Path("cut").resolve()


def test_streamed_equals_cached_and_goes_on_in_mid_epoch(train_here: Train, recipe: tuple[str, ...]) -> None:
    recipe = (
        *recipe,
        "callbacks=[default,ema]",
        "callbacks.ema.decay=0.5",
    )  # which keep the stopped step's weights too
    cached = train_here(*recipe, "data.num_workers=0", name="cached")
    streamed = train_here(*recipe, "data.num_workers=2", "data.stream=true", name="streamed")
    cut = stopped(train_here, recipe, "data.num_workers=0", "data.stream=true")
    last = torch.load(cut / "checkpoints/last.ckpt", weights_only=True)
    assert 7 < last["global_step"] < 14, "in the middle of its second epoch"
    train_here(f"resume={cut}", "callbacks.end=null")
    for run in (streamed, cut):
        assert same(weights(cached), weights(run))
        assert same(weights(cached, "best.ckpt"), weights(run, "best.ckpt"))
    seen = [torch.load(run / "checkpoints/best.ckpt", weights_only=True)["seen_images"] for run in (cached, cut)]
    assert all(torch.equal(seen[0][split], seen[1][split]) for split in ("train", "val"))
