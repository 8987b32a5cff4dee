"""Paths and names as people have them reach the commands as they are."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import write_image_folder
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer.config.quoting import quote, quoted, unquote

PATHS = ("my faces (1)", "a,b=c [x]", "größe ñ 表情", "it's {new}", 'a "b"', "C:\\faces\\", "~/faces", "a: b", "x\\'y")


def read(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


KEYS = ("data.root", "init", "teacher", "to", "source", "output_dir", "data.votes", "data.refine", "compare", "ckpt")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_read_letter_by_letter(path: str, key: str) -> None:
    assert read(quoted(f"{key}={path}")) == path
    assert read(f"ckpt={quote(path)}") == path
    assert unquote(quote(path)) == path


@pytest.mark.parametrize(
    "override",
    ["optimizer.lr=0.1", "seed=1,2", "data.classes=[happy,sad]", "data.label_map={0: angry}", "optimizer.lr=range(1,5)",
     "data.root='x y'", "data.root=a", "ckpt=null", "runs=[a,b]", "teacher=[a,b]", "--config-dir=x (1)",
     "data.root=a,b"],
)  # fmt: skip
def test_what_hydra_reads_stays(override: str) -> None:
    assert quoted(override) == override


def test_a_folder_that_is_there_is_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    (tmp_path / "5").mkdir()
    assert read(quoted("data.root=a,b")) == "a,b"
    assert quoted("seed=5") == "seed=5"


def test_training_resuming_and_testing_in_such_folders(
    train_here: Callable[..., Path], run_here: Callable[..., Path], tmp_path: Path
) -> None:
    data, run = tmp_path / "größe, (1) = [x]", tmp_path / "it's, a {run} = 1"
    write_image_folder(data, classes=("happy", "sad"), per_class=4, size=24)
    cpu = ("accelerator=cpu", "progress=false")
    small = ("model=simple_conv", "data.num_workers=0", "trainer.max_epochs=1", "trainer.accelerator=cpu")
    train_here("data=folder", f"data.root={data.name}", *small, f"output_dir={run}", name=None)
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    train_here(f"resume={run}", "trainer.max_epochs=2", name=None)
    assert (run / "history.csv").read_text().count("\n") == 3
    assert "resumed with data" not in (run / "train.log").read_text()
    for own in ((), ("data=folder", f"data.root=../{data.name}")):
        out = run_here("fer.test", f"ckpt={run}/checkpoints/best.ckpt", *own, *cpu, name=f"test{len(own)}")
        assert (out / "metrics.json").exists()
