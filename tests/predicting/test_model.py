"""fer.load: a trained model on whatever a program holds as a picture."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO
from fakes import face, write_image
from fakes_model import write_run
from fakes_photos import photograph
from PIL import Image

import fer
from fer.errors import ConfigError, FERError
from fer.framing.face import Face
from fer.predicting.drawing import annotated
from fer.predicting.model import Model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def whole(run: Path) -> Model:
    return fer.load(run, detector="none", device="cpu")


class TwoFaces:
    """Finds the same two faces in every picture."""

    name = "two"

    def detect(self, image: np.ndarray) -> list[Face]:
        assert image.dtype == np.uint8
        assert image.shape[2:] == (3,)
        points = np.array(((70, 60), (90, 60), (80, 70), (72, 80), (88, 80)), np.float32)
        return [Face((60.0, 40.0, 100.0, 90.0), points, 0.9), Face((-10.0, 10.0, 30.0, 50.0), None, 0.7)]


def test_the_probabilities_of_a_test(run: Path, whole: Model, tmp_path: Path, run_here: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    for label, name in enumerate(("angry", "happy", "sad")):
        for number, (size, channels) in enumerate(((24, 1), (24, 3))):
            write_image(tmp_path / "faces" / name / f"{number}.png", face(label, rng, size, channels))
    out = run_here("fer.test", f"ckpt={run}", "data=folder", f"data.root={tmp_path / 'faces'}", "resamples=0",
                   "accelerator=cpu", "progress=false", "mistakes=0")  # fmt: skip
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    files = [next((tmp_path / "faces").rglob(f"{row['id']}*")) for row in rows]
    for row, faces in zip(rows, whole.predict(files), strict=True):
        assert faces[0].emotion == row["predicted"]
        for name, value in faces[0].probabilities.items():
            assert value == pytest.approx(float(row[f"p_{name}"]), abs=1e-6)


def test_every_form_of_a_picture_gives_the_same_faces(run: Path) -> None:
    model = fer.load(run, detector="none", device="cpu")
    model.detector = TwoFaces()
    picture, _ = photograph([(60, 40, 48)])
    expected = model.predict(picture)
    assert [item.box for item in expected] == [(60, 40, 100, 90), (-10, 10, 30, 50)]
    assert [item.score for item in expected] == [0.9, 0.7]
    forms = {
        "pil": Image.fromarray(picture),
        "transparent": Image.fromarray(picture).convert("RGBA"),
        "rgba": np.dstack([picture, np.zeros(picture.shape[:2], np.uint8)]),
        "float": (picture / 255).astype(np.float32),
        "tensor": torch.from_numpy(picture),
        "channels first": torch.from_numpy(picture).permute(2, 0, 1),
        "float tensor": torch.from_numpy(picture).permute(2, 0, 1) / 255,
        "not contiguous": np.ascontiguousarray(picture[:, ::-1])[:, ::-1],
    }
    for name, found in zip(forms, model.predict(list(forms.values())), strict=True):
        for one, other in zip(found, expected, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6), name


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.full((9, 9, 3), 200.0, np.float32), "values from 200 to 200"),
        (np.full((9, 9), np.nan), "nan"),
        (np.zeros((9, 9), np.uint16), "uint16"),
        (np.zeros((9, 9, 3), np.int64), "int64"),
        (np.zeros((9, 9), bool), "bool"),
        (np.zeros((3, 9, 9), np.uint8), "transpose"),
        (np.zeros((2, 9, 9, 3), np.uint8), "list(images)"),
        (np.zeros((0, 9, 3), np.uint8), "no pixels"),
        (torch.zeros(2, 3, 9, 9, dtype=torch.uint8), "list(images)"),
        (b"", "bytes"),
        ("gone.png", "gone.png: no such file"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused(whole: Model, image: object, said: str) -> None:
    with pytest.raises(FERError) as error:
        whole.predict(image)
    assert said in str(error.value)


def test_files_of_every_kind_as_training_decodes_them(whole: Model, tmp_path: Path) -> None:
    grey = face(1, np.random.default_rng(1), 24)
    expected = whole.predict(grey)[0].probabilities
    image = Image.fromarray(grey)
    image.save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "wide.png")
    image.convert("RGB").save(tmp_path / "rgb.png")
    image.convert("RGBA").save(tmp_path / "rgba.png")
    image.convert("P").save(tmp_path / "palette.png")
    image.save(tmp_path / "animated.gif", save_all=True, append_images=[Image.new("L", (24, 24))])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    for path in sorted(tmp_path.iterdir()):
        assert whole.predict(path)[0].probabilities == pytest.approx(expected, abs=1e-6), path.name
    with Image.open(tmp_path / "turned.png") as turned:
        assert whole.predict(turned)[0].probabilities == pytest.approx(expected, abs=1e-6)


def test_a_huge_picture_keeps_its_own_pixels_in_boxes(whole: Model, tmp_path: Path) -> None:
    Image.new("L", (6000, 3000), 90).save(tmp_path / "huge.png")
    assert whole.predict(tmp_path / "huge.png")[0].box == (0, 0, 6000, 3000)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.webp"])
def test_a_turned_picture_has_the_size_of_the_upright_one(whole: Model, tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 60), (90, 90, 90)).save(tmp_path / name, exif=exif)
    assert whole.predict(tmp_path / name)[0].box == (0, 0, 60, 100)


def test_a_bad_file_says_why(whole: Model, tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_text("no image")
    write_image(tmp_path / "cut.png", face(0, np.random.default_rng(0)))
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    for name, said in (("no.jpg", "not an image"), ("cut.png", "cut off")):
        with pytest.raises(FERError, match=said):
            whole.predict(tmp_path / name)


def test_undecided_below_a_confidence(whole: Model) -> None:
    image = face(1, np.random.default_rng(1), 24)
    sure = whole.predict(image)[0]
    assert sure.emotion == max(sure.probabilities, key=sure.probabilities.__getitem__)
    assert whole.predict(image, min_confidence=sure.confidence)[0].emotion == sure.emotion
    assert whole.predict(image, min_confidence=sure.confidence + 1e-6)[0].emotion is None
    with pytest.raises(ConfigError, match="min_confidence=60"):
        whole.predict(image, min_confidence=60)


def test_a_face_as_plain_data_and_as_a_picture(whole: Model) -> None:
    picture, _ = photograph([(60, 40, 48)])
    (found,) = whole.predict(picture)
    plain = json.loads(json.dumps(found.to_dict()))
    assert list(plain) == ["box", "landmarks", "score", "emotion", "confidence", "probabilities"]
    assert plain["box"] == [0, 0, 480, 320]
    assert plain["score"] is None
    assert list(plain["probabilities"]) == list(whole.classes) == ["angry", "happy", "sad"]
    assert sum(plain["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    figure = found.plot()
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == list(whole.classes)
    assert [bar.get_width() for bar in figure.axes[1].patches] == list(found.probabilities.values())
    drawn = annotated(picture, [found])
    assert drawn.shape == picture.shape
    assert (drawn != picture).any()


def test_wrong_arguments_name_what_is_allowed(run: Path) -> None:
    for argument, said in (({"tta": "flop"}, "tencrop"), ({"device": "tpu"}, "mps"), ({"detector": "fasr"}, "'fast'")):
        with pytest.raises(ConfigError, match=said):
            fer.load(run, **argument)
    with pytest.raises(FERError, match="no such file"):
        fer.load(run / "gone")


def test_fer_itself_is_imported_fast() -> None:
    code = "import fer, sys; print('torch' in sys.modules); fer.no_such_thing"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"
    assert "module 'fer' has no attribute 'no_such_thing'" in done.stderr
