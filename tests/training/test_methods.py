"""Against noisy, few and unbalanced labels: logit adjustment and teachers."""

import copy
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, composed
from fakes_model import DESCRIPTION, write_run
from torch.nn import functional as F

from fer.data.labels import BASIC
from fer.errors import ConfigError
from fer.scores import seen_images
from fer.training.checkpoint_content import load_checkpoint
from fer.training.losses import LogitAdjustedLoss, build_loss
from fer.training.module import FERModule
from fer.training.teaching import Teachers

Train = Callable[..., Path]


def weights(run: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_logit_adjustment_by_hand() -> None:
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0])
    loss = LogitAdjustedLoss([0.7, 0.2, 0.1], tau=2.0)
    wanted = F.cross_entropy(logits + 2 * torch.tensor([0.7, 0.2, 0.1]).log(), target)
    torch.testing.assert_close(loss(logits, target), wanted)
    torch.testing.assert_close(loss(logits, F.one_hot(target, 3).float()), wanted)
    assert not loss.state_dict()  # it follows from the options


def test_class_shares_are_those_of_the_training_images(train_here: Train) -> None:
    run = train_here(*TINY, "trainer.max_epochs=1", "loss=logit_adjusted")
    found = load_checkpoint(run)["hyper_parameters"]["loss"]["class_priors"]
    assert sum(found) == pytest.approx(1)
    assert max(found) == found[BASIC.index("happy")]
    train_here(f"resume={run}", "trainer.max_epochs=2")
    with pytest.raises(ConfigError, match="must be null or 7 numbers"):
        build_loss({"_target_": "fer.training.losses.LogitAdjustedLoss", "class_priors": [0.5]}, 7)


def teacher(folder: Path, seed: int, **other: Any) -> Path:
    write_run(folder, **other)
    content = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    torch.manual_seed(seed)
    content["state_dict"] = FERModule(**DESCRIPTION).state_dict()
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    return folder


def test_teachers_by_hand(tmp_path: Path) -> None:
    runs = [teacher(tmp_path / str(seed), seed) for seed in (1, 2)]
    classes = ["sad", "angry", "happy"]  # in another order than theirs
    found = Teachers([str(run) for run in runs], classes, temperature=3.0, weight=0.25)
    images = torch.randint(0, 256, (4, 30, 30), dtype=torch.uint8)  # of another size than theirs
    logits = [FERModule.load_from_checkpoint(run)(images).detach()[:, [2, 0, 1]] for run in runs]
    p = torch.stack([(one / 3).softmax(1) for one in logits]).mean(0)
    torch.testing.assert_close(found.probabilities(images), p)

    own, loss = torch.randn(4, 3), torch.tensor(2.0)
    divergence = (p * (p.log() - F.log_softmax(own / 3, dim=1))).sum(1).mean() * 9
    torch.testing.assert_close(found.blended(loss, own, images), 0.75 * loss + 0.25 * divergence)
    assert copy.deepcopy(found) is found
    assert found.seen[seen_images.UNKNOWN]  # such a checkpoint does not say

    with pytest.raises(ConfigError, match="the student learns angry, happy"):
        Teachers([str(runs[0])], ["angry", "happy"], 1.0, 0.5)


def test_a_student_knows_what_its_teacher_has_seen(
    train_here: Train, run_here: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = (*TINY, "trainer.max_epochs=1")
    first = train_here(*recipe, "data.generator_seed=1", name="first")
    student = train_here(*recipe, f"teacher=[{first}]", "callbacks=[default,ema]", name="student")
    said = capfd.readouterr().out
    assert f"teacher {first}: temperature 2, weight 0.5" in said
    assert weights(student).keys() == weights(first).keys()
    plain = train_here(*recipe, "callbacks=[default,ema]", name="plain")
    assert any(not torch.equal(value, weights(plain)[key]) for key, value in weights(student).items())
    assert json.loads((student / "metrics.json").read_text())["seen"]["in_training"] == 0
    second = train_here(*recipe, "data.generator_seed=2", name="second")
    longer = (f"resume={student}", "trainer.max_epochs=2")
    refused = {
        "teacher=null": f"teacher=null: the run was begun with [{first}]",
        f"teacher={second}": f"teacher={second}: the run was begun with [{first}]",
        "teacher_weight=0.9": "teacher_weight=0.9: the run was begun with 0.5",
    }
    for option, said in refused.items():
        with pytest.raises(SystemExit):
            train_here(*longer, option)
        assert said in capfd.readouterr().err
    shutil.copy(student / "checkpoints" / "last.ckpt", "copied.ckpt")
    with pytest.raises(SystemExit):
        train_here(*recipe, "ckpt=copied.ckpt", "callbacks=[default,ema]")
    assert "teacher=null: the run was begun with [" in capfd.readouterr().err

    content = torch.load(student / "checkpoints" / "last.ckpt", weights_only=True)
    del content["teachers"]  # as of an earlier version, which does not say
    torch.save(content, student / "checkpoints" / "last.ckpt")
    train_here(*longer, f"teacher={second}")  # another teacher from here on
    seen = load_checkpoint(student / "checkpoints" / "last.ckpt")["seen_images"]
    theirs = load_checkpoint(second)["seen_images"]["train"]
    assert set(map(bytes, theirs.numpy())) <= set(map(bytes, seen["earlier_train"].numpy()))
    out = run_here(
        "fer.test", f"ckpt={student}", "data=synthetic", "data.num_samples=280", "data.generator_seed=1", "split=train",
        "accelerator=cpu", "progress=false", "mistakes=0", "resamples=10", name="tested",
    )  # fmt: skip
    with (out / "predictions.csv").open() as file:
        assert all(row["in_training"] == "1" for row in csv.DictReader(file))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("loss=logit_adjusted", "+loss.class_weights=balanced"), "loss.class_weights"),
        (("loss=logit_adjusted", "data.sampler=weighted"), "data.sampler=weighted: loss=logit_adjusted corrects"),
        (("teacher=.", "mixup=both"), "mixup=none"),
        (("data.refine=.", "loss=multi_target"), "data.refine: loss=multi_target would take every class"),
        (("mixup=cutmix", "loss=multi_target"), "mixup: loss=multi_target would take both labels of a mixed image"),
    ],
)
def test_what_excludes_each_other(options: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        composed(*options)
    assert said in str(error.value)


def test_a_teacher_that_is_not_there(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train_here("teacher=[nowhere]", "data.refine=neither")
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert "teacher=nowhere: no such file or folder" in said
    assert "data.refine=neither: no such folder" in said
