"""Every experiment trains for a few steps, from random weights, on a fake FER2013."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPO, composed
from fakes import write_fer2013_csv

EXPERIMENTS = sorted(p.stem for p in (REPO / "conf" / "experiment").glob("*.yaml") if not p.stem.startswith("_"))


@pytest.fixture(scope="module")
def fer2013(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fer2013")
    write_fer2013_csv(root / "fer2013.csv", per_class=3)
    return root


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_runs_a_few_steps(
    experiment: str, fer2013: Path, train_here: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    model = composed(f"experiment={experiment}")["model"]
    weights = ["model.pretrained=false"] if model.get("pretrained") else []
    train_here(
        f"experiment={experiment}", f"data.root={fer2013}", "data.num_workers=0", "data.batch_size=4",
        "trainer.accelerator=cpu", "trainer.fast_dev_run=2", *weights,
    )  # fmt: skip
    said = capfd.readouterr().out
    assert "fer2013" in said
    assert f"model  {model.get('name', model['_target_'].rpartition('.')[2])}: " in said
    assert ("of them trainable" in said) == model.get("freeze", False)
