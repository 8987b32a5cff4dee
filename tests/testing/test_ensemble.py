"""fer.ensemble: averaged probabilities and weights, chosen on validation alone, beside the best single run."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from fakes import write_image_folder
from sklearn import metrics as sk

from fer.data.fingerprints import fingerprints
from fer.data.labels import BASIC
from fer.datasets.synthetic import Synthetic
from fer.files import run_record
from fer.scores import seen_images
from fer.scores.metrics import final_scores
from fer.testing import soup
from fer.testing.choosing import greedy
from fer.testing.members import Member
from fer.training.checkpoint import AtomicCheckpointIO
from fer.training.checkpoint_content import load_checkpoint
from fer.training.module import FERModule

Here = Callable[..., Path]
CPU = ("accelerator=cpu", "progress=false", "resamples=10")
SYNTHETIC = {"_target_": "fer.datasets.synthetic.Synthetic", "num_samples": 280, "batch_size": 64, "num_workers": 0}


def write_member(folder: Path, weights: int = 0, **other: Any) -> Path:
    """Write a finished run of random weights; ``other`` hyper-parameters, ``data``, ``order`` of classes, ``seen``."""
    data, order, seen = other.pop("data", SYNTHETIC), other.pop("order", None), other.pop("seen", None)
    hparams = {
        "classes": list(BASIC),
        "preprocessing": {"image_size": 24, "channels": 1, "mean": [0.5], "std": [0.25], "fit": "pad"},
        "model": {"_target_": "fer.models.simple_conv.SimpleConv"},
        "loss": {"_target_": "torch.nn.CrossEntropyLoss", "class_weights": None},
        "optimizer": {}, "scheduler": {}, "mixup": {"mixup_alpha": 0.0, "cutmix_alpha": 0.0}, "seed": 0, **other,
    }  # fmt: skip
    torch.manual_seed(weights)
    state = FERModule(**hparams).state_dict()
    if order is not None:
        hparams["classes"] = [BASIC[place] for place in order]
        for key in ("net.head.classifier.weight", "net.head.classifier.bias"):
            assert key in state, list(state)
            state[key] = state[key][order]
    content = {"state_dict": state, "hyper_parameters": hparams}
    if seen is not None:
        content[seen_images.KEY] = seen
    AtomicCheckpointIO().save_checkpoint(content, folder / "checkpoints" / "best.ckpt")
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    scores = final_scores(np.eye(7, dtype=np.float32), np.arange(7), BASIC, resamples=0)
    found = {"kind": "training", "format": 1, "best_score": 1.0, "best_epoch": 1, "epochs": 1, "stamp": None,
             "data": data["_target_"].rpartition(".")[2].lower(), "val": scores}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(found))
    return folder


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("members")
    seen = seen_images.seen_images(Synthetic(num_samples=280))
    return [write_member(folder / str(number), number, seen=seen) for number in range(3)]


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def answers(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def listed(*folders: Path) -> str:
    return f"runs=[{','.join(map(str, folders))}]"


def by_hand(folders: list[Path], split: str) -> tuple[Synthetic, np.ndarray, list[np.ndarray]]:
    data = Synthetic(num_samples=280)
    rows = data.rows(split)
    images = torch.from_numpy(data.samples.images[rows])
    with torch.no_grad():
        found = [FERModule.load_from_checkpoint(folder).probabilities(images).numpy() for folder in folders]
    return data, rows, found


def test_all_members_by_hand(
    members: list[Path], run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = run_here("fer.ensemble", f"runs={members[0].parent}", "choose=all", *CPU)
    data, rows, found = by_hand(members, "test")
    mean, labels = np.mean(found, axis=0), data.samples.labels[rows]
    metrics, written = read(out), answers(out)
    for row, p in zip(rows, mean, strict=True):
        line = written[data.samples.ids[row]]
        assert [float(line[f"p_{name}"]) for name in BASIC] == pytest.approx(p.tolist(), abs=1e-5)
    assert metrics["average"]["test"]["accuracy"] == pytest.approx(sk.accuracy_score(labels, mean.argmax(1)))
    assert metrics["average"]["test"]["f1_macro"] == pytest.approx(
        sk.f1_score(labels, mean.argmax(1), average="macro", zero_division=0)
    )
    assert metrics["kind"] == "ensemble"
    assert metrics["average"]["members"] == metrics["soup"]["members"] == ["0", "1", "2"]
    assert metrics["best"]["members"] == ["0"]
    assert metrics["average"]["val"] is metrics["soup"]["val"] is None  # nothing was chosen
    assert metrics["stamp"] is None

    # The soup is a checkpoint: mean weights, tested by the folder's name.
    states = [load_checkpoint(folder)["state_dict"] for folder in members]
    mixed = load_checkpoint(out)
    key = "net.head.classifier.weight"
    assert torch.allclose(mixed["state_dict"][key], sum(state[key] for state in states) / 3)
    said = capfd.readouterr().out
    assert "best single" in said
    assert "test images (0.0 %) were in training" in said
    tested = run_here("fer.test", f"ckpt={out}", "mistakes=0", *CPU, name="tested")
    assert read(tested)["test"] == metrics["soup"]["test"]
    exported = run_here("fer.export", f"ckpt={out}", "format=safetensors", "images=8", name="exported")
    card = (exported / "README.md").read_text().replace("\\", "")
    assert f"| {metrics['soup']['test']['accuracy']:.3f} [" in card
    assert "no scores are known" not in card
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):  # the ensemble itself is no run
        run_here("fer.report", f"runs={out}", name="report")
    with pytest.raises(SystemExit):
        run_here("fer.train", f"resume={out}", name=None)
    assert "is an ensemble, which was not trained itself" in capfd.readouterr().err


def test_a_soup_of_ones_own_runs_is_ones_own(run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_faces.py").write_text(
        "from fer.datasets.synthetic import Synthetic\n\n\nclass MyFaces(Synthetic):\n    pass\n"
    )
    data = {**SYNTHETIC, "_target_": "my_faces.MyFaces", "cache_dir": str(tmp_path / "cache")}
    runs = [write_member(tmp_path / "runs" / str(number), number, data=data) for number in range(2)]
    said = refused(capfd, run_here, listed(*runs), "choose=all")
    assert "not made by you on this machine" in said  # without the stamp that a training leaves
    for run in runs:
        run_record.write(run, run_record.RunRecord([], data=data))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        out = run_here("fer.ensemble", listed(*runs), "choose=all", *CPU)
        tested = run_here("fer.test", f"ckpt={out}", "mistakes=0", *CPU, name="tested")
    assert read(tested)["test"] == read(out)["soup"]["test"]
    (out / "run.yaml").unlink()
    with pytest.raises(SystemExit):
        run_here("fer.test", f"ckpt={out}", *CPU, name="again")
    assert "data.cache_dir=" in capfd.readouterr().err


def test_members_are_chosen_on_validation_and_scored_on_test(members: list[Path], run_here: Here) -> None:
    out = run_here("fer.ensemble", listed(*members), "score=f1_macro", *CPU)
    data, rows, found = by_hand(members, "val")
    labels = data.samples.labels[rows]

    def score(*some: int) -> float:
        return float(
            sk.f1_score(labels, np.mean([found[i] for i in some], axis=0).argmax(1), average="macro", zero_division=0)
        )

    order = sorted(range(3), key=lambda number: -score(number))
    taken = order[:1]
    for number in order[1:]:
        if score(*taken, number) >= score(*taken):
            taken.append(number)
    metrics = read(out)
    assert [one["run"] for one in metrics["members"]] == list(map(str, order))
    assert [one["val"] for one in metrics["members"]] == pytest.approx([score(number) for number in order])
    assert metrics["average"]["members"] == list(map(str, taken))
    assert metrics["average"]["val"] == pytest.approx(score(*taken))
    assert metrics["soup"]["val"] >= metrics["best"]["val"]
    assert metrics["split"] == "test"
    assert "temperature" in load_checkpoint(out)["calibration"]


def test_a_soups_temperature_is_of_answers_without_augmentation(members: list[Path], run_here: Here) -> None:
    out = run_here("fer.ensemble", listed(*members), "tta=flip", *CPU)
    data, rows, (p,) = by_hand([out], "val")
    nll = -np.log(p[np.arange(len(rows)), data.samples.labels[rows]]).mean()
    assert load_checkpoint(out)["calibration"]["nll"] == pytest.approx(nll, abs=1e-5)


def test_greedy_takes_whoever_does_not_lower_the_score() -> None:
    ordered = [
        Member(name, Path(name), None, {}, None, score)
        for name, score in (("a", 0.6), ("b", 0.5), ("c", 0.4), ("d", 0.3))
    ]
    together = {"ab": 0.59, "ac": 0.6, "acd": 0.7}
    found = greedy(ordered, lambda some: together["".join(member.name for member in some)], "accuracy")
    assert [member.name for member in found] == ["a", "c", "d"]


def test_classes_meet_by_name(members: list[Path], run_here: Here, tmp_path: Path) -> None:
    turned = {**SYNTHETIC, "classes": [BASIC[place] for place in (6, 5, 4, 3, 2, 1, 0)]}
    other = write_member(tmp_path / "turned", weights=0, order=[6, 5, 4, 3, 2, 1, 0], data=turned)
    out = run_here("fer.ensemble", listed(members[0], other), *CPU)
    metrics, alone = read(out), run_here("fer.test", f"ckpt={members[0]}", "mistakes=0", *CPU, name="alone")
    assert metrics["average"]["test"]["accuracy"] == read(alone)["test"]["accuracy"]
    assert {i: r["predicted"] for i, r in answers(out).items()} == {
        i: r["predicted"] for i, r in answers(alone).items()
    }
    assert metrics["soup"] is None  # weights do not meet by name
    assert not (out / "checkpoints").exists()


def test_training_images_of_any_member_are_counted(
    run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = Synthetic(num_samples=280)
    rows = data.rows("test")
    carried = seen_images.seen_images(data)
    halves = {"a": rows[::2], "b": rows[1:-3:2]}
    prints = {name: torch.from_numpy(fingerprints(data.samples.images, half)) for name, half in halves.items()}
    runs = [write_member(tmp_path / name, seen={**carried, "train": found}) for name, found in prints.items()]
    out = run_here("fer.ensemble", listed(*runs), "choose=all", *CPU)
    metrics = read(out)
    unseen = len(rows) - len(rows[::2]) - len(rows[1:-3:2])
    assert metrics["seen"]["in_training"] == len(rows) - unseen
    assert metrics["average"]["clean"]["n"] == metrics["soup"]["clean"]["n"] == metrics["best"]["clean"]["n"] == unseen
    assert metrics["stamp"].startswith("NOT HELD OUT")
    assert f"{len(rows) - unseen} of {len(rows)} test images" in capfd.readouterr().out
    assert sum(int(row["in_training"]) for row in answers(out).values()) == len(rows) - unseen
    # The soup carries what all of its members saw.
    tested = run_here("fer.test", f"ckpt={out}", "mistakes=0", *CPU, name="tested")
    assert read(tested)["seen"]["in_training"] == len(rows) - unseen


def test_batch_norm_of_mean_weights_is_measured_anew() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(4))
    net[1].running_mean.fill_(9.0)
    images = np.random.default_rng(0).integers(0, 255, (256, 2, 2), dtype=np.uint8)
    net[0].forward = lambda x: x.flatten(1).float()
    data = SimpleNamespace(rows=lambda split: np.arange(256), samples=SimpleNamespace(images=images))
    soup.measure_batch_norm(net, data, torch.device("cpu"))
    assert net[1].running_mean.tolist() == pytest.approx(images.reshape(256, 4).mean(0).tolist(), rel=1e-4)


def test_frozen_batch_norm_stays_and_the_rest_sees_all_classes() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(4), torch.nn.BatchNorm1d(4))
    net[0].forward = lambda x: x.flatten(1).float()
    net[1].train = lambda mode=True: net[1]  # as a frozen backbone does
    net[1].training = False
    net[1].running_mean.fill_(2.0)
    images = np.repeat(np.array([0, 255], dtype=np.uint8), 1500)[:, None, None] * np.ones((1, 2, 2), dtype=np.uint8)
    data = SimpleNamespace(rows=lambda split: np.arange(3000), samples=SimpleNamespace(images=images))
    soup.measure_batch_norm(net, data, torch.device("cpu"))
    assert net[1].running_mean.tolist() == [2.0] * 4
    assert net[2].running_mean.tolist() == pytest.approx([127.5 - 2] * 4, abs=8)  # both classes
    assert net[2].running_var.tolist() == pytest.approx([127.5**2] * 4, rel=0.1)


def test_a_member_that_knows_the_validation_images_is_not_chosen(
    run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = Synthetic(num_samples=SYNTHETIC["num_samples"])
    data.setup("test")
    carried = seen_images.seen_images(data)
    child = carried | {"earlier_train": carried["val"]}
    runs = [write_member(tmp_path / "plain", 0, seen=carried), write_member(tmp_path / "child", 1, seen=child)]
    assert "had fitted child, its parent or its teachers" in refused(capfd, run_here, listed(*runs))


def refused(capfd: pytest.CaptureFixture[str], run_here: Here, *args: str) -> str:
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        run_here("fer.ensemble", *args, *CPU, name="refused")
    assert stop.value.code == 2
    return capfd.readouterr().err


def test_one_members_validation_is_anothers_training(
    run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_image_folder(tmp_path / "data", splits=("train", "test"), per_class=10)
    data = {"_target_": "fer.datasets.folder.Folder", "root": str(tmp_path / "data"), "num_workers": 0}
    runs = [write_member(tmp_path / f"seed{seed}", seed, seed=seed, data=data) for seed in (0, 1)]
    said = refused(capfd, run_here, listed(*runs))
    assert "the members' splits differ (carved with seed=0 and seed=1)" in said
    assert "validation images of seed0 are training images of seed1" in said
    assert "choose=all" in said
    assert not (tmp_path / "refused" / "metrics.json").exists()
    out = run_here("fer.ensemble", listed(*runs), "choose=all", *CPU)  # their test split is one
    assert read(out)["average"]["test"]["n"] == read(out)["best"]["test"]["n"]
    assert "calibration" not in load_checkpoint(out)  # a temperature is fitted on nobody's training images


def test_nothing_is_chosen_on_test(
    members: list[Path], run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = write_member(tmp_path / "other", data={**SYNTHETIC, "select_on_test": True})
    said = refused(capfd, run_here, listed(members[0], other))
    assert "was chosen on its test split (data.select_on_test=true)" in said


def test_what_cannot_be_averaged_is_said(
    members: list[Path], run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = write_member(tmp_path / "six")
    assert "needs two finished runs or more, and there is one" in refused(capfd, run_here, listed(members[0]))
    assert "there is no such folder" in refused(capfd, run_here, "runs=nowhere")
    content = torch.load(other / "checkpoints" / "best.ckpt", weights_only=True)
    content["hyper_parameters"]["classes"][1] = "contempt"
    AtomicCheckpointIO().save_checkpoint(content, other / "checkpoints" / "best.ckpt")
    said = refused(capfd, run_here, listed(members[0], other))
    assert "The members of an ensemble know the same classes" in said
    assert "choose=best: must be one of greedy, all" in refused(capfd, run_here, listed(*members), "choose=best")


def test_what_a_loss_keeps_is_not_averaged() -> None:
    """A run with class weights keeps them in its state, one without does not."""
    weighted = {"net.w": torch.ones(2), "loss.weight": torch.tensor([1.0, 3.0])}
    mean = soup.mean_of([weighted, {"net.w": torch.zeros(2)}])
    assert mean["net.w"].tolist() == [0.5, 0.5]
    assert mean["loss.weight"].tolist() == [1.0, 3.0]
