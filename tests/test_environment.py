"""The environment check finds what is wrong and says how to mend it; the record is true."""

import gc
import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fer import environment, imports
from fer.errors import FERError

ROOT = Path(environment.__file__).parents[1]


def install(folder: Path, name: str, version: str, module: str = "", requires: str = "") -> None:
    """Write a distribution's metadata into ``folder`` and, for ``module``, the code that its import runs."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata.write_text(text + (f"Requires-Dist: {requires}\n" if requires else ""))
    if module:
        package = folder / name / "__init__.py"
        package.parent.mkdir()
        package.write_text(module)


def run(site: Path) -> subprocess.CompletedProcess[str]:
    """Run the module with ``site`` before the installed packages."""
    path = os.pathsep.join((str(site), str(ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "fer.environment"],
        cwd=site,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    # Inside a git hook, its variables would send these commands to the project's own repository.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=clean, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "a repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "file.py").write_text("")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_the_environment_of_the_tests_is_sound() -> None:
    environment.check()


# What torch's operator registry says when torchvision's library was compiled for another build.
MISSING = 'raise RuntimeError("operator torchvision::nms does not exist")\n'


@pytest.mark.parametrize(
    ("torch", "wants", "mend"),
    [
        ("2.13.0+cpu", "torch (==2.13.0)", "torch===2.13.0 torchvision===0.28.0"),
        ("2.12.0", "torch==2.13.0", "torch===2.13.0 torchvision===0.28.0"),
        ("2.13.0+cpu", "torch (>=2.12.0)", "torch===2.13.0 torchvision===0.28.0"),
        ("2.11.0+cpu", "torch>=2.12.0", "'torch>=2.12.0' torchvision===0.28.0"),
    ],
)
def test_a_torch_that_torchvision_cannot_use(tmp_path: Path, torch: str, wants: str, mend: str) -> None:
    install(tmp_path, "torch", torch, f"__version__ = {torch!r}\n")
    install(tmp_path, "torchvision", "0.28.0", MISSING, wants)
    done = run(tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert f"torch {torch} and torchvision 0.28.0" in done.stderr
    assert "torchvision::nms" in done.stderr
    command = done.stderr.splitlines()[-1].strip()
    assert command.startswith(f"{shlex.quote(sys.executable)} -m pip uninstall torch torchvision -y && ")
    assert command.endswith(f"install {mend}")


def test_torch_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")\n")
    done = run(tmp_path)
    assert done.returncode == 2
    assert "No module named 'torch'" in done.stderr


def test_several_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {
        "pytorch-lightning": "2.6.3",
        "opencv-python": "5.0.0.93",
        "opencv-python-headless": "4.12.0.88",
    }
    monkeypatch.setattr(environment, "_version", versions.get)
    with pytest.raises(FERError) as caught:
        environment.check()
    text = str(caught.value)
    assert "pytorch-lightning 2.6.3 is a malicious release" in text
    assert f"install '{environment.LIGHTNING}'" in text
    assert "opencv-python 5.0.0.93: OpenCV 5 has no CascadeClassifier" in text
    # Both write into one folder, so that taking one away breaks the other.
    assert "uninstall opencv-python-headless opencv-python -y && " in text
    assert f"install '{environment.OPENCV}'" in text


def test_the_command_is_uvs_where_there_is_no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    assert environment._pip("uninstall a b -y") == f"uv pip uninstall --python {shlex.quote(sys.executable)} a b"


def test_the_ranges_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {environment.LIGHTNING, environment.OPENCV} <= set(project["dependencies"])


def test_constraints_name_versions_alone() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 and " " not in line and "/" not in line for line in lines), lines


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, fer.environment; print(sorted({'torch', 'torchvision', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_record_is_plain_data() -> None:
    record = environment.describe()
    assert json.loads(json.dumps(record)) == record
    assert record["time"].endswith("+00:00")
    assert shlex.join(sys.orig_argv) == record["command"]
    assert sys.version.split()[0] in record["python"]
    assert record["packages"]["torch"]
    assert record["cpu"]["usable_cores"] >= 1
    assert len(record["gpu"]["names"]) == record["gpu"]["count"]


def test_the_record_survives_a_broken_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert environment.describe()["gpu"] == {"count": 0, "names": [], "cuda": None}


def test_git_state(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    # Both point elsewhere, as they do while git runs a hook.
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
    state = environment.describe()["git"]["current_folder"]
    assert state == {
        "folder": str(repository.resolve()),
        "commit": git(repository, "rev-parse", "HEAD"),
        "dirty": False,
    }


@pytest.mark.parametrize("name", ["file.py", "new.py"])
def test_a_changed_and_a_new_file_make_it_dirty(repository: Path, name: str) -> None:
    (repository / name).write_text("x = 1\n")
    state = environment._git_state(repository)
    assert state
    assert state["dirty"] is True


def test_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    state = environment._git_state(tmp_path)
    assert state
    assert state["commit"] is None


def test_a_package_inside_a_foreign_repository(repository: Path) -> None:
    inside = repository / "site-packages"
    inside.mkdir()
    (inside / "environment.py").write_text("")
    assert environment._git_state(inside, tracked="environment.py") is None


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment._git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert environment._git_state(ROOT) is None


def test_the_projects_own_repository_is_named_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "__file__", str(repository / "file.py"))
    monkeypatch.chdir(repository)
    state = environment.describe()["git"]
    assert state["project"]["folder"] == str(repository.resolve())
    assert state["current_folder"] is None


def test_a_run_imports_what_it_needs() -> None:
    code = """
import sys
from fer import environment
environment.check()
import fer.audit, fer.train, fer.data.base
from fer.training import features, module, optim, predict, results
late = {"albumentations", "matplotlib", "scipy.linalg", "scipy.optimize", "scipy.signal", "timm", "torchvision"}
print(sorted(late & set(sys.modules)))
import torchmetrics, torchmetrics.functional.detection as detection, scipy.signal, torch, torchvision
box = torch.tensor([[0.0, 0, 2, 2]])
print(detection.intersection_over_union(box, box).item(), torchvision.ops.box_area(box).item())
print(scipy.signal.windows.hann(3))
from matplotlib.figure import Figure
axes = Figure().subplots()
scores = torchmetrics.MetricCollection([torchmetrics.MeanMetric(), torchmetrics.SumMetric()])
scores.update(torch.ones(2))
scores.plot(together=True, ax=axes)
print(len(axes.get_lines()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # The other packages are whole where somebody needs them after all.
    assert done.stdout.splitlines() == ["[]", "1.0 4.0", "[0. 1. 0.]", "2"]


NOT_BEFORE_THE_FIRST_STEP = ("matplotlib", "scipy.optimize", "scipy.signal", "scipy.sparse", "timm", "torchvision")
ENDS = f"""
import gc, os, sys
import pytorch_lightning as pl

class Ends(pl.Callback):
    def on_train_batch_end(self, *args):
        print("imported:", sorted(set({NOT_BEFORE_THE_FIRST_STEP}) & set(sys.modules)), end=" ")
        print(gc.isenabled(), gc.get_freeze_count() > 100_000, flush=True)
        os._exit(0)
"""


def test_the_first_step_waits_for_no_more_than_it_needs(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(ENDS)
    tiny = ("data.num_samples=70", f"data.cache_dir={tmp_path}/cache", "data.num_workers=0")
    done = subprocess.run(
        [sys.executable, "-m", "fer.train", *tiny, "trainer.accelerator=cpu", "+callbacks.ends._target_=ends.Ends"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported: [] True True"


def test_what_is_unused_is_searched_again_after_imports() -> None:
    frozen = gc.get_freeze_count()
    with pytest.raises(ImportError), imports.quickly():  # noqa: PT012
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen  # torch was there: a network may be, too
    gc.disable()
    try:
        with imports.quickly():
            pass
        assert not gc.isenabled()  # as the caller had it
    finally:
        gc.enable()


def test_nothing_is_called_leaked_at_the_end() -> None:
    pytest.importorskip("triton")  # only with CUDA builds of torch
    program = "from fer import imports\nwith imports.quickly():\n    import torch._dynamo, triton"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
