"""FER2013: every form it is passed on in gives the same images, and broken ones are named."""

import csv
import gzip
import io
import logging
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pytest
from PIL import Image

from fer.data import pixels
from fer.data.labels import BASIC
from fer.data.samples import Samples
from fer.datasets import fer2013_rows
from fer.datasets.fer2013 import FER2013, read_fer2013
from fer.datasets.fer2013_rows import rows_of
from fer.errors import DatasetError, DatasetNotFoundError, LabelError

ROWS = fakes.fer2013_rows()
GOOD = fakes.pixels(ROWS[0].image)
SHARED = Path(__file__).parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the real images are not here")


def read(root: Path, cache_dir: Path | None = None) -> Samples:
    return read_fer2013(root, cache_dir or root.parent / "cache")


def check(samples: Samples, rows: list[fakes.Row], ids: list[str] | None = None) -> None:
    """Check that the samples are these rows: in their order, or where the ids say."""
    assert samples.classes == BASIC
    assert samples.images.shape == (len(rows), 48, 48)
    assert samples.images.dtype == np.uint8
    assert samples.labels.dtype == np.int64
    assert len(set(samples.ids.tolist())) == len(rows)
    places = list(range(len(rows))) if ids is None else [samples.ids.tolist().index(name) for name in ids]
    for place, row in zip(places, rows, strict=True):
        np.testing.assert_array_equal(samples.images[place], row.image)
        assert samples.labels[place] == row.label
        assert samples.splits[place] == fakes.SPLITS[row.usage]


# The forms


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013/fer2013.csv"])
def test_csv(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    rows = fakes.write_fer2013_csv(root / name)
    for _ in range(2):  # from the file, then from the cache
        samples = read(root)
        check(samples, rows)
        assert samples.ids[:2].tolist() == ["fer2013.csv:0", "fer2013.csv:1"]
    check(read(root / name, tmp_path / "cache"), rows)


@pytest.mark.parametrize("name", ["icml_face_data.csv", "fer2013/icml_face_data.csv"])
def test_icml_csv(tmp_path: Path, name: str) -> None:
    rows = fakes.write_icml_csv(tmp_path / "data" / name)
    samples = read(tmp_path / "data")
    check(samples, rows)
    assert samples.ids[5] == "icml_face_data.csv:5"


def test_csv_under_any_name(tmp_path: Path) -> None:
    rows = fakes.write_fer2013_csv(tmp_path / "faces.csv", per_class=1)
    check(read(tmp_path / "faces.csv"), rows)


def test_challenge_csvs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = fakes.write_challenge_csvs(tmp_path / "data")
    check(read(tmp_path / "data"), [row for row in rows if row.usage == "Training"])
    assert "test.csv has no column 'emotion': its images have no labels and are left out" in caplog.text


def test_unlabelled_csv_alone(tmp_path: Path) -> None:
    fakes.write_challenge_csvs(tmp_path / "data")
    with pytest.raises(DatasetError, match=r"test\.csv: no labelled rows"):
        read(tmp_path / "data/test.csv")


def test_rmn_csvs(tmp_path: Path) -> None:
    rows = fakes.write_rmn_csvs(tmp_path / "data")
    samples = read(tmp_path / "data")
    check(samples, rows)
    assert samples.ids[[0, 21, 42]].tolist() == ["train.csv:0", "val.csv:0", "test.csv:0"]


@pytest.mark.parametrize("below", ["", "fer2013/"])
def test_kaggle_folders(tmp_path: Path, below: str) -> None:
    root = tmp_path / "data"
    ids = fakes.write_kaggle_folders(root / below)
    check(read(root), ROWS, [below + name for name in ids])
    check(read(root), ROWS, [below + name for name in ids])


@pytest.mark.parametrize("below", ["", "images/", "fer2013/", "fer2013/images/"])
@pytest.mark.parametrize("nested_copy", [False, True])
def test_resplit_folders(
    tmp_path: Path, below: str, nested_copy: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    monkeypatch.setattr(fer2013_rows, "PUBLISHED", dict.fromkeys(("train", "val", "test"), (3,) * 7))
    ids = fakes.write_resplit_folders(root / below, nested_copy=nested_copy)
    check(read(root), ROWS, [below + name for name in ids])
    assert "35 of 63 images do not stand in a folder of the split" in caplog.text


def numbered(root: Path) -> dict[str, str]:
    """Write images of one's own, numbered through, and return the split of each one's folder by its path."""
    images = {}
    for split in ("test", "val", "train"):
        for emotion in BASIC:
            for _ in range(2):
                images[f"{split}/{emotion}/{len(images)}.png"] = split
    for path in images:
        fakes.write_image(root / path, ROWS[0].image)
    return images


def splits(samples: Samples) -> dict[str, str]:
    return dict(zip(samples.ids.tolist(), samples.splits.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (None, "of these 42 nothing proves that they are from it"),
        ("train/sad/35887.png", "it has 35,887 rows, and a number is larger"),
        (f"train/sad/{'9' * 40}.png", "it has 35,887 rows, and a number is larger"),
        ("train/sad/007.png", "2 images have the number 7"),
    ],
)
def test_numbers_of_ones_own_are_no_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str | None, why: str
) -> None:
    expected = numbered(tmp_path / "data")
    if name is not None:
        fakes.write_image(tmp_path / "data" / name, ROWS[0].image)
        expected[name] = "train"
    samples = read(tmp_path / "data")
    assert splits(samples) == expected  # the folders'
    assert (rows_of(samples) == -1).all()
    assert "named by numbers (such as test/angry/0.png), but those are not taken for rows of fer2013.csv" in caplog.text
    assert why in caplog.text
    assert f"the names of {len(expected)} images" in caplog.text
    assert "do not stand in" not in caplog.text


def test_counts_of_classes_disprove_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(63) % 7
    rows = np.concatenate([np.arange(21), 28709 + np.arange(21), 32298 + np.arange(21)])
    monkeypatch.setattr(fer2013_rows, "PUBLISHED", dict.fromkeys(("train", "val", "test"), (3,) * 7))
    assert not fer2013_rows.doubt(rows, labels)
    assert not fer2013_rows.doubt(rows[:0], labels[:0])
    swapped = labels.copy()
    swapped[40] = (labels[40] + 1) % 7
    said = fer2013_rows.doubt(rows, swapped)
    assert said == f"of the rows of its val split 3 are {BASIC[swapped[40]]}, and here they would be 4"
    assert "nothing proves" in fer2013_rows.doubt(rows[:-1], labels[:-1])
    monkeypatch.setattr(fer2013_rows, "_MAY_LACK", 0.1)
    assert not fer2013_rows.doubt(rows[:-1], labels[:-1])


def test_another_split_than_the_folders_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = fakes.write_kaggle_folders(tmp_path / "data")
    read(tmp_path / "data")
    assert "do not stand in" not in caplog.text  # `test` holds both test splits by design
    (tmp_path / "data" / ids[0]).rename(tmp_path / "data" / ids[0].replace("train/", "test/"))
    read(tmp_path / "data")
    assert "1 of 63 images do not stand in a folder of the split that FER2013 has them in" in caplog.text
    assert f"{ids[0].replace('train/', 'test/')}: train)" in caplog.text


def test_lost_provenance_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = fakes.write_ananthu_folders(tmp_path / "data")
    mixed = [row._replace(usage="PrivateTest") if row.usage == "PublicTest" else row for row in ROWS]
    for _ in range(2):  # also when it is read from the cache
        caplog.clear()
        check(read(tmp_path / "data"), mixed, ids)
        assert "63 images" in caplog.text
        assert "PublicTest and PrivateTest are mixed" in caplog.text


def test_csv_is_preferred_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    fakes.write_kaggle_folders(root)
    fakes.write_icml_csv(root / "icml_face_data.csv")
    rows = fakes.write_fer2013_csv(root / "fer2013/fer2013.csv", seed=1)
    with caplog.at_level(logging.INFO):
        check(read(root), rows)
    assert f"FER2013 is read from {root / 'fer2013/fer2013.csv'}" in caplog.text
    assert f"{root / 'fer2013/fer2013.csv'} is used, not {root / 'icml_face_data.csv'}, {root}." in caplog.text


def test_not_found_names_every_place(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetNotFoundError) as error:
            read(root)
        for place in (root, root / "fer2013"):
            for name in ("fer2013.csv", "icml_face_data.csv", "train.csv", "train", "images/train"):
                assert f"{place / name}\n" in str(error.value)
        assert "kaggle.com" in str(error.value)


# Spellings of a csv


def variant(tmp_path: Path, change: Callable[[str], str], encoding: str = "utf-8") -> Samples:
    fakes.write_fer2013_csv(tmp_path / "a.csv")
    text = change((tmp_path / "a.csv").read_text())
    (tmp_path / "fer2013.csv").write_bytes(text.encode(encoding))
    return read(tmp_path / "fer2013.csv")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n \n\r\n",
        lambda text: re.sub(r",([\d ]+),", r',"\1",', text),
        lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text),
        lambda text: text.replace(",", " , ").replace("\n", "  \n"),
        lambda text: text.replace("emotion,pixels,Usage", '"emotion" , "Pixels", usage'),
        lambda text: re.sub(r"(?m)^(\d)", r"x,\1", text.replace("emotion", "id,emotion")),
    ],
    ids=[
        "crlf",
        "no last newline",
        "blank lines",
        "quoted pixels",
        "all quoted",
        "spaces",
        "header",
        "more columns",
    ],
)
def test_spellings(tmp_path: Path, change: Callable[[str], str]) -> None:
    check(variant(tmp_path, change), ROWS)


def test_byte_order_mark(tmp_path: Path) -> None:
    check(variant(tmp_path, lambda text: text, encoding="utf-8-sig"), ROWS)


def test_spaces_between_pixels(tmp_path: Path) -> None:
    check(variant(tmp_path, lambda text: re.sub(r"(\d) (\d)", r"\1   \2", text)), ROWS)


# Wrong rows


def broken(tmp_path: Path, rows: list[str], header: str = "emotion,pixels,Usage") -> str:
    (tmp_path / "fer2013.csv").write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(DatasetError) as error:
        read(tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))  # nothing of a refused dataset is kept
    return str(error.value)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"7,{GOOD},Training", "emotion '7' is not a number from 0 to 6"),
        (f"-1,{GOOD},Training", "emotion '-1' is not a number from 0 to 6"),
        (f"happy,{GOOD},Training", "emotion 'happy' is not a number from 0 to 6"),
        (f",{GOOD},Training", "emotion '' is not a number from 0 to 6"),
        (f"01,{GOOD},Training", "emotion '01' is not a number from 0 to 6"),
        (f"0,{GOOD},training", "Usage 'training' is none of Training, PublicTest, PrivateTest"),
        (f"0,{GOOD},", "Usage '' is none of Training, PublicTest, PrivateTest"),
        (f"0,{GOOD}", "2 columns, expected 3"),
        (f"0,{GOOD},Training,", "4 columns, expected 3"),
        ("0,,Training", "0 pixels, expected 2,304"),
        ("0, ,Training", "0 pixels, expected 2,304"),
        (f"0,{GOOD} 1,Training", "2,305 pixels, expected 2,304"),
        (f"0,{GOOD.rpartition(' ')[0]},Training", "2,303 pixels, expected 2,304"),
        (f"0,256{GOOD[GOOD.index(' '):]},Training", "pixel 1 is '256', outside 0-255"),
        (f"0,{GOOD.rpartition(' ')[0]} 1000,Training", "pixel 2304 is '1000', outside 0-255"),
        (f"0,{'9' * 30}{GOOD[GOOD.index(' '):]},Training", "pixel 1 is '99999999999999999999', outside"),
        (f"0,-5{GOOD[GOOD.index(' '):]},Training", "pixel 1 is '-5', not a number"),
        (f"0,5.0{GOOD[GOOD.index(' '):]},Training", "pixel 1 is '5.0', not a number"),
        (f"0,1e1{GOOD[GOOD.index(' '):]},Training", "pixel 1 is '1e1', not a number"),
        (f"0,x{GOOD[GOOD.index(' '):]},Training", "pixel 1 is 'x', not a number"),
        (f"0,{GOOD[:-1]}x,Training", "not a number"),
        (f"0,{GOOD.replace(' ', chr(9))},Training", "not a number"),
        (f"0,{GOOD[:500]}\0{GOOD[501:]},Training", "not a number"),
        (f"0,{GOOD[:500]}é{GOOD[501:]},Training", "not a number"),
        (f'0,"{GOOD},Training', "not a number"),
    ],
)  # fmt: skip
def test_wrong_row(tmp_path: Path, row: str, problem: str) -> None:
    message = broken(tmp_path, [f"0,{GOOD},Training", row, f"0,{GOOD},Training"])
    assert message.startswith("1 rows of FER2013 cannot be used")
    assert f"{tmp_path / 'fer2013.csv'}:3: " in message
    assert problem in message


def test_two_numbers_run_together_are_refused(tmp_path: Path) -> None:
    first, second, *rest = GOOD.split(" ")
    assert "fer2013.csv:2: pixel 1 is" in broken(tmp_path, [f"0,{first}-{second} {' '.join(rest)},Training"])


def test_all_wrong_rows_are_named(tmp_path: Path) -> None:
    good, bad = f"0,{GOOD},Training", "9,1 2 3,Elsewhere"
    message = broken(tmp_path, [good, "", bad, *[good] * 3, *[f"0,{GOOD} x,Training"] * 30])
    assert message.startswith("31 rows of FER2013 cannot be used")
    assert (
        "fer2013.csv:4: emotion '9' is not a number from 0 to 6; "
        "Usage 'Elsewhere' is none of Training, PublicTest, PrivateTest; 3 pixels, expected 2,304 (48x48)\n"
    ) in message
    assert "fer2013.csv:8: pixel 2305 is 'x', not a number" in message
    assert "and 11 more" in message
    assert "kaggle.com" in message


def test_wrong_rows_of_several_files(tmp_path: Path) -> None:
    fakes.write_rmn_csvs(tmp_path / "data", per_class=1)
    for split in ("train", "test"):
        with (tmp_path / f"data/{split}.csv").open("a") as file:
            file.write("3,1 2 3\n")
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "data")
    assert f"{tmp_path / 'data/train.csv'}:9: 3 pixels" in str(error.value)
    assert f"{tmp_path / 'data/test.csv'}:9: 3 pixels" in str(error.value)


def test_a_download_that_broke_off(tmp_path: Path) -> None:
    fakes.write_fer2013_csv(tmp_path / "fer2013.csv", per_class=1)
    content = (tmp_path / "fer2013.csv").read_bytes()
    (tmp_path / "fer2013.csv").write_bytes(content[:-2000])
    with pytest.raises(DatasetError, match=r"fer2013\.csv:22: .*\n.*incompletely downloaded"):
        read(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("emotion,pixels", "no column Usage"),
        ("label,image,Usage", "no column emotion and no column pixels"),
        ("", "no column emotion and no column pixels and no column Usage"),
    ],
)
def test_missing_columns(tmp_path: Path, header: str, missing: str) -> None:
    message = broken(tmp_path, [f"0,{GOOD},Training"], header)
    assert f"{tmp_path / 'fer2013.csv'}: {missing}" in message
    assert "Expected emotion, pixels, Usage" in message
    assert f"found: {header}" in message


def test_no_rows(tmp_path: Path) -> None:
    assert "no labelled rows" in broken(tmp_path, [])


# Wrong folders


def test_other_sizes_are_refused(tmp_path: Path) -> None:
    for name in ("train/sad/Training_1.jpg", "test/sad/PrivateTest_1.jpg"):
        fakes.write_image(tmp_path / "data" / name, np.zeros((100, 112), np.uint8))
    fakes.write_image(tmp_path / "data/train/sad/Training_2.jpg", ROWS[0].image)
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "data")
    assert "2 of 3 images" in str(error.value)
    assert "train/sad/Training_1.jpg: 112x100 pixels, expected 48x48" in str(error.value)


def test_what_is_excluded_may_be_broken(tmp_path: Path) -> None:
    root = tmp_path / "data/fer2013"
    ids = [f"fer2013/{name}" for name in fakes.write_kaggle_folders(root)]
    (tmp_path / "data" / ids[3]).write_bytes(b"no image")
    fakes.write_image(tmp_path / "data" / ids[5], np.zeros((60, 50), np.uint8))
    with pytest.raises(DatasetError, match="2 of 63 images"):
        read(tmp_path / "data")
    with pytest.raises(DatasetError, match="1 of 63 images"):
        read_fer2013(tmp_path / "data", tmp_path / "cache", ids[:4])
    samples = read_fer2013(tmp_path / "data", tmp_path / "cache", ids[:9])
    whole = [row for number, row in enumerate(ROWS) if number not in (3, 5)]
    kept = np.flatnonzero(~np.isin(samples.ids, [ids[3], ids[5]]))
    assert len(samples) == 63
    kept_only = replace(
        samples, images=samples.images[kept], labels=samples.labels[kept], splits=samples.splits[kept],
        ids=samples.ids[kept],
    )  # fmt: skip
    check(kept_only, whole, [name for number, name in enumerate(ids) if number not in (3, 5)])


def test_an_excluded_row_may_be_broken(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text(
        f"emotion,pixels,Usage\n0,{GOOD},Training\n9,1 2,Training\n\n1,{GOOD},Training\n"
    )
    samples = read_fer2013(tmp_path, tmp_path / "cache", ["fer2013.csv:1", "fer2013.csv:2"])
    assert samples.ids.tolist() == ["fer2013.csv:0", "fer2013.csv:1", "fer2013.csv:2"]  # both are left out later
    assert not samples.images[1].any()
    with pytest.raises(DatasetError, match=r"fer2013\.csv:3: emotion '9'"):
        read_fer2013(tmp_path, tmp_path / "cache", ["fer2013.csv:2"])


def test_a_broken_row_alone_can_be_excluded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "fer2013.csv").write_text(
        f"emotion,pixels,Usage\n0,{GOOD},Training\n9,1 2,PublicTest\n1,{GOOD},Training\n1,{GOOD},PublicTest\n"
    )
    (tmp_path / "out.csv").write_text("id\nfer2013.csv:1\n")
    data = FER2013(str(tmp_path), cache_dir=str(tmp_path / "cache"), exclude=str(tmp_path / "out.csv"))
    data.use_own_splits()
    assert data.samples.ids[data.rows("train")].tolist() == ["fer2013.csv:0", "fer2013.csv:2"]
    assert data.samples.ids[data.rows("val")].tolist() == ["fer2013.csv:3"]
    assert "are no samples" not in caplog.text


def test_contempt_is_not_fer2013(tmp_path: Path) -> None:
    fakes.write_image_folder(tmp_path / "data", classes=["happy", "contempt"], per_class=1)
    with pytest.raises(LabelError, match=r"class folders for contempt, which FER2013 has not .*data=folder"):
        read(tmp_path / "data")


def test_broken_and_empty_folders(tmp_path: Path) -> None:
    root = tmp_path / "data"
    ids = fakes.write_kaggle_folders(root)
    (root / ids[0]).write_bytes((root / ids[0]).read_bytes()[:-200])
    (root / ids[1]).write_bytes(b"")
    with pytest.raises(DatasetError) as error:
        read(root)
    assert "2 of 63 images" in str(error.value)
    assert f"{ids[0]}: cut off or damaged" in str(error.value)
    assert f"{ids[1]}: the file is empty" in str(error.value)
    (root / "test/other").mkdir()
    with pytest.raises(LabelError, match="unknown emotion 'other'"):
        read(root)
    (root / "test/other").rename(root / "validation")
    with pytest.raises(DatasetError, match="validation holds no class folders"):
        read(root)


# The real thing


@needs_shared
def test_real_head(tmp_path: Path) -> None:
    text = gzip.decompress((SHARED / "data/fer2013_head.csv.gz").read_bytes())
    (tmp_path / "fer2013.csv").write_bytes(text)
    samples = read(tmp_path, tmp_path / "cache")
    assert len(samples) == 1167
    assert set(samples.labels.tolist()) == set(range(7))
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert samples.labels.tolist() == [int(row["emotion"]) for row in rows]
    assert set(samples.splits) == {"train"}
    for index in (*range(0, 1167, 100), 1166):
        expected = np.array([int(value) for value in rows[index]["pixels"].split()]).reshape(48, 48)
        np.testing.assert_array_equal(samples.images[index], expected)


@needs_shared
def test_real_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("fer2013")
    with tarfile.open(SHARED / "data/fer2013.tar.xz") as archive:
        archive.extractall(root, filter="data")
    samples = read(root, root / "cache")
    counts = {split: int((samples.splits == split).sum()) for split in ("train", "val", "test")}
    assert counts == {"train": 28709, "val": 3589, "test": 0}
    for index in range(0, len(samples), 200):
        with Image.open(root / samples.ids[index]) as image:
            np.testing.assert_array_equal(samples.images[index], np.asarray(image.convert("L")))
        assert f"/{BASIC[samples.labels[index]]}/" in samples.ids[index]
    with pytest.MonkeyPatch.context() as patch:  # from the cache: no image is decoded again
        patch.setattr(pixels, "_decode", None)
        again = read(root, root / "cache")
    np.testing.assert_array_equal(again.ids, samples.ids)
    shutil.rmtree(root)  # pytest would keep 32,298 files for three sessions
