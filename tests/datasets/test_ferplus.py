"""FER+: which votes belong to which image, and the forms in which it is found."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from fakes_ferplus import ROWS, SPECIAL, TRAIN, make, read, said, write
from fakes_lab import votes, votes_for, write_ferplus_microsoft, write_votes
from torch.nn.functional import one_hot

from fer.data.labels import BASIC, EMOTIONS
from fer.data.samples import Samples
from fer.datasets import fer2013_rows
from fer.datasets.fer2013_rows import rows_of
from fer.datasets.ferplus import FERPlus
from fer.datasets.ferplus_votes import MODES
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError
from fer.files import history
from fer.training.module import FERModule


def check_join(samples: Samples, images: Sequence[np.ndarray] | None = None) -> None:
    """Check images, labels and splits of the fake rows and their special votes, by majority."""
    rows = rows_of(samples) if images is None else np.arange(len(ROWS))
    named = {0: "contempt", TRAIN + 1: "fear"}
    assert samples.classes == EMOTIONS
    assert samples.targets is None
    kept = 0
    for place, row in enumerate(rows.tolist()):
        np.testing.assert_array_equal(samples.images[place], ROWS[row].image)
        if row in SPECIAL and row not in named:
            assert samples.splits[place] == ""
            continue
        kept += 1
        assert samples.splits[place] == fakes.SPLITS[ROWS[row].usage]
        assert EMOTIONS[samples.labels[place]] == named.get(row, EMOTIONS[ROWS[row].label])
    assert kept == len(ROWS) - 5


@pytest.mark.parametrize("name", ["fer2013new.csv", "FER2013NEW.csv", "fer2013new.csv.gz"])
def test_join(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "data", name=name)
    with caplog.at_level(logging.INFO):
        check_join(read(tmp_path / "data"))
    assert "58 of 63 images have a label by majority; 0 rows" in caplog.text
    data = make(tmp_path / "data", classes=BASIC)
    assert data.class_counts("train").sum() == TRAIN - 5  # without contempt too


def test_rows_without_a_name_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "data")
    path = tmp_path / "data/fer2013new.csv"
    path.write_text(path.read_text().replace("fer0000010.png", ""))
    samples = read(tmp_path / "data")
    assert samples.splits[10:13].tolist() == ["train", "", "train"]  # row 1 has no name either


def test_join_icml_and_votes_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "data"
    fakes.write_icml_csv(root / "icml_face_data.csv")
    write_votes(tmp_path / "votes/mine.csv", votes_for(ROWS, SPECIAL))
    check_join(read(root, votes=str(tmp_path / "votes/mine.csv")))
    check_join(read(root / "icml_face_data.csv", votes=str(tmp_path / "votes/mine.csv")))
    with pytest.raises(ConfigError, match=r"data\.votes=.*absent\.csv: no such file"):
        read(root, votes=str(tmp_path / "absent.csv"))


def test_csv_file_as_root_has_its_votes_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "data")
    check_join(read(tmp_path / "data/fer2013.csv"))


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    write(tmp_path / "data")
    path = tmp_path / "data/fer2013new.csv"
    table = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("".join(",".join(reversed(fields)) + "\n" for fields in table))
    check_join(read(tmp_path / "data"))


def test_folders_named_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    fakes.write_resplit_folders(root)
    numbers = [n + {"Training": 0, "PublicTest": 28709, "PrivateTest": 32298}[row.usage] - (n - n % TRAIN)
               for n, row in enumerate(ROWS)]  # fmt: skip
    row_votes = dict(zip(numbers, votes_for(ROWS, SPECIAL), strict=True))
    usages = ["Training"] * 28709 + ["PublicTest"] * 3589 + ["PrivateTest"] * 100
    write_votes(root / "fer2013new.csv", [row_votes.get(n, (usage, votes(sad=10))) for n, usage in enumerate(usages)])
    with pytest.raises(DatasetError, match=r"63 images .* do not say, or not for certain, which row"):
        read(root)
    monkeypatch.setattr(fer2013_rows, "PUBLISHED", dict.fromkeys(("train", "val", "test"), (3,) * 7))
    samples = read(root)
    assert len(samples) == len(ROWS)
    expected = dict(zip(numbers, range(len(ROWS)), strict=True))
    fer2013 = np.array([BASIC.index(name.split("/")[1]) for name in samples.ids])
    labelled = 0
    for name, row, image, label, split in zip(
        samples.ids,
        rows_of(replace(samples, labels=fer2013)).tolist(),
        samples.images,
        samples.labels,
        samples.splits,
        strict=True,
    ):
        assert name.endswith(f"/{row}.jpg")
        number = expected[row]
        np.testing.assert_array_equal(image, ROWS[number].image)
        if number not in SPECIAL:
            assert split == fakes.SPLITS[ROWS[number].usage]
            assert label == ROWS[number].label
            labelled += 1
    assert labelled == len(ROWS) - len(SPECIAL)


@pytest.mark.parametrize("writer", [fakes.write_kaggle_folders, fakes.write_ananthu_folders])
def test_folders_without_rows_are_refused(tmp_path: Path, writer: object) -> None:
    writer(tmp_path / "data", per_class=1)  # type: ignore[operator]
    write_votes(tmp_path / "data/fer2013new.csv", votes_for(ROWS))
    with pytest.raises(DatasetError, match=r"by row, but the names of 21 images \(such as test/.*fer2013\.csv"):
        read(tmp_path / "data")


def test_part_of_fer2013(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    fakes.write_fer2013_csv(root / "fer2013.csv", usages=["Training"])
    write_votes(root / "fer2013new.csv", votes_for(ROWS))
    with caplog.at_level(logging.INFO):
        samples = read(root)
    assert samples.labels.tolist() == [row.label for row in ROWS[:TRAIN]]
    assert f"{len(ROWS) - TRAIN} rows of {root / 'fer2013new.csv'} have no image" in caplog.text


def test_a_broken_row_can_be_excluded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    write(root)
    whole = make(root, tmp_path / "whole")
    whole.use_own_splits()
    rows = (root / "fer2013.csv").read_text().splitlines()
    rows[TRAIN + 2] = "x,1 2,Nowhere"
    (root / "fer2013.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "out.csv").write_text(f"id\nfer2013.csv:{TRAIN + 1}\n")
    data = make(root, exclude=str(tmp_path / "out.csv"))
    data.use_own_splits()
    expected = np.where(np.arange(len(ROWS)) == TRAIN + 1, "", whole.samples.splits)
    assert data.samples.splits.tolist() == expected.tolist()
    assert "are no samples" not in caplog.text


def test_votes_cut_off(tmp_path: Path) -> None:
    fakes.write_fer2013_csv(tmp_path / "data/fer2013.csv")
    write_votes(tmp_path / "data/fer2013new.csv", votes_for(ROWS)[:50])
    with pytest.raises(DatasetError, match="has 50 rows of votes, but FER2013 has an image of row 62"):
        read(tmp_path / "data")


def test_another_usage_is_refused(tmp_path: Path) -> None:
    fakes.write_fer2013_csv(tmp_path / "data/fer2013.csv")
    voted = votes_for(ROWS)
    write_votes(tmp_path / "data/fer2013new.csv", [*voted[1:], voted[0]])
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "data")
    assert "3 of 63 images have another Usage" in str(error.value)
    assert "fer2013.csv:20 is Training, row 20 of the votes is PublicTest" in str(error.value)
    assert "fer2013.csv:41 is PublicTest, row 41 of the votes is PrivateTest" in str(error.value)
    assert "fer2013.csv:62 is PrivateTest, row 62 of the votes is Training" in str(error.value)


def test_another_order_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    rows = fakes.write_fer2013_csv(root / "fer2013.csv", per_class=15, usages=["Training"])
    voted = votes_for(rows)
    write_votes(root / "fer2013new.csv", [*voted[5:], *voted[:5]])
    with pytest.raises(DatasetError, match=r"only \d+ % of the images have the same emotion .* in another order"):
        read(root)
    write_votes(root / "fer2013new.csv", voted)
    assert len(read(root)) == 105


def test_rows_taken_out_are_noticed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    rows = fakes.write_fer2013_csv(root / "fer2013.csv", per_class=120, usages=["Training"])
    write_votes(root / "fer2013new.csv", votes_for(rows))
    assert len(read(root)) == 840
    lines = (root / "fer2013.csv").read_text().splitlines(keepends=True)
    (root / "fer2013.csv").write_text("".join(lines[:601] + lines[602:]))  # row 600 is gone
    with pytest.raises(DatasetError, match=r"from row 600 on only \d+ % of 200 images .* rows were taken out"):
        read(root)


def test_modes_are_for_training(tmp_path: Path) -> None:
    write(tmp_path / "data")
    samples = read(tmp_path / "data", mode="crossentropy")
    assert samples.targets is not None
    assert samples.targets.dtype == np.float32
    assert samples.targets.shape == (len(ROWS), 8)
    assert said(samples.targets[0]) == {"contempt": 0.6, "sad": 0.4}
    assert said(samples.targets[3]) == {"happy": 0.5, "sad": 0.5}
    assert said(samples.targets[4]) == {"happy": 0.4, "sad": 0.3, "angry": 0.3}
    assert samples.splits[:5].tolist() == ["train", "", "", "train", "train"]
    # By majority: half of the votes are no label, and more than half are the only one.
    assert samples.splits[TRAIN] == ""
    assert said(samples.targets[TRAIN + 1]) == {"fear": 1.0}
    used = samples.splits != ""
    np.testing.assert_array_equal(samples.labels[used], samples.targets[used].argmax(1))
    assert set(samples.labels[~used].tolist()) == {-1}
    multi = read(tmp_path / "data", mode="multi_target")
    assert multi.targets is not None
    assert said(multi.targets[4]) == {"happy": 0.4, "sad": 0.3, "angry": 0.3}


@pytest.mark.parametrize(
    ("mode", "loss"),
    [("crossentropy", "cross_entropy"), ("majority", "cross_entropy"), ("multi_target", "multi_target")],
)
def test_training_asks_for_what_the_raters_saw(
    tmp_path: Path, train_here: Callable[..., Path], mode: str, loss: str
) -> None:
    starts = (TRAIN, sum(row.usage != "PrivateTest" for row in ROWS))  # each split has all classes
    write(tmp_path / "data", SPECIAL | dict.fromkeys(starts, votes(contempt=9, sad=1)))
    run = train_here(
        "data=ferplus", f"data.root={tmp_path / 'data'}", f"data.mode={mode}", f"loss={loss}", "model=fully_connected",
        "transforms=none", "optimizer=sgd", "optimizer.lr=1e-12", "data.batch_size=1", "data.num_workers=0",
        "trainer.accelerator=cpu", "trainer.max_epochs=1",
    )  # fmt: skip
    module, samples = (
        FERModule.load_from_checkpoint(run / "checkpoints" / "last.ckpt").eval(),
        read(tmp_path / "data", mode=mode),
    )
    train = samples.splits == "train"
    with torch.no_grad():
        log_p = module(torch.from_numpy(samples.images[train])).log_softmax(1)
    labels = torch.from_numpy(samples.labels[train])
    targets = one_hot(labels, 8) if samples.targets is None else torch.from_numpy(samples.targets[train])
    if mode == "multi_target":
        wanted = -torch.where(targets > 0, log_p, -torch.inf).amax(1).mean()
    else:
        wanted = -(targets * log_p).sum(1).mean()
    assert history.read(run / "history.csv")["train/loss"] == pytest.approx([wanted.item()], rel=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_only_probability_draws(tmp_path: Path, mode: str) -> None:
    mixed = [votes(happy=6, sad=4), votes(happy=4, sad=6)]
    write(tmp_path / "data", {number: mixed[number % 2] for number in range(TRAIN)})
    data = make(tmp_path / "data", mode=mode, classes=["happy", "sad"])
    assert data.draw_targets == (mode == "probability")
    if mode == "majority":
        assert data.samples.targets is None
        return
    drawn = []
    for epoch in range(2):
        loader = data.train_dataloader()
        loader.batch_sampler.set_epoch(epoch)
        batch = next(iter(loader))
        drawn.append(batch["target"][batch["row"].argsort()].numpy())
    if mode == "probability":
        assert set(np.unique(drawn)) == {0, 1}
        assert (drawn[0] != drawn[1]).any()
        assert set(drawn[0].sum(1)) == {1}
    else:
        np.testing.assert_allclose(drawn[0][:2], [[0.6, 0.4], [0.4, 0.6]], atol=1e-6)
    assert set(np.unique(next(iter(data.val_dataloader()))["target"])) <= {0, 1}


def test_wrong_mode() -> None:
    with pytest.raises(ConfigError, match=r"data\.mode=majorty: must be one of majority, .*'majority'"):
        FERPlus("x", mode="majorty")


def test_microsoft(tmp_path: Path) -> None:
    root = tmp_path / "data"
    paths = write_ferplus_microsoft(root, ROWS, votes_for(ROWS, SPECIAL))
    samples = read(root)
    assert samples.classes == EMOTIONS
    assert samples.targets is None
    named = {0: "contempt", TRAIN + 1: "fear"}
    kept = [number for number in range(len(ROWS)) if number not in SPECIAL or number in named]
    assert samples.ids.tolist() == [paths[number] for number in kept]
    for place, number in enumerate(kept):
        np.testing.assert_array_equal(samples.images[place], ROWS[number].image)
        assert EMOTIONS[samples.labels[place]] == named.get(number, EMOTIONS[ROWS[number].label])
        assert samples.splits[place] == fakes.SPLITS[ROWS[number].usage]
    soft = read(root, mode="crossentropy")
    assert soft.targets is not None
    assert soft.targets.shape == (len(ROWS) - 3, 8)
    assert said(soft.targets[soft.ids.tolist().index(paths[4])]) == {"happy": 0.4, "sad": 0.3, "angry": 0.3}
    assert said(soft.targets[soft.ids.tolist().index(paths[TRAIN + 1])]) == {"fear": 1.0}
    assert paths[TRAIN] not in soft.ids
    np.testing.assert_array_equal(soft.labels, soft.targets.argmax(1))


def test_microsoft_has_all_classes_even_if_one_is_empty(tmp_path: Path) -> None:
    write_ferplus_microsoft(tmp_path / "data", ROWS, votes_for(ROWS))
    samples = read(tmp_path / "data")
    assert samples.classes == EMOTIONS
    assert samples.labels.tolist() == [row.label for row in ROWS]


def test_microsoft_is_cropped_by_its_box(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ferplus_microsoft(root, ROWS, votes_for(ROWS))
    for label in root.glob("data/*/label.csv"):
        label.write_text(label.read_text().replace("(0, 0, 48, 48)", "(8, 16, 40, 48)"))
    np.testing.assert_array_equal(read(root).images[0], ROWS[0].image[16:48, 8:40])


def test_microsoft_without_images(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for path in write_ferplus_microsoft(root, ROWS, votes_for(ROWS, SPECIAL)):
        (root / path).unlink()
    with pytest.raises(DatasetError, match=r"label\.csv files but no images.*fer2013\.csv"):
        read(root)
    write(root)  # the repository with fer2013.csv in it
    check_join(read(root))


def test_microsoft_wrong_rows_and_absent_images(tmp_path: Path) -> None:
    root = tmp_path / "data"
    paths = write_ferplus_microsoft(root, ROWS, votes_for(ROWS))
    (root / paths[5]).unlink()
    with pytest.raises(DatasetError, match=f"1 of 63 listed images are not in .*\n.*{paths[5]}"):
        read(root)
    label = root / "data/FER2013Train/label.csv"
    lines = label.read_text().splitlines()
    lines[1] = lines[1].replace("(0, 0, 48, 48)", "(48, 0, 0, 48)")
    lines[2] = lines[2] + ",7"
    lines[3] = lines[3].replace("8", "x")
    label.write_text("\n".join(lines))
    with pytest.raises(DatasetError) as error:
        read(root)
    assert f"{label}:2: '(48, 0, 0, 48)' is not a box" in str(error.value)
    assert f"{label}:3: 13 columns, expected an image, a box and 10 votes" in str(error.value)
    assert f"{label}:4:" in str(error.value)
    label.unlink()
    with pytest.raises(DatasetError, match=r"FER2013Train has no label\.csv"):
        read(root)


ALPHABETICAL = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def test_augmented_class_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fakes.write_image_folder(tmp_path / "data", ("train", "validation", "test"), ALPHABETICAL, size=112)
    samples = read(tmp_path / "data")
    assert "augmented" not in caplog.text
    assert samples.images.shape == (72, 112, 112)
    assert samples.classes == EMOTIONS
    named = {path: EMOTIONS[label] for path, label in zip(samples.ids, samples.labels, strict=True)}
    assert named["validation/happiness/0.png"] == "happy"
    assert named["test/anger/0.png"] == "angry"
    assert samples.splits[samples.ids.tolist().index("validation/contempt/1.png")] == "val"
    monkeypatch.setattr("fer.datasets.ferplus._SPLIT_SIZES", {"train": 23, "val": 24})
    read(tmp_path / "data")
    assert "has 24 train images, more than FER2013 has (23): they contain augmented copies" in caplog.text


def test_resplit_class_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fakes.write_image_folder(tmp_path / "data/fer2013", ("train", "test"), ALPHABETICAL)
    samples = read(tmp_path / "data")
    assert samples.classes == EMOTIONS
    assert set(samples.splits.tolist()) == {"train", "test"}
    assert "splits were mixed" in caplog.text


def test_class_folders_have_no_votes(tmp_path: Path) -> None:
    fakes.write_image_folder(tmp_path / "data", classes=ALPHABETICAL, per_class=1)
    with pytest.raises(ConfigError, match=r"data\.mode=probability needs the votes"):
        read(tmp_path / "data", mode="probability")


def test_fer2013s_own_labels_are_not_ferplus(tmp_path: Path) -> None:
    fakes.write_kaggle_folders(tmp_path / "data", per_class=1)
    with pytest.raises(LabelError, match=r"no class folder for contempt.*data=fer2013"):
        read(tmp_path / "data")


def test_broken_image_in_class_folders(tmp_path: Path) -> None:
    fakes.write_image_folder(tmp_path / "data", classes=ALPHABETICAL, per_class=1)
    (tmp_path / "data/train/fear/0.png").write_bytes(b"<html>")
    with pytest.raises(DatasetError, match=r"train/fear/0\.png: not an image"):
        read(tmp_path / "data")


def test_not_found(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetNotFoundError) as error:
            read(root)
        assert "dataset 'ferplus' was not found" in str(error.value)
        assert str(root / "fer2013new.csv") in str(error.value)
        assert "https://github.com/microsoft/FERPlus" in str(error.value)


def test_votes_without_images(tmp_path: Path) -> None:
    write_votes(tmp_path / "fer2013new.csv", votes_for(ROWS))
    with pytest.raises(DatasetNotFoundError, match=r"dataset 'fer2013' was not found[^$]*fer2013\.csv"):
        read(tmp_path)
