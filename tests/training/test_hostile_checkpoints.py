"""Crafted and broken checkpoints: one sentence each, and nothing in them is run, imported or believed."""

import copy
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_checkpoint import PLAIN, save

from fer.build import locate
from fer.errors import FERError
from fer.training import allowed, checkpoint
from fer.training.module import FERModule

Edit = Callable[[dict[str, Any]], Any]
REACH = "torch.nn.modules.module.torch.fx.graph_module._exec_with_source"


def hparams(**values: Any) -> Edit:
    return lambda content: content["hyper_parameters"].update(values)


def model(**options: Any) -> Edit:
    return hparams(model={**PLAIN["model"], **options})


def loss(**options: Any) -> Edit:
    return hparams(loss={"_target_": "torch.nn.CrossEntropyLoss", "class_weights": None, **options})


def preprocessing(**values: Any) -> Edit:
    return hparams(preprocessing={**PLAIN["preprocessing"], **values})


def weight(change: Callable[[torch.Tensor], Any]) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        name = next(iter(content["state_dict"]))
        content["state_dict"][name] = change(content["state_dict"][name])

    return edit


def nested() -> list[Any]:
    nest: list[Any] = []
    for _ in range(60):  # each level twice in the next: 2^60 values, were they counted out
        nest = [nest, nest]
    return nest


EXEC = {"_target_": REACH, "src": "open('harmed', 'w').close()", "globals": {"a": 1}}
HOSTILE: dict[str, Edit] = {
    "loss walks": loss(_target_=REACH, src=EXEC["src"], globals={"a": 1}),
    "loss args": loss(_target_="torch.nn.Sequential", _args_=[[EXEC]]),
    "allowed loss args": loss(_args_=[EXEC]),
    "nested option": loss(weight=[[EXEC]]),
    "nested in a mapping": loss(reduction={"x": {"y": EXEC}}),
    "interpolation": loss(reduction="${oc.decode:mean}"),
    "partial": loss(_partial_=True),
    "own loss walks": loss(_target_="fer.training.losses.torch.fx.graph_module._exec_with_source"),
    "own function": loss(_target_="fer.training.losses.F.cross_entropy"),
    "own model walks": model(_target_="fer.models.timm_model.torch.hub.load"),
    "own module's import": model(_target_="fer.models.cnn.Head"),
    "timm.loss walks": loss(_target_="timm.loss.cross_entropy.torch.load"),
    "os": model(_target_="os.system"),
    "a package of fer": model(_target_="fer.train.main"),
    "target is a list": model(_target_=["fer.models.cnn.CNN"]),
    "target missing": hparams(model={}),
    "model is a list": hparams(model=[]),
    "loss is None": hparams(loss=None),
    "head is code": model(head=EXEC),
    "hub model": hparams(model={"_target_": "fer.models.timm_model.TimmModel", "name": "hf-hub:a/b"}),
    "folder model": hparams(model={"_target_": "fer.models.timm_model.TimmModel", "name": "local-dir:/tmp"}),
    "timm file": hparams(
        model={"_target_": "fer.models.timm_model.TimmModel", "name": "test_resnet", "kwargs": {"pretrained_cfg": "x"}}
    ),
    "nest without end": model(dropout=nested()),
    "deep nest": model(dropout=[[[[[[[[[[[[[[0.1]]]]]]]]]]]]]]),
    "infinite option": model(dropout=math.inf),
    "wide network": hparams(model={"_target_": "fer.models.fully_connected.FullyConnected", "hidden": [90_000] * 3}),
    "absurd width": hparams(model={"_target_": "fer.models.cnn.CNN", "filters": [10**9]}),
    "absurd image": preprocessing(image_size=10**6),
    "no image": preprocessing(image_size=-1),
    "text for a size": preprocessing(image_size="large"),
    "std 0": preprocessing(std=[0.0]),
    "mean nan": preprocessing(mean=[math.nan]),
    "three means": preprocessing(mean=[0.1, 0.2, 0.3]),
    "two channels": preprocessing(channels=2),
    "a framing of nothing": preprocessing(framing={"landmarks": [[0, 0]] * 5}),
    "a framing that is text": preprocessing(framing="eyes"),
    "preprocessing lacks": hparams(preprocessing={"image_size": 24}),
    "preprocessing is None": hparams(preprocessing=None),
    "classes are numbers": hparams(classes=[0, 1, 2]),
    "a class twice": hparams(classes=["sad", "sad", "angry"]),
    "no classes": hparams(classes=[]),
    "one class": hparams(classes=["sad"]),
    "classes are a text": hparams(classes="sad"),
    "four classes": hparams(classes=["angry", "happy", "sad", "fear"], loss={"_target_": "torch.nn.CrossEntropyLoss"}),
    "150,000 classes": hparams(classes=[str(i) for i in range(150_000)]),
    "seed is a text": hparams(seed="x"),
    "monitor is a list": hparams(monitor=[]),
    "channels_last is a text": hparams(channels_last="yes"),
    "optimizer is None": hparams(optimizer=None),
    "mixup lacks": hparams(mixup={}),
    "mixup is a text": hparams(mixup={"mixup_alpha": "x", "cutmix_alpha": 0}),
    "mixup is negative": hparams(mixup={"mixup_alpha": -1.0, "cutmix_alpha": 0.0}),
    "hyper-parameters are None": lambda c: c.update(hyper_parameters=None),
    "hyper-parameters are a list": lambda c: c.update(hyper_parameters=["preprocessing"]),
    "a hyper-parameter more": hparams(zzz=1),
    "weights to be fetched": hparams(load_weights=True),
    "a hyper-parameter less": lambda c: c["hyper_parameters"].pop("loss"),
    "unknown option": model(zzz=1),
    "class weights": loss(class_weights=[1.0]),
    "class weights are texts": loss(class_weights=["a", "b", "c"]),
    "no weights": lambda c: c.pop("state_dict"),
    "weights are None": lambda c: c.update(state_dict=None),
    "weights are empty": lambda c: c.update(state_dict={}),
    "weights are numbers": weight(lambda _: 1.0),
    "weights of another shape": weight(lambda t: t[:1]),
    "nan": weight(lambda t: t.fill_(math.nan)),
    "one infinite weight": weight(lambda t: t.index_fill_(0, torch.tensor(0), math.inf)),
    "weights without values": weight(lambda t: t.to("meta")),
    "sparse weights": weight(lambda t: t.to_sparse()),
    "more weights than the file": weight(lambda _: torch.zeros(1).expand(10**12)),
    "a weight more": lambda c: c["state_dict"].update(zzz=torch.zeros(1)),
    "a weight less": lambda c: c["state_dict"].pop(next(iter(c["state_dict"]))),
    "fingerprints are a text": lambda c: c.update(seen_images="no"),
    "fingerprints are empty": lambda c: c.update(seen_images={}),
    "fingerprints of another width": lambda c: c.update(
        seen_images={"dataset": "x", "selected_on_test": False, "train": torch.zeros(2, 3), "val": torch.zeros(2, 3)}
    ),
    "a newer format": lambda c: c.update(fer_format=99),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_one_sentence_and_nothing_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.ckpt")
    content = torch.load("a.ckpt", weights_only=True)
    content["hyper_parameters"] = copy.deepcopy(content["hyper_parameters"])
    HOSTILE[name](content)
    torch.save(content, "a.ckpt")
    with pytest.raises(
        FERError, match=r"^ckpt=a\.ckpt: (cannot be (used|read)|is not a checkpoint|has format)"
    ) as error:
        FERModule.load_from_checkpoint("a.ckpt")
    assert "\n" not in str(error.value)
    assert not Path("harmed").exists()


def test_an_unknown_package_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harmful.py").write_text(
        "import os\nfrom torch import nn\nopen('harmed', 'w').close()\nNet = nn.Linear\n"
    )
    save(tmp_path / "a.ckpt", model={"_target_": "harmful.Net"})
    with pytest.raises(FERError, match=r"trust=\[harmful\]"):
        FERModule.load_from_checkpoint("a.ckpt")
    assert not Path("harmed").exists()
    # Trust is in what the package defines, not in what it has imported.
    for target in ("harmful.Net", "harmful.os.system", "harmful.os"):
        for key in ("model", "loss"):
            save(tmp_path / "a.ckpt", **{key: {"_target_": target}})
            with pytest.raises(FERError, match="cannot be used"):
                FERModule.load_from_checkpoint("a.ckpt", packages=["harmful"])


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_flipped_bit_is_found(tmp_path: Path, place: float) -> None:
    save(tmp_path / "a.ckpt")
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
    content = bytearray((tmp_path / "a.ckpt").read_bytes())
    content[largest.header_offset + 200 + int(place * (largest.file_size - 200))] ^= 1
    (tmp_path / "a.ckpt").write_bytes(content)
    torch.load(tmp_path / "a.ckpt", weights_only=True)  # torch does not notice
    with pytest.raises(FERError, match=r"damaged, the checksum of .* does not fit"):
        FERModule.load_from_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(FERError, match="damaged"):  # as a resumed run reads it
        checkpoint.AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")


def test_records_that_overlap_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.ckpt")
    with zipfile.ZipFile(tmp_path / "a.ckpt", "a") as archive:  # two names for one record's bytes
        twice = copy.copy(max(archive.infolist(), key=lambda record: record.file_size))
        archive.filelist.append(twice)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(FERError, match="lies within another record"):
        FERModule.load_from_checkpoint(tmp_path / "a.ckpt")


GOOD = {
    "epoch": 1,
    "global_step": 3,
    "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"params": [0], "lr": 0.1}]}],
    "lr_schedulers": [{"last_epoch": 3}],
    "callbacks": {"StopOnSignal": {}},
    "loops": {},
}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"epoch": "x"}, "epoch"),
        ({"global_step": -1}, "global_step"),
        ({"optimizer_states": "x"}, "optimizer_states"),
        ({"optimizer_states": [1]}, "optimizer_states"),
        ({"optimizer_states": [{"state": {}, "param_groups": [3]}]}, "optimizer_states"),
        ({"optimizer_states": [{"state": {0: 3}, "param_groups": []}]}, "optimizer_states"),
        ({"lr_schedulers": [None]}, "lr_schedulers"),
        ({"callbacks": ["x"]}, "callbacks"),
        ({"callbacks": {"StopOnSignal": 3}}, "callbacks"),
        ({"loops": None}, "loops"),
    ],
    ids=str,
)
def test_garbage_beside_the_weights_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    save(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True) | GOOD
    torch.save(content, tmp_path / "a.ckpt")
    checkpoint.AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")
    torch.save(content | change, tmp_path / "a.ckpt")
    with pytest.raises(FERError, match=f"cannot be gone on from: its {named}"):
        checkpoint.AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")


def test_an_image_size_that_its_weights_are_not_of_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.ckpt", preprocessing={**PLAIN["preprocessing"], "image_size": 4096})
    with pytest.raises(FERError, match="do not fit its model"):  # or rebuilt, where the network takes any size
        FERModule.load_from_checkpoint(tmp_path / "a.ckpt")


def test_other_formats(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zip.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 10**6)
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save(torch.zeros(3), tmp_path / "tensor.ckpt")
    torch.save(PLAIN, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "folder" / "checkpoints" / "best.ckpt").mkdir(parents=True)
    for name in ("zip.ckpt", "text.ckpt", "tensor.ckpt", "old.ckpt", "folder"):
        with pytest.raises(FERError, match=f"^ckpt={tmp_path / name}"):
            FERModule.load_from_checkpoint(tmp_path / name)


def test_the_lists_are_what_the_configs_name() -> None:
    named = set()
    for path in (Path(__file__).parents[2] / "conf").rglob("*.yaml"):
        for line in path.read_text().splitlines():
            if line.startswith("_target_:") and path.parent.name in ("model", "loss"):
                named.add(line.split()[1])
    assert named - {"???"} <= {*allowed.NETWORKS, *allowed.LOSSES}
    for target in allowed.NETWORKS:
        assert f"{locate(target, 'model').__module__}.{target.rpartition('.')[2]}" == target
    for target in allowed.LOSSES:
        assert issubclass(locate(target, "loss"), torch.nn.Module)
