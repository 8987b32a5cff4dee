"""fer.export: the same answers in other programs, or none at all."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import REPO, TINY
from fakes import face, write_image
from fakes_model import DESCRIPTION, write_run

import fer
from fer.errors import FERError
from fer.exporting import checks, int8
from fer.exporting.graph import ExportedGraph
from fer.files import export as export_file
from fer.files import run_folder
from fer.models.preprocessing import Preprocessing
from fer.predicting.model import Model
from fer.testing.exports import ExportedModule
from fer.training.module import FERModule

Run = Callable[..., Path]
RANDOM = np.random.default_rng(0)
TESTED = ("data=folder", "resamples=0", "accelerator=cpu", "progress=false", "mistakes=2")
PICTURES = [RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((24, 24), (61, 40), (40, 61))]


@pytest.fixture(autouse=True)
def _quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_SECONDS", 0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for number, name in enumerate(["angry", "happy", "sad"] * 3):
        write_image(tmp_path / "faces" / name / f"{number}.png", face(number % 3, np.random.default_rng(number), 30))
    return tmp_path / "faces"


def answers(model: Model) -> np.ndarray:
    return np.array([list(faces[0].probabilities.values()) for faces in model.predict(PICTURES)])


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_graph_is_the_preprocessing_and_the_network(run: Path, fit: str, channels: int) -> None:
    module = FERModule.load_from_checkpoint(run)
    module.preprocess = Preprocessing(24, channels, (0.5,) * channels, (0.25,) * channels, fit)
    module.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24 * 24 * channels, 3))
    graph = ExportedGraph(module)
    for picture in PICTURES:
        images = torch.from_numpy(picture)[None]
        with torch.no_grad():
            torch.testing.assert_close(graph(images), module.probabilities(images), rtol=0, atol=2e-6)


def test_onnx_answers_as_torch_does_for_any_size_and_batch(run: Path, run_here: Run, faces: Path) -> None:
    folder = run_here("fer.export", f"ckpt={run}", "images=20", name="onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    module = FERModule.load_from_checkpoint(run)
    for picture in PICTURES:
        for batch in (1, 3):
            images = np.repeat(picture[None], batch, axis=0)
            got = session.run(None, {"images": images})[0]
            with torch.no_grad():
                expected = module.probabilities(torch.from_numpy(images)).numpy()
            np.testing.assert_allclose(got, expected, atol=1e-5)
    said = json.loads(session.get_modelmeta().custom_metadata_map["fer"])
    assert said["classes"] == ["angry", "happy", "sad"]
    config = json.loads((folder / "config.json").read_text())
    assert (config["kind"], config["format"]) == ("fer-export", 1)
    assert config["largest_difference"] < 1e-5
    card = (folder / "README.md").read_text()
    assert "angry, happy, sad" in card
    assert "AI Act" in card
    assert "no scores are known" in card

    # And fer takes it where it takes a run.
    whole = fer.load(run, detector="none", device="cpu")
    for path in (folder, folder / "model.onnx"):
        np.testing.assert_allclose(answers(fer.load(path, detector="none")), answers(whole), atol=1e-5)
    with pytest.raises(FERError, match="without test-time augmentation"):
        fer.load(folder, detector="none", tta="flip")
    test = run_here("fer.test", f"ckpt={folder}", *TESTED, f"data.root={faces}", name="test")
    assert json.loads((test / "metrics.json").read_text())["checkpoint"] == str(folder / "model.onnx")


def test_an_export_that_answers_otherwise_is_refused(
    run: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    forward = ExportedGraph.forward
    monkeypatch.setattr(ExportedGraph, "forward", lambda self, images: forward(self, images // 2))
    with pytest.raises(SystemExit) as ended:
        run_here("fer.export", f"ckpt={run}", "images=20", name="wrong")
    assert ended.value.code == 2
    assert "differs from torch by up to" in capsys.readouterr().err
    assert not (tmp_path / "wrong" / "model.onnx").exists()
    assert not (tmp_path / "wrong" / "config.json").exists()  # the folder can be used again
    assert not (tmp_path / "wrong" / "unfinished").exists()


def test_an_export_that_was_stopped_before_it_was_compared_is_none(
    run: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checks, "compare", lambda *given: signal.raise_signal(signal.SIGINT))
        with pytest.raises(SystemExit) as ended:
            run_here("fer.export", f"ckpt={run}", "images=20", name="cut")
    assert ended.value.code == 130
    write_image(tmp_path / "a.png", PICTURES[1])
    with pytest.raises(SystemExit):
        run_here("fer.predict", "ckpt=cut", "source=a.png", name="answers")
    assert "ckpt=cut" in capsys.readouterr().err
    run_here("fer.export", f"ckpt={run}", "images=20", name="cut")
    assert {path.name for path in (tmp_path / "cut").iterdir()} >= {"model.onnx", "config.json", "README.md"}
    assert not (tmp_path / "cut" / "unfinished").exists()


def test_safetensors_and_a_damaged_folder(run: Path, run_here: Run, tmp_path: Path) -> None:
    folder = run_here("fer.export", f"ckpt={run}", "format=safetensors", "images=20", name="weights")
    whole = fer.load(run, detector="none", device="cpu")
    np.testing.assert_allclose(answers(fer.load(folder, detector="none")), answers(whole), atol=1e-6)

    def broken(name: str, **changes: object) -> Path:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps(config | changes))
        return copy

    hostile = {"_target_": "torch.nn.Sequential", "x": {"_target_": "os.system"}}
    for path, message in (
        (broken("newer", format=2), "has format 2, and this fer reads 1"),
        (broken("other", kind="x"), "is no export of fer"),
        (broken("code", model=hostile), "whose code this project does not know. Nothing in it was run"),
        (broken("elsewhere", file="../../etc/passwd"), "names no model file"),
        (broken("classes", classes=["one"]), "not a list of two or more names"),
        (broken("width", classes=["angry", "happy", "sad", "fear"]), "size mismatch|cannot be used"),
        (broken("size", preprocessing={"image_size": 24}), "preprocessing cannot be used"),
    ):
        with pytest.raises(FERError, match=message):
            fer.load(path, detector="none")
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(FERError, match=r"model\.safetensors is not the file that config\.json describes"):
        fer.load(folder, detector="none")


def test_a_test_of_an_export_gives_the_checkpoints_scores(
    tmp_path: Path, run_here: Run, faces: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", calibration={"temperature": 1.7})
    folder = run_here("fer.export", f"ckpt={run}", "format=safetensors", "images=20", name="weights")
    content = json.loads((folder / "config.json").read_text())
    said = {"dataset": "fer2013", "fitted": 7, "chose": 2}
    (folder / "config.json").write_text(json.dumps(content | {"training": content["training"] | said}))
    options = (*TESTED, f"data.root={faces}")
    found, other = (
        json.loads(
            (run_here("fer.test", f"ckpt={path}", *options, "explain=true", name=name) / "metrics.json").read_text()
        )
        for name, path in (("test", run), ("test-of-export", folder))
    )
    assert other["calibration"]["temperature"] == found["calibration"]["temperature"] == 1.7
    assert other["test"]["confusion"] == found["test"]["confusion"]
    for score in ("ece", "f1_macro"):
        assert other["test"][score] == pytest.approx(found["test"][score], abs=1e-4)
    assert other["checkpoint"] == str(folder / "model.safetensors")
    assert other["checkpoint_mark"] not in (None, found["checkpoint_mark"])
    assert (other["seen"]["known"], other["seen"]["summary"]) == (False, [7, 2])
    printed = " ".join(capfd.readouterr().out.split())
    assert "an export carries no fingerprints. It says that 7 images of fer2013 fitted it and 2 chose it" in printed


def test_what_a_test_of_an_export_cannot_do(tmp_path: Path, run_here: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "export").mkdir()
    export_file.write(tmp_path / "export", {"file": "model.onnx", "classes": ["a", "b"], "preprocessing": {}})
    (tmp_path / "export" / "model.onnx").write_bytes(b"nothing")
    for options, said in (
        ((), "data: ckpt=export is an export, which does not say where its run's data stand"),
        (
            ("data=synthetic", "tta=flip"),
            "tta=flip: ckpt=export is an export, which runs on the CPU as it is: tta=none",
        ),
        (("data=synthetic", "accelerator=gpu"), "accelerator=gpu: ckpt=export is an export"),
        (("data=synthetic", "explain=true"), "an export without gradients"),
    ):
        with pytest.raises(SystemExit) as ended:
            run_here("fer.test", "ckpt=export", *options)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_openvino_answers_as_torch_does(run_here: Run, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    cropping = write_run(tmp_path / "run", fit="crop", calibration={"temperature": 1.7})
    folder = run_here("fer.export", f"ckpt={cropping}", "format=openvino", "images=20", name="openvino")
    assert sorted(path.name for path in folder.glob("model.*")) == ["model.bin", "model.xml"]
    whole, exported = (fer.load(path, detector="none", device="cpu") for path in (cropping, folder / "model.xml"))
    crops = [np.repeat(picture, 3, axis=0) for picture in PICTURES]  # not square, and larger than the network's input
    np.testing.assert_allclose(exported.classify(crops), whole.classify(crops), atol=2e-6)
    with ThreadPoolExecutor(4) as threads:  # as the demo asks
        together = list(threads.map(exported.classify, [crops] * 20))
    np.testing.assert_allclose(together, np.stack([exported.classify(crops)] * 20), atol=1e-6)
    assert "OpenVINO reads `model.xml`" in (folder / "README.md").read_text()
    batch = {"image": torch.from_numpy(np.stack(crops[:1])), "row": None, "label": None}
    answer = ExportedModule(folder).predict_step(batch, 0)["probabilities"]  # as fer.test scores it: not calibrated
    torch.testing.assert_close(
        answer, FERModule.load_from_checkpoint(cropping).probabilities(batch["image"]), rtol=0, atol=5e-6
    )
    with pytest.raises(FERError, match="an export without the gradients that Grad-CAM needs"):
        exported.explain(crops[0])

    # Another graph, another's weights, none, or no graph at all.
    before = run_folder.checkpoint_mark(folder)
    description = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(description | {"classes": ["a", "b", "c"], "sha256": None}))
    with pytest.raises(FERError, match=r"is not the model that config\.json beside it describes"):
        fer.load(folder, detector="none")
    (folder / "model.bin").write_bytes(b"nothing")
    assert run_folder.checkpoint_mark(folder) not in (None, before)
    for said in ("Incorrect weights", "Unable to read"):
        with pytest.raises(FERError, match=f"model.xml: cannot be read .*{said}"):
            fer.load(folder, detector="none")
        (folder / "model.xml").write_bytes(b"<net")


def test_openvino_that_is_not_installed(
    run: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    with pytest.raises(SystemExit) as ended:
        run_here("fer.export", f"ckpt={run}", "format=openvino")
    assert ended.value.code == 2
    assert "format=openvino: this needs the package openvino, which is not installed" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "openvino", None)
    content = {"file": "model.xml", "classes": ["a", "b"], "preprocessing": DESCRIPTION["preprocessing"]}
    folder = tmp_path / "export"
    folder.mkdir(parents=True)
    export_file.write(folder, content)
    (folder / "model.xml").touch()
    with pytest.raises(FERError, match=r"pip install 'fer-lightning\[openvino\]'"):
        fer.load(folder, detector="none")


def test_torch_export_runs_without_fer(run: Path, run_here: Run) -> None:
    folder = run_here("fer.export", f"ckpt={run}", "format=torch_export", "images=20", name="pt2")
    graph = torch.export.load(folder / "model.pt2").module()
    images = torch.from_numpy(PICTURES[1])[None]
    torch.testing.assert_close(
        graph(images), FERModule.load_from_checkpoint(run).probabilities(images), rtol=0, atol=1e-5
    )
    with pytest.raises(FERError, match="is for programs without fer"):
        fer.load(folder, detector="none")


def test_an_export_without_its_temperature(run_here: Run, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", calibration={"temperature": 1.7})
    folder = run_here("fer.export", f"ckpt={run}", "format=safetensors", "images=20", name="exported")
    crops = [np.repeat(picture, 3, axis=0) for picture in PICTURES]
    raw, plain = (fer.load(path, "none", device="cpu", calibrate=False) for path in (folder, run))
    np.testing.assert_allclose(raw.classify(crops), plain.classify(crops), atol=5e-6)
    assert np.abs(raw.classify(crops) - fer.load(folder, "none").classify(crops)).max() > 1e-3


def test_int8_is_calibrated_and_its_price_is_bounded(
    train_here: Run,
    run_here: Run,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "FER_TEST_ALONE" not in os.environ:
        # In a process of its own: after hundreds of tests, ONNX Runtime's calibration has ended a worker of pytest.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        this = f"{__file__}::test_int8_is_calibrated_and_its_price_is_bounded"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", this],
            env={**clean, "FER_TEST_ALONE": "1"}, cwd=REPO, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout
        return
    run = train_here(*TINY, "optimizer.lr=3e-3", "data.num_samples=700")
    folder = run_here("fer.export", f"ckpt={run}", "int8=true", "max_drop=0.5", name="int8")
    operators = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
    assert "QuantizeLinear" in operators
    config = json.loads((folder / "config.json").read_text())
    assert 0 <= config["accuracy_float32"] <= 1
    assert abs(config["accuracy_float32"] - config["accuracy_int8"]) <= 0.5
    assert json.loads((run / "metrics.json").read_text())["val"]["accuracy"] == pytest.approx(
        config["accuracy_float32"]
    )
    assert "| synthetic, test |" in (folder / "README.md").read_text()
    assert "in 32 bits" in capsys.readouterr().out

    class Worse(int8.ExportedNetwork):
        def probabilities(self, images: torch.Tensor) -> torch.Tensor:
            return torch.eye(7)[torch.full((len(images),), 1)]  # disgust, always

    right = int8.ExportedNetwork
    monkeypatch.setattr(int8, "ExportedNetwork", lambda path: (Worse if path.name == "unfinished" else right)(path))
    with pytest.raises(SystemExit) as ended:
        run_here("fer.export", f"ckpt={run}", "int8=true", "max_drop=0.1", name="refused")
    assert ended.value.code == 2
    assert "allowed are 0.1 (max_drop=)" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "refused").glob("*.onnx")] == ["model.onnx"]  # in 32 bits
    assert "int8" not in json.loads((tmp_path / "refused" / "config.json").read_text())
    assert config["int8"] is True


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "ckpt: which model? Name a run"),
        (
            ["format=onx", "ckpt=x"],
            "format=onx: must be one of onnx, openvino, torch_export, safetensors. Did you mean",
        ),
        (["format=safetensors", "int8=true"], "int8=true: is for format=onnx alone"),
        (["format=openvino", "int8=true"], "int8=true: is for format=onnx alone"),
        (["tests=[nowhere]"], "tests=nowhere: holds no test that can be read"),
    ],
)
def test_mistakes(run: Path, run_here: Run, args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    ckpt = [] if not args or "ckpt=x" in args else [f"ckpt={run}"]
    with pytest.raises(SystemExit) as ended:
        run_here("fer.export", *ckpt, *args)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = {"file": "model.onnx", "classes": ["a", "b"], "preprocessing": {}}
    export_file.write(tmp_path, content)
    assert export_file.read(tmp_path)["classes"] == ["a", "b"]
    assert not export_file.is_export(tmp_path)  # without its model
    (tmp_path / "model.onnx").touch()
    assert export_file.is_export(tmp_path)


def test_a_run_stays_a_run_whatever_is_written_into_its_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in (export_file.FILE, "model.onnx"):
        (tmp_path / name).touch()
    assert not export_file.is_export(tmp_path)
    assert run_folder.checkpoint_file(tmp_path) == tmp_path / "checkpoints/best.ckpt"
