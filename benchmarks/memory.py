"""Memory of a FER2013-sized training: main process and workers, against a process that only imports."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

STEPS = 150
IMPORTS = (
    "import fer.train, fer.training.checkpoint, fer.training.callbacks, fer.training.launch, fer.training.results, "
    "fer.environment, fer.datasets.synthetic"
)
EMPTY = f"{IMPORTS}\nfrom benchmarks.memory import megabytes\nprint(megabytes())"
MODEL = f"""{IMPORTS}
import torch
from benchmarks.memory import megabytes
from fer.models import build_model
net = build_model({{"_target_": "fer.models.emotion_net.EmotionNet"}}, 7, 1, 48)
optimizer = torch.optim.AdamW(net.parameters())
for _ in range(20):
    optimizer.zero_grad()
    net(torch.rand(64, 1, 48, 48)).sum().backward()
    optimizer.step()
print(megabytes())
"""


def megabytes() -> float:
    """Return the memory of this process and its children: proportional set size, so that shared pages count once."""
    process = psutil.Process()
    return sum(p.memory_full_info().pss for p in (process, *process.children(recursive=True))) / 1e6


class Watch(pl.Callback):
    """Ends the process after some steps, and prints the largest memory seen."""

    def __init__(self) -> None:
        self.peak = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step % 10 == 0:
            self.peak = max(self.peak, megabytes())
        if trainer.global_step == STEPS:
            Path(os.environ["FER_BENCHMARK_MEMORY"]).write_text(str(self.peak))
            os._exit(0)


def measure(console: Console) -> None:
    """Print megabytes of each, and the ratio after the model's own memory is taken off."""
    from benchmarks.fer2013_csv import write_csv

    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "fer2013.csv", Path(folder) / "peak"
        write_csv(data)
        os.environ["FER_BENCHMARK_MEMORY"] = str(out)
        command = [
            sys.executable, "-m", "fer.train", "data=fer2013", f"data.root={data}", f"data.cache_dir={folder}/cache",
            "model=emotion_net", "trainer.accelerator=cpu", "+callbacks.watch._target_=benchmarks.memory.Watch",
        ]  # fmt: skip
        for number in range(2):  # the second starts from the cache, as nearly every run does
            subprocess.run([*command, f"hydra.run.dir={folder}/run{number}"], capture_output=True, check=False)
        training = float(out.read_text())
    empty, model = (_run(code) for code in (EMPTY, MODEL))
    table = Table(title="memory of data=fer2013 model=emotion_net (28,709 training images), proportional set size")
    for column in ("process", "MB", "wanted"):
        table.add_column(column, justify="left" if column == "process" else "right")
    table.add_row("empty, same imports", f"{empty:.0f}", "")
    table.add_row("model, gradients, optimiser, activations", f"{model - empty:.0f}", "")
    table.add_row("training, main process and workers, peak", f"{training:.0f}", "")
    table.add_row("  (training - model) / empty", f"{(training - (model - empty)) / empty:.2f}", "<= 1.5")
    console.print(table)


def _run(code: str) -> float:
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
