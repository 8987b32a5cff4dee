"""A run on images that are streamed is, weight for weight, the run on decoded ones, and goes on as that does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY
from fakes import write_image_folder
from fakes_shards import pack
from test_train import Killed, same, weights

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


def killed(train_here: Train, recipe: tuple[str, ...], *options: str) -> Path:
    """Return the folder of a run that was killed in the middle of its second epoch."""
    kill = ("+callbacks.kill._target_=test_train.Kill", "+callbacks.kill.step=10")
    with pytest.raises(Killed):
        train_here(*recipe, *options, *kill, name="cut")
    return Path("cut").resolve()


def test_streamed_equals_cached_and_goes_on_in_mid_epoch(train_here: Train, recipe: tuple[str, ...]) -> None:
    often = "callbacks.last.every_n_train_steps=3"
    cached = train_here(*recipe, "data.num_workers=0", often, name="cached")
    streamed = train_here(*recipe, "data.num_workers=2", often, "data.stream=true", name="streamed")
    cut = killed(train_here, recipe, "data.num_workers=0", often, "data.stream=true")
    last = torch.load(cut / "checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 1, "its second epoch had begun"
    train_here(f"resume={cut}", "callbacks.kill=null")
    one, two = ((run / "history.csv").read_text() for run in (cached, cut))
    assert one == two
    for run in (streamed, cut):
        assert same(weights(cached), weights(run))
        assert same(weights(cached, "best.ckpt"), weights(run, "best.ckpt"))
    seen = [torch.load(run / "checkpoints/best.ckpt", weights_only=True)["seen_images"] for run in (cached, cut)]
    assert all(torch.equal(seen[0][split], seen[1][split]) for split in ("train", "val"))
