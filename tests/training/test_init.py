"""A run that starts from another one's weights: what comes along, what is matched by name, what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import TINY, composed
from fakes_model import DESCRIPTION, write_run
from PIL import Image

from fer.cli.command import rewrite
from fer.errors import ConfigError, FERError
from fer.exporting import record
from fer.exporting.formats import write_safetensors
from fer.files import export
from fer.training import parent
from fer.training.module import FERModule

Run = Callable[..., Path]
RECIPE = (*(o for o in TINY if "num_samples" not in o and "max_epochs" not in o), "data=folder", "data.batch_size=8")
FEW = {"train": range(3), "val": range(3, 5), "test": range(5, 7)}
CHILD = tuple(option for option in RECIPE if not option.startswith("model="))  # whose network is the parent's


def write_faces(root: Path, classes: tuple[str, ...], numbers: dict[str, range], size: int = 24) -> Path:
    """Write class folders of noise: an image's pixels depend on its class and number alone."""
    for split, chosen in numbers.items():
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in chosen:
                seed = [number, *name.encode()]
                pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return root


def fails(run: Run, capfd: pytest.CaptureFixture[str], *args: str) -> str:
    """Return the error of a command that must end with exit code 2."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(*args)
    assert ended.value.code == 2
    return capfd.readouterr().err


def test_a_child_from_parent_to_test(
    train_here: Run, run_here: Run, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    parents = {"train": range(8), "val": range(8, 11), "test": range(11, 13)}
    childs = {"train": range(20, 24), "val": range(24, 26), "test": range(5, 9)}
    first = write_faces(tmp_path / "first", ("angry", "happy", "sad"), parents)
    second = write_faces(tmp_path / "second", ("sad", "contempt", "happy"), childs, size=32)
    # Two of the second's test images a class, but for contempt, are training images of the first, one chose it.
    for name in ("sad", "happy"):
        for number in range(5, 9):
            there = first / ("train" if number < 8 else "val") / name / f"{number:03d}.png"
            shutil.copy(there, second / "test" / name / f"{number:03d}.png")
    run = train_here(
        *RECIPE, f"data.root={first}", "data.std=0.3", "trainer.max_epochs=2", "callbacks=[default,ema]",
        "callbacks.ema.decay=0.5", name="parent",
    )  # fmt: skip
    capfd.readouterr()
    child = train_here(*CHILD, f"data.root={second}", "trainer.max_epochs=1",
                       f"init={run}", "optimizer.lr=1e-12", name="child")  # fmt: skip
    said = capfd.readouterr().out
    assert "head   classes: 2 kept (happy, sad), 1 new, begun afresh (contempt), 1 dropped (angry)" in said
    assert "input  of the parent: image_size=24, channels=1, mean=0.5, std=0.3, fit=pad" in said
    assert "test   8 of 12 images, or copies of them, fitted or chose the parent" in said
    assert "6 of 12 test images (50.0 %) were in training" in said

    best = {where: torch.load(where / "checkpoints" / "best.ckpt", weights_only=True) for where in (run, child)}
    before, after = (best[where]["state_dict"] for where in (run, child))
    assert best[run]["hyper_parameters"]["classes"] == ["angry", "happy", "sad"]
    classes = best[child]["hyper_parameters"]["classes"]
    place = {name: classes.index(name) for name in ("happy", "sad")}
    weight = next(key for key in before if key.endswith("classifier.weight"))
    assert torch.allclose(after[weight][place["happy"]], before[weight][1])
    assert torch.allclose(after[weight][place["sad"]], before[weight][2])
    assert all(
        torch.allclose(after[key], before[key]) for key in before if "classifier" not in key and "num_b" not in key
    )
    averaged = best[run]["current_model_state"]
    assert any(not torch.equal(averaged[key], before[key]) for key in before if key.startswith("net."))

    metrics = json.loads((child / "metrics.json").read_text())
    assert metrics["parent"]["path"] == str(run / "checkpoints" / "best.ckpt")
    assert metrics["parent"]["mark"] == json.loads((run / "metrics.json").read_text())["checkpoint_mark"]
    assert metrics["parent"] == {k: best[child]["parent"][k] for k in metrics["parent"]}
    assert (metrics["seen"]["in_training"], metrics["seen"]["chose_the_checkpoint"]) == (6, 2)
    assert metrics["clean"]["n"] == 4
    assert metrics["stamp"].startswith("NOT HELD OUT")
    tested = run_here("fer.test", f"ckpt={child}", name="tested")
    assert json.loads((tested / "metrics.json").read_text())["seen"] == metrics["seen"]

    module, asked = FERModule.load_from_checkpoint(child), {"format": "onnx", "ckpt": str(child)}
    told = record.describe(module, asked, "model.onnx")["training"]["parent"]
    assert told == {"dataset": "folder", "checkpoint_mark": metrics["parent"]["mark"], "fitted": 24}

    # It goes on without its parent, and keeps its input.
    run.rename(tmp_path / "gone")
    train_here(f"resume={child}", "trainer.max_epochs=2")
    resumed = torch.load(child / "checkpoints" / "last.ckpt", weights_only=True)
    assert (resumed["epoch"], resumed["parent"]) == (1, best[child]["parent"])
    config = yaml.safe_load((child / "config.yaml").read_text())
    assert config["data"]["image_size"] == 24
    assert config["model"]["_target_"] == "fer.models.simple_conv.SimpleConv"
    metrics = json.loads((child / "metrics.json").read_text())
    assert metrics["seen"]["in_training"] == 6


def test_a_frozen_parent_is_unfrozen_by_a_word(tmp_path: Path) -> None:
    run = write_run(tmp_path / "parent")
    frozen = composed("model=resnet18", "model.freeze=true")["model"]
    (run / "config.yaml").write_text(yaml.safe_dump({"model": frozen}))
    later = [f"init={run}", "callbacks=[default,finetuning]"]
    with pytest.raises(ConfigError, match=r"model\.freeze=true: keeps .* Say model\.freeze=false: finetuning itself"):
        composed(*rewrite(later))
    assert not composed(*rewrite([*later, "model.freeze=false"]))["model"]["freeze"]


def test_what_is_refused(train_here: Run, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", ("angry", "happy"), FEW)
    run = write_run(tmp_path / "parent")
    child = (*CHILD, f"data.root={faces}", "trainer.max_epochs=1", f"init={run}")
    message = fails(train_here, capfd, *child, "model=resnet18")
    assert (
        f"model._target_=fer.models.timm_model.TimmModel: the network of init={run} has "
        "fer.models.simple_conv.SimpleConv" in message
    )
    assert "The network comes from init=; leave out what contradicts it." in message
    for more in ("resume=x", "ckpt=x"):
        assert f"init={run} and {more}: choose one" in fails(train_here, capfd, *child, more)
    assert "data.channels" in fails(train_here, capfd, *child, "data.channels=3")
    assert "init=nowhere: no such file or folder" in fails(train_here, capfd, *child, "init=nowhere")
    (tmp_path / "model.onnx").write_bytes(b"")
    assert "is no export of fer" in fails(train_here, capfd, *child, f"init={tmp_path / 'model.onnx'}")
    assert f"init={tmp_path}: is no run with a best checkpoint." in fails(train_here, capfd, *child, f"init={tmp_path}")


def test_the_networks_overrides(tmp_path: Path) -> None:
    run = write_run(tmp_path / "parent")
    node = {"_target_": "fer.models.cnn.CNN", "filters": [8, 16], "pooling": "avg", "head": {"dropout": 0.5}}
    (run / "config.yaml").write_text(yaml.safe_dump({"model": node}))
    given = rewrite([f"init={run}", "data=fer2013"])
    assert given[0] in ("model=cnn", "model=pyramid_cnn", "model=small_cnn")
    assert "++model.filters=[8,16]" in given
    assert given[-2:] == [f"init={run}", "data=fer2013"]
    assert rewrite(["init=null", "data=fer2013"]) == ["init=null", "data=fer2013"]
    for hostile in ({"filters": "${oc.env:HOME}"}, {"_args_": [1]}, {"a},x": 1}, {"kwargs": [{"b:1,c": 2}]}):
        other = write_run(tmp_path / f"hostile{len(str(hostile))}")
        (other / "config.yaml").write_text(yaml.safe_dump({"model": {**node, **hostile}}))
        with pytest.raises(FERError, match=r"^init="):
            rewrite([f"init={other}"])
    other = write_run(tmp_path / "code")
    (other / "config.yaml").write_text(yaml.safe_dump({"model": {"_target_": "os.system", "command": "true"}}))
    for more in ([], ["model=custom"], ["model=timm"]):
        with pytest.raises(FERError, match=r"its network is 'os.system', which is not fer's"):
            rewrite([f"init={other}", *more])
    with pytest.raises(FERError, match="a sweep needs parents of one network"):
        rewrite([f"init={run},{write_run(tmp_path / 'another')}"])
    lone = tmp_path / "lone.ckpt"
    shutil.copy(run / "checkpoints" / "best.ckpt", lone)
    assert rewrite([f"init={lone}"])[0] == "model=simple_conv"


def test_a_network_of_timm_without_a_config_of_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "parent")
    timm = {"_target_": "fer.models.timm_model.TimmModel", "name": "resnet10t", "freeze": False}
    (run / "config.yaml").write_text(yaml.safe_dump({"model": timm}))
    given = rewrite([f"init={run}"])
    assert given[0] == "model=timm"
    assert "++model.name=resnet10t" in given
    assert "++model.name=resnet10t" in rewrite([f"init={run}", "model=timm"])
    named = rewrite([f"init={run}", "model=resnet18"])  # another network, which the check of the config names
    assert named == [f"init={run}", "model=resnet18"]
    (run / "config.yaml").write_text(yaml.safe_dump({"model": timm | {"name": "resnet18"}}))
    assert rewrite([f"init={run}"])[0] == "model=resnet18"


@pytest.mark.parametrize(
    "node",
    [
        {
            "_target_": "fer.models.timm_model.TimmModel",
            "name": "resnet10t",
            "head": {"hidden": [3], "batch_norm": True},
        },
        {"_target_": "fer.models.cnn.CNN", "filters": [4], "head": {"pooling": "flatten"}},
    ],
    ids=["timm", "cnn"],
)
def test_classes_are_matched_by_name(node: dict[str, object], tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = FERModule(**(DESCRIPTION | {"model": node, "classes": ["angry", "happy", "sad"]}))
    after = FERModule(**(DESCRIPTION | {"model": node, "classes": ["sad", "angry", "happy"]}))
    given = parent.Parent(
        tmp_path, "mark", before.classes, before.preprocess, node, before.net.state_dict(), {"dataset": "x"}
    )
    parent.fill(after, given)
    x = torch.rand(2, 1, 24, 24)
    with torch.no_grad():
        assert torch.allclose(after.eval().net(x), before.eval().net(x)[:, [2, 0, 1]])


def test_an_export_is_a_parent_whose_images_are_not_known(
    train_here: Run, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = FERModule(**DESCRIPTION)
    folder = tmp_path / "export"
    folder.mkdir()
    write_safetensors(module, folder / "model.safetensors")
    content: dict[str, object] = {"file": "model.safetensors", "classes": module.classes, "model": DESCRIPTION["model"]}
    export.write(
        folder, content | {"preprocessing": module.preprocess.as_dict(), "training": {"checkpoint_mark": "abc"}}
    )
    faces = write_faces(tmp_path / "faces", ("angry", "happy"), FEW)
    child = train_here(*CHILD, f"data.root={faces}", "trainer.max_epochs=1",
                       f"init={folder}", "optimizer.lr=1e-12")  # fmt: skip
    said = capfd.readouterr()
    assert "carries no fingerprints" in said.out + said.err
    assert "What the weights that its training began with have seen is not known." in said.out
    metrics = json.loads((child / "metrics.json").read_text())
    assert metrics["parent"]["mark"] == "abc"
    assert metrics["seen"]["complete"] is False
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"file": "model.onnx"}))
    (folder / "model.onnx").write_bytes(b"")
    assert "is a finished graph" in fails(train_here, capfd, *child_of(faces, folder))


def child_of(faces: Path, path: Path) -> list[str]:
    return [*CHILD, f"data.root={faces}", "trainer.max_epochs=1", f"init={path}"]


def test_messages_point_at_it(train_here: Run, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = write_run(tmp_path / "parent")
    (run / "run.yaml").touch()
    for given in (run, run / "checkpoints" / "best.ckpt"):
        said = fails(train_here, capfd, "model=resnet18", f"model.checkpoint_path={given}")
        assert f"a model of fer's own is given by init={given}" in said
    (run / "config.yaml").write_text("{}")
    (run / "run.yaml").write_text(yaml.safe_dump({"format": 1, "overrides": [], "choices": {"data": "fer2013"}}))
    assert f"init={run}" in fails(train_here, capfd, f"resume={run}", "data=ckplus")


def test_a_parent_whose_weights_were_renamed_has_the_same_network() -> None:
    from fer.config.inherited import differences

    parent = {"_target_": "x", "prefix": "module.", "rename": {"gamma": "weight"}}
    assert not differences({"_target_": "x", "rename": None}, parent, "the parent")
