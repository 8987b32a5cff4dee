"""explain: where in a face the emotion is seen, in Python and on the command line, and what cannot be explained."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import face
from fakes_model import write_run
from PIL import Image

import fer
from fer.errors import ConfigError, FERError
from fer.files import export
from fer.framing.face import Face
from fer.predicting import explaining
from fer.predicting.drawing import annotated, explained
from fer.predicting.faces import FaceEmotion
from fer.predicting.model import Model
from fer.predicting.pictures import Picture

Here = Callable[..., Path]
CPU = ("detector=none", "accelerator=cpu", "progress=false")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return fer.load(run, detector="none", device="cpu")


def test_a_faces_heat_map(model: Model) -> None:
    grey, larger = face(1, np.random.default_rng(1), 24), face(0, np.random.default_rng(0), 48, 3)
    plain = model.predict([grey, larger])
    faces = [one for (one,) in model.predict([grey, larger], explain=True)]
    for one, (before,) in zip(faces, plain, strict=True):
        assert one.probabilities == before.probabilities
        assert before.heat_map is None
        assert one.heat_map is not None
        assert one.heat_map.shape == one.crop.shape[:2]
        assert one.heat_map.dtype == np.float32
        np.testing.assert_allclose(model.explain(before), one.heat_map, atol=1e-5)
        np.testing.assert_allclose(model.explain(before, one.emotion), one.heat_map, atol=1e-5)
        assert "heat_map" not in one.to_dict()
    maps = [model.explain(grey, name) for name in model.classes]
    assert any(not np.allclose(maps[0], other) for other in maps[1:])
    assert max(one.max() for one in maps) == pytest.approx(1)
    drawn = faces[1].plot().axes[0].images[0].get_array()
    assert not np.array_equal(drawn, faces[1].crop)
    with pytest.raises(ConfigError, match="emotion=joy: the model knows angry, happy, sad"):
        model.explain(grey, "joy")


def test_where_a_crop_lies(model: Model) -> None:
    picture = Picture(np.zeros((200, 300), np.uint8), (600, 400))  # decoded at half its size
    found = model.cut(picture, Face((100.0, 50.0, 150.0, 100.0), None, 1.0))
    assert found.face.box == (200, 100, 300, 200)
    np.testing.assert_allclose(found.place @ (250, 150, 1), (0.5, 0.5))
    np.testing.assert_allclose(found.place @ (200, 100, 1), np.full(2, 0.5 - 0.5 / 1.3))
    (whole,) = model.find(picture)  # padded to a square
    np.testing.assert_allclose(whole.place @ (0, 0, 1), (0, 1 / 6))
    np.testing.assert_allclose(whole.place @ (600, 400, 1), (1, 5 / 6))


def test_heat_is_drawn_where_it_was_seen(model: Model) -> None:
    found = model.cut(Picture(np.full((300, 400, 3), 90, np.uint8)), Face((100.0, 100.0, 200.0, 200.0), None, 1.0))
    heat = np.zeros((24, 24), np.float32)
    heat[3:6, 15:18] = 1  # up and to the right of the crop, which is 130 pixels wide from (85, 85)
    one = FaceEmotion(found.face.box, None, 1.0, "sad", {"sad": 1.0, "happy": 0.0}, found.crop, heat)
    picture = np.full((150, 200, 3), 90, np.uint8)  # at half its size
    image = explained(picture, [one], [found.place], scale=2.0)
    assert image.shape == (300, 400, 3), "enlarged, so that its words can be read"
    down, across = np.nonzero((image != annotated(picture, [one], scale=2.0)).any(2))
    assert 85 + 130 * 15 / 24 - 10 < across.min() < across.max() < 85 + 130 * 18 / 24 + 10
    assert 85 + 130 * 3 / 24 - 10 < down.min() < down.max() < 85 + 130 * 6 / 24 + 10


def test_the_command_draws_it_beside_the_annotated_picture(run: Path, run_here: Here, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for number in range(3):
        image = face(number, np.random.default_rng(number), 30, 3)
        Image.fromarray(image).save(tmp_path / "faces" / f"{number}.png")
    run_here("fer.predict", f"ckpt={run}", "source=faces", *CPU, name=None)
    run_here("fer.predict", f"ckpt={run}", "source=faces", "explain=true", "annotated=2", *CPU, name=None)
    folders = list((tmp_path / "outputs" / "predict").iterdir())
    assert len(folders) == 2, "the first command has drawn nothing of the kind, and is not gone on with"
    (out,) = (folder for folder in folders if (folder / "explained").exists())
    names = sorted(path.name for path in (out / "explained").iterdir())
    assert names == sorted(path.name for path in (out / "annotated").iterdir()) == ["0.jpg", "1.jpg"]
    assert (out / "explained" / "0.jpg").read_bytes() != (out / "annotated" / "0.jpg").read_bytes()


def test_what_cannot_be_explained_is_said(
    run: Path, run_here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "export").mkdir()
    content = {"file": "model.onnx", "classes": ["a", "b"], "preprocessing": {}}
    export.write(tmp_path / "export", content)
    (tmp_path / "export" / "model.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"ckpt=.*export is an export without gradients"):
        explaining.check(str(tmp_path / "export"))
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(SystemExit) as end:
        run_here("fer.predict", f"ckpt={run}", "source=film.mp4", "explain=true", *CPU)
    assert end.value.code == 2
    assert "explain=true: is for pictures, and source=film.mp4 holds none" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FERError, match=r"pip install 'fer-lightning\[explain\]'"):
        explaining.check(str(run))


def test_an_onnx_file_in_python_too(model: Model) -> None:
    class Exported:
        net, name, classes, preprocess = None, "its name", ["a", "b"], model.module.preprocess

    with pytest.raises(FERError, match="its name is an export without the gradients"):
        Model(Exported()).heat_maps([np.zeros((9, 9), np.uint8)], [0])
