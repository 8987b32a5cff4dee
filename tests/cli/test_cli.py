"""The command line as a user meets it, each time in a process of its own."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import REPO, TINY, Run


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["optimizer.lrr=1"], "optimizer.lrr: there is no such key. Did you mean 'optimizer.lr'?"),
        (["optimizr.lr=1"], "Did you mean 'optimizer.lr'"),
        (["optimizer=sdg"], "optimizer=sdg: no such option. Did you mean 'sgd'?"),
        (["model=densnet121"], "Did you mean 'densenet121'?"),
        (
            ["model=fusion", "model.backbones=[resnet50,densnet121]"],
            "model.backbones=densnet121: timm has no such model. Did you mean 'densenet121'",
        ),
        (["model=resnet26"], "model=timm model.name=resnet26"),
        (
            ["model=timm", "model.name=resnet5O"],
            "model.name=resnet5O: timm has no such model. Did you mean 'resnet50'",
        ),
        (
            ["optimizer=timm", "optimizer.name=radm"],
            "optimizer.name=radm: no such optimiser. Did you mean 'radam'",
        ),
        (["optimizer.lr=a (b)"], "optimizer.lr=a (b): cannot be read. Close each bracket, or"),
        (["happy sad"], "happy sad: cannot be read. Choices are written key=value."),
        (["optimizer.lr=fast"], "optimizer.lr=fast: must be a number"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: must be above 0 and at most 1000."),
        (["data.batch_size=1.5"], "data.batch_size=1.5: must be a whole number"),
        (["compile=3"], "compile=3: must be true or false"),
        (["data.classes=[happy,sadd]"], "data.classes: unknown emotion 'sadd'. Did you mean 'sad'"),
        (["data.channels=2"], "data.channels=2: must be one of 1, 3 or null."),
        (["data=folder"], "data.root: needs a value"),
        (["monitor=test/accuracy"], "a checkpoint is not chosen on the test split. Use val/accuracy."),
        (["monitor=val/acuracy"], "Did you mean 'val/accuracy'"),
        (["trainer.precision=bf16mixed"], "Did you mean 'bf16-mixed'"),
        (["+trainer.use_distributed_sampler=true"], "leave it out. The loaders share each batch"),
        (["data.num_workers=100000"], "data.num_workers=100000: must be at least 0 and at most"),
        (["hydra/launcher=submitit_slurm"], "Add -m: python -m fer.train -m hydra/launcher=submitit_slurm"),
        (["trainer=ddp_cpu", "trainer.strategy=ddp_spawn"], "Use trainer.strategy=ddp (on CPUs trainer=ddp_cpu)"),
        (
            ["trainer.strategy={_target_: pytorch_lightning.strategies.DDPStrategy, start_method: fork}"],
            "trainer.strategy=fork: the best score and checkpoint would be lost",
        ),
        (
            ["trainer.strategy={_target_: pytorch_lightning.strategies.FSDPStrategy, use_orig_params: false}"],
            "trainer.strategy.use_orig_params=false: weights that FSDP flattens into one",
        ),
        (["-m", "experiment=emotion_net,eda_cnn", "data.root=x"], "choose the data too: data=<one of them>"),
        (["optimizer=muon", "trainer.strategy=fsdp"], "optimizer.name=muon: FSDP flattens the matrices"),
        (["callbacks=[default,ema]", "trainer.strategy=fsdp"], "callbacks.ema: averages whole weights, which FSDP"),
        (["+optimizer.amsgrad=no"], "optimizer.amsgrad=no: must be true or false"),
        (["resume=nowhere"], "resume=nowhere: is not a run's folder"),
        (["model.head.dropout"], "error: "),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_mistakes_are_explained_before_torch_is_imported(
    command: Run, tmp_path: Path, args: list[str], expected: str
) -> None:
    # A torch that cannot be imported: the check must not need it.
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    done = command(*args)
    assert done.returncode == 2, done.stdout + done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "torch was imported" not in done.stderr
    assert not list(tmp_path.glob("outputs/*/*")), "a command that never ran leaves no run"


def test_all_mistakes_are_named_at_once(command: Run) -> None:
    done = command("optimizer.lr=abc", "data.batch_size=0", "tta=flop")
    assert done.returncode == 2
    for key in ("optimizer.lr=abc", "data.batch_size=0", "tta=flop"):
        assert key in done.stderr


def test_a_network_from_outside(command: Run, tmp_path: Path) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text(
        "from torch import nn\n"
        "class MyNet(nn.Module):\n"
        "    def __init__(self, num_classes, width=8):\n"
        "        super().__init__()\n"
        "        layers = nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, num_classes)\n"
        "        self.net = nn.Sequential(*layers)\n"
        "    def forward(self, x):\n"
        "        return self.net(x)\n"
    )
    options = [o for o in TINY if not o.startswith("model=")]
    done = command(*options, "model._target_=my_package.MyNet", "+model.width=4", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "MyNet" in done.stdout
    assert (tmp_path / "run" / "metrics.json").exists()
    wrong = command(*options, "model._target_=my_package.MyNett")
    assert wrong.returncode == 2
    assert "Did you mean 'MyNet'" in wrong.stderr


def test_sweep_reports_every_job_and_goes_on_after_a_failure(command: Run, tmp_path: Path) -> None:
    choices = ("data.image_size=48,2", "optimizer=sgd,adamw", "optimizer.lr=1e-3,1e-2")
    done = command("-m", *TINY, *choices, "hydra.sweep.dir=sweep")
    assert done.returncode == 2
    assert "8 jobs, best first" in done.stdout
    for job in ("0", "1", "2", "3"):
        assert (tmp_path / "sweep" / job / "metrics.json").exists()
    for job in ("4", "5", "6", "7"):
        assert f"job {job} failed" in done.stdout
        assert "data.image_size=2" in (tmp_path / "sweep" / job / "error.txt").read_text()
    lines = (tmp_path / "sweep" / "sweep.csv").read_text().splitlines()
    assert lines[0].startswith("job,data.image_size,optimizer,optimizer.lr,val/f1_macro,epoch,train acc,val acc,")
    assert ",gap,folder," in lines[0]
    assert [("failed" in line) for line in lines[1:]] == [False] * 4 + [True] * 4
    scores = [float(line.split(",")[4]) for line in lines[1:5]]
    assert scores == sorted(scores, reverse=True)
    for picture in ("parallel_coordinates.png", "importance.png"):
        assert (tmp_path / "sweep" / picture).read_bytes().startswith(b"\x89PNG")
    again = command("--config-dir", "sweep", "experiment=best", "hydra.run.dir=again")
    assert again.returncode == 0, again.stderr
    best = tmp_path / "sweep" / lines[1].split(",")[0] / "metrics.json"
    ours, theirs = (json.loads(path.read_text()) for path in (tmp_path / "again" / "metrics.json", best))
    assert ours["best_score"] == theirs["best_score"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_sweep_with_another_launcher(command: Run, tmp_path: Path, launcher: str) -> None:
    options = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else ["hydra.launcher.timeout_min=5"]
    done = command("-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep", f"hydra/launcher={launcher}", *options)
    assert done.returncode == 0, done.stderr
    assert "2 jobs, best first" in done.stdout
    jobs = [json.loads((tmp_path / "sweep" / job / "metrics.json").read_text()) for job in ("0", "1")]
    values = [job["test"]["accuracy"] for job in jobs]
    assert "mean and standard deviation over seed" in done.stdout
    assert f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" in done.stdout


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_stopped_by_a_signal_and_resumed_equals_uninterrupted(
    command: Run, run_here: Callable[..., Path], tmp_path: Path, cache_dir: Path
) -> None:
    recipe = [*TINY, "model=emotion_net", "data.image_size=24", "data.num_samples=700", "trainer.max_epochs=4"]
    whole = weights(run_here("fer.train", *recipe, name="whole"))
    slow = "+callbacks.slow._target_=slow_callback.Slow"  # 0.1 s a step, so that the signal comes in mid-epoch
    (tmp_path / "slow_callback.py").write_text(
        "import time, pytorch_lightning as pl\n"
        "class Slow(pl.Callback):\n"
        "    def on_train_batch_start(self, trainer, *args):\n"
        "        time.sleep(0.1)\n"
    )
    environment = {**os.environ, "FER_CACHE": str(cache_dir), "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    numbers = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
    processes = {
        number: subprocess.Popen(
            [sys.executable, "-m", "fer.train", *recipe, slow, "data.num_workers=2", f"hydra.run.dir={number.name}"],
            cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )
        for number in numbers
    }  # fmt: skip
    deadline, waiting, begun = time.monotonic() + 120, set(numbers), set[signal.Signals]()
    while waiting and time.monotonic() < deadline:
        time.sleep(0.7)  # from an epoch's checkpoint on: well into the next one
        for number in begun & waiting:
            os.killpg(processes[number].pid, number)  # as a terminal does: the loader's workers get it too
            waiting.remove(number)  # and not waited for here: the others would come to their epoch's end
        begun = {one for one in waiting if (tmp_path / one.name / "checkpoints" / "last.ckpt").exists()}
    printed = {number: process.communicate(timeout=60)[1] for number, process in processes.items()}
    for number, process in processes.items():
        run = tmp_path / number.name
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
            resumed = command(f"resume={run}", "callbacks.slow=null")  # as after a reboot: in a process of its own
            assert resumed.returncode == 0, resumed.stderr
        else:
            assert process.returncode == 128 + number
            assert "resume=" in printed[number]
            assert "Traceback" not in printed[number]
            step = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"]
            assert step % 17 != 0, "saved between two epochs, not where it was stopped"
            run_here("fer.train", f"resume={run}", "callbacks.slow=null", name=None)
        cut = weights(run)
        assert all(torch.equal(whole[key], cut[key]) for key in whole), number


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    command = f"mkdir gone; cd gone; rmdir ../gone; PYTHONPATH={REPO} {sys.executable} -m fer.report runs=x"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the current folder is gone.")


def test_a_refused_command_keeps_the_empty_folder_that_it_is_given_in(command: Run, tmp_path: Path) -> None:
    for output_dir in ("run", "."):
        done = command("data=folder", "data.root=/nowhere", f"output_dir={output_dir}")
        assert (done.returncode, "there is no /nowhere" in done.stderr) == (2, True), done.stderr
        assert list(tmp_path.iterdir()) == []


def test_help_into_a_closed_pipe(command: Run, tmp_path: Path) -> None:
    pipe = f"PYTHONPATH={REPO} {sys.executable} -m fer.train --help | head -n 1"
    done = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") == 1
