"""fer.test: any checkpoint on any dataset, with what must be said about its number."""

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, Run, in_process
from fakes import write_fer2013_csv, write_image, write_kaggle_folders
from sklearn import metrics as sk

from fer.datasets.synthetic import Synthetic
from fer.errors import ConfigError
from fer.plots import figures
from fer.training.progress import ScoringProgress

Here = Callable[..., Path]
CPU = ("accelerator=cpu", "progress=false")


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def predictions(folder: Path, split: str | None = None) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if split in (None, row["split"])]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train once for the whole file, on the drawn faces."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, in_process(folder, folder / "cache", patch) as run:
        return run("fer.train", *TINY, name="run")


def test_its_folder_where_no_data_are_named(trained: Path, run_here: Here, tmp_path: Path) -> None:
    run_here("fer.test", f"ckpt={trained}", *CPU, name=None)
    (folder,) = tmp_path.glob("outputs/test/*/*")
    assert folder.parent.name == "own_data"
    assert read(folder)["name"] == "synthetic"


def test_its_own_test_split_gives_the_runs_own_numbers(trained: Path, run_here: Here) -> None:
    out = run_here("fer.test", f"ckpt={trained}", "explain=true", *CPU)
    found, ours = read(out), read(trained)
    assert found["split"] == "test"
    for key in ("accuracy", "f1_macro", "confusion", "accuracy_95"):
        assert found["test"][key] == ours["test"][key]
    kept = ("id", "label", "predicted", "p_happy")
    assert [{k: row[k] for k in kept} for row in predictions(out)] == [
        {k: row[k] for k in kept} for row in predictions(trained, "test")
    ]
    assert found["stamp"] is None
    assert found["seen"]["known"]
    assert found["seen"]["trained_on"] == "synthetic"
    for name in ("confusion.png", "reliability.png", "mistakes.png", "mistakes-explained.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG"), name


def test_scores_and_intervals_against_scikit_learn(trained: Path, run_here: Here) -> None:
    out = run_here("fer.test", f"ckpt={trained}", "split=all", "resamples=500", *CPU)
    rows = predictions(out)
    true, said = [row["label"] for row in rows], [row["predicted"] for row in rows]
    test = read(out)["test"]
    assert test["n"] == len({row["id"] for row in rows}) == 280
    assert test["accuracy"] == pytest.approx(sk.accuracy_score(true, said))
    assert test["f1_macro"] == pytest.approx(sk.f1_score(true, said, average="macro"))
    report = sk.classification_report(true, said, output_dict=True, zero_division=0)
    for name, scores in test["per_class"].items():
        assert scores["precision"] == pytest.approx(report[name]["precision"])
        assert scores["recall"] == pytest.approx(report[name]["recall"])
        assert scores["support"] == report[name]["support"]
    # The interval against resampling the samples themselves.
    right = np.array([a == b for a, b in zip(true, said, strict=True)])
    generator = np.random.default_rng(1)
    means = [right[generator.integers(0, len(right), len(right))].mean() for _ in range(2000)]
    assert test["accuracy_95"] == pytest.approx(np.percentile(means, (2.5, 97.5)), abs=0.02)


def test_every_form_of_fer2013_gives_the_same_answers(trained: Path, run_here: Here, tmp_path: Path) -> None:
    write_fer2013_csv(tmp_path / "csv" / "fer2013.csv", per_class=2)
    write_kaggle_folders(tmp_path / "folders", per_class=2)
    answers = []
    for form in ("csv", "folders"):
        out = run_here("fer.test", f"ckpt={trained}", "data=fer2013", f"data.root={tmp_path / form}", *CPU, name=form)
        found = predictions(out)
        assert read(out)["test"]["n"] == 14
        answers.append(sorted([row["label"], *(row[k] for k in row if k.startswith("p_"))] for row in found))
    assert answers[0] == answers[1]


def test_a_dataset_without_a_test_split_is_tested_whole(
    trained: Path, run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from fakes import write_image_folder

    write_image_folder(tmp_path / "data", splits=("",))
    out = run_here("fer.test", f"ckpt={trained}", "data=folder", f"data.root={tmp_path / 'data'}", *CPU)
    assert read(out)["split"] == "all"
    assert read(out)["test"]["n"] == 21
    assert "folder has no test split: all of its images are tested" in capfd.readouterr().out


def test_leaks_are_found_without_the_training_images(
    trained: Path, run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    faces = Synthetic(num_samples=280, seed=0)
    copied = [*faces.rows("train")[:10], *faces.rows("val")[:3]]
    fresh = Synthetic(num_samples=300, generator_seed=7, seed=0)
    for number, row in enumerate(copied):
        label = faces.classes[faces.samples.labels[row]]
        image = faces.samples.images[row]
        image = image[:, ::-1] if number == 0 else image
        write_image(tmp_path / "data" / "test" / label / f"copy{number}.png", image)
    for row in fresh.rows("test"):
        write_image(
            tmp_path / "data" / "test" / fresh.classes[fresh.samples.labels[row]] / f"fresh{row}.png",
            fresh.samples.images[row],
        )
    out = run_here("fer.test", f"ckpt={trained}", "data=folder", f"data.root={tmp_path / 'data'}", *CPU)
    found = read(out)
    said = {row["id"]: (row["in_training"], row["chose_the_checkpoint"]) for row in predictions(out)}
    assert {name for name, (fitted, _) in said.items() if fitted == "1"} == {
        name for name in said if "copy" in name and int(Path(name).stem[4:]) < 10
    }
    assert sum(chose == "1" for _, chose in said.values()) == 3
    assert found["seen"]["in_training"] == 10
    assert found["seen"]["in_training_exactly"] == 9  # one was mirrored
    assert found["clean"]["n"] == found["test"]["n"] - 13
    assert f"10 of {found['test']['n']} test images" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("split", "stamp"), [("train", "NOT HELD OUT"), ("val", "VALIDATION"), ("all", "NOT HELD OUT")]
)
def test_what_is_not_held_out_is_stamped(
    trained: Path, run_here: Here, capfd: pytest.CaptureFixture[str], split: str, stamp: str
) -> None:
    out = run_here("fer.test", f"ckpt={trained}", f"split={split}", "resamples=0", "mistakes=0", *CPU)
    assert read(out)["stamp"].startswith(stamp)
    assert stamp in capfd.readouterr().out
    found = read(out)
    if split == "all":  # some of each split: what is left is the test split
        seen = found["seen"]["in_training"] + found["seen"]["chose_the_checkpoint"]
        assert found["clean"]["n"] == found["test"]["n"] - seen > 0
    assert not (out / "mistakes.png").exists()
    assert "accuracy_95" not in read(out)["test"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_scoring_at_once(
    trained: Path, run_here: Here, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(ScoringProgress, "on_predict_batch_end", lambda *given: signal.raise_signal(number))
    with pytest.raises(SystemExit) as ended:
        run_here("fer.test", f"ckpt={trained}", *CPU, name="cut")
    assert ended.value.code == 128 + number
    assert capfd.readouterr().err.endswith("interrupted\n")
    assert signal.getsignal(number) == before


def test_figures_say_which_test_time_augmentation_they_are_of(
    trained: Path, run_here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = {}
    monkeypatch.setattr(figures, "save", lambda figure, path, **how: titles.update({path.name: figure.get_suptitle()}))
    run_here("fer.test", f"ckpt={trained}", "tta=flip", *CPU)
    assert {"confusion.png", "reliability.png", "coverage.png", "mistakes.png"} <= titles.keys()
    assert all("; scores with tta=flip" in title for title in titles.values()), titles


def test_a_folder_of_runs_is_no_checkpoint_but_names_them(
    trained: Path, run_here: Here, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_here("fer.test", f"ckpt={trained.parent}", *CPU, name="none")
    assert f"is no run. It holds 1; name one, such as the newest: {trained}" in capfd.readouterr().err


def test_selecting_on_test_is_possible_and_stamped_everywhere(
    train_here: Here, run_here: Here, capfd: pytest.CaptureFixture[str]
) -> None:
    run = train_here(*TINY, "data.select_on_test=true")
    metrics = read(run)
    assert metrics["stamp"].startswith("SELECTED ON TEST")
    assert "val" not in metrics
    assert {row["split"] for row in predictions(run)} == {"test"}
    assert "SELECTED ON TEST" in capfd.readouterr().out
    out = run_here("fer.test", f"ckpt={run}", *CPU)
    assert read(out)["stamp"].startswith("SELECTED ON TEST")
    report = run_here("fer.report", f"runs={run}", name="report")
    for name in ("report.md", "report.html"):
        assert "SELECTED ON TEST" in (report / name).read_text()


def test_monitoring_test_is_refused(command: Run) -> None:
    done = command("monitor=test/f1_macro")
    assert done.returncode == 2
    assert "is not chosen on the test split" in done.stderr


def test_three_classes_on_seven(
    train_here: Here, run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = train_here(*TINY, "data.classes=[neutral,happy,sad]")
    out = run_here("fer.test", f"ckpt={run}", "data=synthetic", "data.num_samples=280", *CPU)
    found = read(out)
    assert set(found["label_space"]["dropped_from_dataset"]) == {"angry", "disgust", "fear", "surprise"}
    assert found["label_space"]["common"] == ["neutral", "happy", "sad"]
    assert list(found["test"]["per_class"]) == ["neutral", "happy", "sad"]
    assert {row["label"] for row in predictions(out)} == {"neutral", "happy", "sad"}
    assert "dropped: angry (" in capfd.readouterr().out


def test_seven_classes_on_three_scores_both_ways(trained: Path, run_here: Here) -> None:
    out = run_here(
        "fer.test", f"ckpt={trained}", "data=synthetic", "data.num_samples=280", "data.classes=[sad,happy]", *CPU
    )
    found = read(out)
    rows = predictions(out)
    free = np.mean([row["label"] == row["predicted"] for row in rows])
    limited = np.mean(
        [row["label"] == ("sad" if float(row["p_sad"]) > float(row["p_happy"]) else "happy") for row in rows]
    )
    assert found["test"]["accuracy"] == pytest.approx(free)
    assert found["restricted"]["accuracy"] == pytest.approx(limited)
    assert limited > free


def test_augmentation_at_test_time(trained: Path, run_here: Here) -> None:
    p = {}
    for tta in ("none", "flip", "shift", "tencrop"):
        out = run_here("fer.test", f"ckpt={trained}", f"tta={tta}", *CPU, name=tta)
        p[tta] = [float(row["p_happy"]) for row in predictions(out)]
    assert len({tuple(values) for values in p.values()}) == 4


def test_ten_crop_views() -> None:
    from fer.training import tta

    image = torch.arange(16 * 16, dtype=torch.uint8).reshape(1, 16, 16)
    views = tta.views(image, "tencrop")
    assert [tuple(view.shape) for view in views] == [(1, 14, 14)] * 10
    corners = [int(view[0, 0, 0]) for view in views[:5]]
    assert corners == [0, 2, 32, 34, 17]
    assert torch.equal(views[5], views[0].flip(2))


def test_shifted_views() -> None:
    from fer.training import tta

    image = torch.arange(48 * 48).reshape(1, 48, 48)
    views = tta.views(image, "shift")
    assert len(views) == 10
    assert torch.equal(views[0], image)
    down, up, right, left = (view[0] for view in views[1:5])
    assert down[0, 0] == image[0, 2, 0]
    assert torch.equal(down[-3:], image[0, [47, 47, 47]])  # the border is repeated
    assert up[47, 5] == image[0, 45, 5]
    assert right[5, 0] == image[0, 5, 2]
    assert left[5, 47] == image[0, 5, 45]
    assert torch.equal(views[9], views[4].flip(2))


def test_slices(trained: Path, run_here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    read_faces = Synthetic.read

    def with_gender(self: Synthetic) -> Any:
        samples = read_faces(self)
        numbers = np.arange(len(samples))
        light = np.array(["", "unknown", "dark"])[numbers % 3]  # what is not annotated, in two ways
        return replace(samples, attributes={"gender": np.array(["f", "m"])[numbers % 2], "light": light})

    monkeypatch.setattr(Synthetic, "read", with_gender)
    found = read(run_here("fer.test", f"ckpt={trained}", *CPU))
    slices = found["slices"]["gender"]
    assert slices["f"]["n"] + slices["m"]["n"] == found["test"]["n"]
    mean = sum(part["accuracy"] * part["n"] for part in slices.values()) / found["test"]["n"]
    assert mean == pytest.approx(found["test"]["accuracy"])
    light = found["slices"]["light"]
    assert sorted(light) == ["dark", "unknown"]
    assert light["dark"]["n"] + light["unknown"]["n"] == found["test"]["n"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("ckpt=nowhere.ckpt",), "no such file"),
        ((), "ckpt: needs a value"),
        (("ckpt=cut.ckpt", "data=synthetic"), "cannot be read"),
        (("ckpt=foreign.ckpt", "data=synthetic"), "is not a checkpoint of fer"),
        (("ckpt=lonely.ckpt",), "does not stand in a run's folder"),
        (("ckpt=evil.ckpt", "data=synthetic"), "os.system"),
        (("ckpt=x", "split=tset"), "Did you mean 'test'"),
        (("ckpt=x", "data.root=y"), "choose the data first"),
        (("ckpt=x", "tta=ten"), "tta=ten: must be one of none, flip, shift, tencrop"),
    ],
)
def test_errors(
    trained: Path, run_here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    best = (trained / "checkpoints" / "best.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(best[: len(best) // 2])
    (tmp_path / "lonely.ckpt").write_bytes(best)
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    evil = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    evil["hyper_parameters"]["model"] = {"_target_": "os.system", "command": f"touch {tmp_path}/executed"}
    torch.save(evil, tmp_path / "evil.ckpt")
    with pytest.raises(SystemExit) as end:
        run_here("fer.test", *args)
    assert end.value.code == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "executed").exists()


def test_command_line_and_help(trained: Path, command: Run, tmp_path: Path) -> None:
    done = command(f"ckpt={trained}", "accelerator=cpu", "output_dir=new/out", module="fer.test")
    assert done.returncode == 0, done.stderr
    assert "macro F1" in done.stdout
    assert (tmp_path / "new" / "out" / "metrics.json").is_file()
    assert "fer.test: score a checkpoint" in command("--help", module="fer.test").stdout


def test_nothing_is_overwritten(trained: Path, run_here: Here, capfd: pytest.CaptureFixture[str]) -> None:
    before = (trained / "metrics.json").read_bytes()
    with pytest.raises(SystemExit):
        run_here("fer.test", f"ckpt={trained}", *CPU, f"output_dir={trained}")
    assert "already holds metrics.json" in capfd.readouterr().err
    assert (trained / "metrics.json").read_bytes() == before


def test_a_sweep_of_tests_chooses_nothing(trained: Path, command: Run, tmp_path: Path) -> None:
    done = command(
        "-m", f"ckpt={trained}", "tta=none,flip", "accelerator=cpu", "progress=false", "resamples=0", "mistakes=0",
        "hydra.sweep.dir=sweep", module="fer.test",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 jobs" in done.stdout
    assert "best" not in done.stdout.partition("2 jobs")[2]
    lines = (tmp_path / "sweep" / "sweep.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1"]
    assert not (tmp_path / "sweep" / "experiment").exists()


def test_size_and_fit_of_other_data_are_the_checkpoints(
    tmp_path: Path, train_here: Callable[..., Path], run_here: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (30, 40), np.uint8)
    for split in ("train", "val", "test"):
        for name in ("happy", "sad"):
            write_image(tmp_path / f"faces/{split}/{name}/a.png", photo[:, : 40 if split == "test" else 30])
    options = ("data.image_size=24", "data.fit=crop", "model=fully_connected", "trainer.max_epochs=1")
    run = train_here(*options, "data=folder", "data.root=faces", "transforms=none", "trainer.accelerator=cpu")
    capfd.readouterr()
    run_here("fer.test", f"ckpt={run}", "data=folder", "data.root=faces", name="test")
    assert "input 24x24 grey, fit=crop" in capfd.readouterr().out


def test_a_class_without_images_is_still_the_datasets() -> None:
    from fer.files.predictions import Predictions
    from fer.scores.label_space import align
    from fer.scores.seen_images import Seen
    from fer.testing.evaluation import all_scores

    no, classes = np.zeros(2, dtype=bool), ("happy", "sad", "fear")
    answers = Predictions("test", np.arange(2), np.array(["a", "b"]), np.array([0, 1]), np.eye(3, dtype=np.float32)[:2])
    scored = {"resamples": 0, "seed": 0}
    seen = Seen(no, no, no, None, False)
    assert "restricted" not in all_scores(answers, align(classes, classes), seen, scored)  # none is of fear
    assert "restricted" in all_scores(answers, align(classes, classes[:2]), seen, scored)


def test_images_of_unknown_classes_alone_cannot_be_scored() -> None:
    from fer.files.predictions import Predictions
    from fer.scores.label_space import align
    from fer.scores.seen_images import Seen
    from fer.testing.evaluation import scored

    space = align(("happy", "sad"), ("happy", "sad", "contempt"))
    no = np.zeros(2, dtype=bool)
    p = np.full((2, 2), 0.5, dtype=np.float32)
    for labels, left in (([2, 0], [1]), ([2, 2], [])):
        answers = Predictions("test", np.arange(2), np.array(["a", "b"]), np.array(labels), p)
        if left:
            kept, found, seen = scored(answers, space, Seen(no, no, no, None, False))
            assert (kept.tolist(), found.ids.tolist(), len(seen.fitted)) == (left, ["b"], 1)
            continue
        with pytest.raises(ConfigError, match=r"split=test: .* does not know \(contempt\); it knows happy, sad\."):
            scored(answers, space, Seen(no, no, no, None, False))
