"""Models on the Hugging Face Hub: pushed, pulled by every command, and what is said where that cannot be."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO
from fakes import face, write_image
from fakes_hub import Hub, hub
from fakes_model import write_run
from huggingface_hub import constants

import fer
from fer.errors import ConfigError, FERError
from fer.exporting import checks, formats, record
from fer.files import export
from fer.files import hub as hub_files
from fer.training.module import FERModule

Here = Callable[..., Path]
CPU = ("accelerator=cpu", "progress=false")
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Give a Hub of this test alone, which anna's token is for."""
    monkeypatch.setattr(checks, "_SECONDS", 0.01)
    with hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a protocol of its own, which the Hub stands in for
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", "hf_anna")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, module = tmp_path_factory.mktemp("export"), FERModule.load_from_checkpoint(run)
    formats.write_safetensors(module, folder / "model.safetensors")
    config = {"ckpt": str(run), "format": "safetensors"}
    export.write(folder, record.describe(module, config, "model.safetensors"))
    (folder / "README.md").write_text("a card")
    (folder / "export.log").write_text("of no use to others")
    return folder


@pytest.fixture
def pushed(served: Hub, exported: Path) -> Hub:
    hub_files.push(exported, "anna/faces", public=False)
    return served


def refused(run_here: Here, capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Return what a refused command says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run_here(*args)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.split())


def test_a_pushed_model_is_pulled_by_every_command(
    served: Hub, run: Path, run_here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run_here("fer.export", f"ckpt={run}", "images=20", "push=anna/faces", name="export")
    printed = capsys.readouterr().out.replace("\n", "")
    repository = served.repositories["anna/faces"]
    commit = repository.refs["main"]
    assert repository.private
    assert "anna/faces (private)" in printed
    assert "HTTP" not in (out / "export.log").read_text(), "not a line for each request"
    assert f"ckpt=hf://anna/faces@{commit}" in printed
    assert set(repository.commits[commit]) == {".gitattributes", "config.json", "README.md", "model.onnx"}
    assert repository.commits[commit]["model.onnx"] == (out / "model.onnx").read_bytes()
    assert 'fer.load("hf://anna/faces")' in repository.commits[commit]["README.md"].decode()

    model = fer.load("hf://anna/faces", detector="none")
    assert model.source == f"hf://anna/faces@{commit}"
    expected = fer.load(out, detector="none").predict(PICTURE)[0].probabilities
    assert model.predict(PICTURE)[0].probabilities == expected
    assert not any("README" in one for one in served.asked if "resolve" in one), "no more than is needed"

    write_image(tmp_path / "faces" / "happy" / "1.png", face(1, np.random.default_rng(1), 30))
    write_image(tmp_path / "faces" / "sad" / "2.png", face(2, np.random.default_rng(2), 30))
    test = run_here(
        "fer.test",
        "ckpt=hf://anna/faces",
        "data=folder",
        "data.root=faces",
        "resamples=0",
        "mistakes=0",
        *CPU,
        name="test",
    )
    assert json.loads((test / "metrics.json").read_text())["hub"] == f"hf://anna/faces@{commit}"
    args = ("source=faces", "detector=none", "annotated=0", *CPU)
    seen = run_here("fer.predict", "ckpt=hf://anna/faces", *args, name="seen")
    assert f"hf://anna/faces@{commit}" in capsys.readouterr().out
    assert json.loads((seen / "progress.json").read_text())["recipe"]["hub"] == f"hf://anna/faces@{commit}"
    local = run_here("fer.predict", f"ckpt={out}", *args, name="local")
    assert (seen / "predictions.csv").read_bytes() == (local / "predictions.csv").read_bytes()

    # The model moves on: what was begun with the one before is not gone on with, and that can still be named.
    run_here("fer.export", f"ckpt={run}", "format=safetensors", "images=20", "push=anna/faces", name="again")
    said = refused(run_here, capsys, "fer.predict", "ckpt=hf://anna/faces", *args, f"output_dir={seen}")
    assert f"holds predictions with hub=hf://anna/faces@{commit}, not hf://anna/faces@" in said
    run_here("fer.predict", f"ckpt=hf://anna/faces@{commit}", *args, f"output_dir={seen}")
    served.asked.clear()
    assert fer.load(f"hf://anna/faces@{commit}", detector="none").source == f"hf://anna/faces@{commit}"
    assert served.asked == [], "a commit that is here needs no network"


def test_weights_from_there_become_other_formats(
    pushed: Hub, run_here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = f"hf://anna/faces@{pushed.repositories['anna/faces'].refs['main']}"
    out = run_here("fer.export", "ckpt=hf://anna/faces", "images=20", "push=anna/graph", name="graph")
    description = json.loads((out / "config.json").read_text())
    assert description["hub"] == pinned
    assert description["training"]["fitted"] == 0
    assert description["largest_difference"] < 1e-5
    expected = fer.load("hf://anna/faces", detector="none").predict(PICTURE)[0].probabilities
    graph = fer.load("hf://anna/graph", detector="none").predict(PICTURE)[0].probabilities
    assert graph == pytest.approx(expected, abs=1e-5)
    said = refused(run_here, capsys, "fer.export", "ckpt=hf://anna/graph", "format=safetensors")
    assert "ckpt=hf://anna/graph: is an export (model.onnx) that cannot be turned into another" in said
    said = refused(run_here, capsys, "fer.export", f"ckpt={out}", "format=safetensors")
    assert "(model.onnx) that cannot be turned into another" in said

    repository = pushed.repositories["anna/faces"]
    content = json.loads(repository.commits[repository.refs["main"]]["config.json"])
    repository.commit({"config.json": json.dumps({**content, "training": {"fitted": "many"}}).encode()})
    said = refused(run_here, capsys, "fer.export", "ckpt=hf://anna/faces", "format=safetensors")
    assert "does not say what it was trained on" in said


def test_a_demo_shows_the_commit(pushed: Hub) -> None:
    from conftest import composed

    from fer.serving.answering import Answering

    config = composed("ckpt=hf://anna/faces", "compare=hf://anna/faces", "detector=none", config="demo")
    desk = Answering({**config, "ckpt": hub_files.local(config["ckpt"])[1]})
    assert desk.about[0]["name"] == f"hf://anna/faces@{pushed.repositories['anna/faces'].refs['main']}"
    assert desk.about[1]["name"] == "hf://anna/faces"
    assert desk.about[0]["network"] == "SimpleConv"


def test_public_is_asked_for(served: Hub, run: Path, run_here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    export = ("fer.export", f"ckpt={run}", "format=safetensors", "images=20")
    run_here(*export, "push=anna/open", "public=true", name="one")
    assert not served.repositories["anna/open"].private
    assert "public: everybody can see it" in capsys.readouterr().out.replace("\n", "")
    run_here(*export, "push=anna/open", name="two")
    assert "public: everybody can see it" in capsys.readouterr().out.replace("\n", ""), "as it was made"


def test_pushes_that_cannot_succeed_are_refused_first(
    served: Hub, run: Path, run_here: Here, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("kept").touch()

    def said(*args: str) -> str:
        return refused(run_here, capsys, "fer.export", f"ckpt={run}", "format=safetensors", *args)

    assert "push=faces: names the repository" in said("push=faces")
    assert "public=true: is for push=" in said("public=true")
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    assert "refuses your token (401)" in said("push=anna/faces")
    monkeypatch.delenv("HF_TOKEN")
    assert "only from who has a token" in said("push=anna/faces")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE keeps this program from the network" in said("push=anna/faces")
    assert not Path("out").exists(), "before anything is made"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    assert "the export stands in" in (answer := said("push=bert/faces", "images=20"))
    assert "refuses your token (403)" in answer


def test_what_cannot_be_pulled_is_said(
    pushed: Hub, run_here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(address: str) -> str:
        with pytest.raises(FERError) as error:
            fer.load(address, detector="none")
        assert address in str(error.value)
        return str(error.value)

    assert "has no branch, tag or commit v9" in said("hf://anna/faces@v9")
    assert "no repository anna/none, or it is private and cannot be seen with your token" in said("hf://anna/none")
    with monkeypatch.context() as patch:
        patch.delenv("HF_TOKEN")
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
        assert "cannot be seen without a token" in said("hf://anna/faces")
        pushed.repositories["anna/faces"].private, pushed.repositories["anna/faces"].gated = False, True
        assert "is gated: ask for access on http://127.0.0.1" in said("hf://anna/faces")
        pushed.status = 503
        assert "the Hub answered 503" in said("hf://anna/faces")
        pushed.status = None
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "not in the cache, and HF_HUB_OFFLINE" in said("hf://anna/faces")
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        assert "http://127.0.0.1:9 cannot be reached" in said("hf://anna/faces")

    fer.load("hf://anna/faces", detector="none")
    with monkeypatch.context() as patch:  # what is here needs no network
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        fer.load("hf://anna/faces", detector="none")

    for wrong in ("hf://anna", "hf://anna/faces/model.onnx", "hf://anna/faces@", "hf://../x"):
        with pytest.raises(ConfigError, match="is no address of a model"):
            fer.load(wrong, detector="none")
    (tmp_path / "photos").mkdir()
    told = refused(run_here, capsys, "fer.predict", "ckpt=hf://anna", "source=photos")
    assert "ckpt=hf://anna: is no address of a model" in told
    write_image(tmp_path / "photos" / "1.png", PICTURE)
    told = refused(run_here, capsys, "fer.predict", "ckpt=hf://anna/none", "source=photos", "detector=none")
    assert "error: ckpt=hf://anna/none: there is no repository" in told


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.json": None}, "is no export of fer: the repository holds no config.json"),
        ({"config.json": b'{"model_type": "bert"}'}, "does not say kind='fer-export'"),
        ({"config.json": b"no json"}, "is no export of fer"),
        ({"model.safetensors": b"another"}, "model.safetensors is not the file that config.json describes"),
        ({"model.safetensors": None}, "holds no model.safetensors"),
        ({"sha256": b""}, "gives no SHA-256 of model.safetensors"),
        ({"file": b"pytorch_model.bin"}, "names no model file"),
    ],
)
def test_only_exports_as_they_were_made_are_taken(files: dict[str, bytes | None], expected: str, pushed: Hub) -> None:
    repository = pushed.repositories["anna/faces"]
    content = repository.commits[repository.refs["main"]]
    for name, data in files.items():
        if name in ("sha256", "file"):
            description = json.loads(content["config.json"]) | {name: (data or b"").decode()}
            content["config.json"] = json.dumps(description).encode()
        elif data is None:
            del content[name]
        else:
            content[name] = data
    content["pytorch_model.bin"] = b"a pickle"
    with pytest.raises(FERError, match="hf://anna/faces") as error:
        fer.load("hf://anna/faces", detector="none")
    assert expected in str(error.value)
    assert not any("pytorch_model.bin" in one for one in pushed.asked), "nothing else is brought here"


def test_the_environment_is_heeded(pushed: Hub, tmp_path: Path) -> None:
    """huggingface_hub reads where the Hub is when it is imported."""
    environment = {
        **os.environ, "HF_ENDPOINT": pushed.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(REPO),
    }  # fmt: skip
    code = "from fer.files import hub; print(*hub.local('hf://anna/faces'))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder, address = done.stdout.split()
    assert Path(folder).is_relative_to(tmp_path / "home")
    assert address == f"hf://anna/faces@{pushed.repositories['anna/faces'].refs['main']}"
