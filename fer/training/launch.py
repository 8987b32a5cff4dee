"""Start the other processes of a multi-device run, so that this works in a sweep too.

Lightning starts its DDP processes by running ``sys.argv`` again. In a Hydra multirun that holds the whole sweep, so
each child would start a sweep of its own (Lightning issue 11300). Lightning also promises that with LOCAL_RANK set it
starts nothing: so the children are started here, with a command made from the job's own overrides and folder.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from lightning_fabric.plugins import ClusterEnvironment
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning_fabric.plugins.environments.lightning import find_free_network_port

from fer import ranks
from fer.config.quoting import quote
from fer.environment import CHILD, usable_cores
from fer.errors import ConfigError, TrainingError

_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")

_PORTS_APART = 1009  # of two steps of a SLURM job; no divisor of 10,000, so that no two of them meet
_GRACE_S = 30  # for a process to end by itself once another has failed


@contextmanager
def processes(trainer: pl.Trainer) -> Iterator[None]:
    """Run the block in every process of ``trainer``'s devices on this machine, and leave no trace afterwards.

    Starts nothing where there is one device, or where something else has started the processes (SLURM, torchrun).

    Args:
        trainer: A trainer that has not run yet.

    Raises:
        TrainingError: If another process failed.
    """
    devices = trainer.num_devices
    if devices == 1 or ranks.place().launcher:
        yield
        return
    threads = torch.get_num_threads()
    if trainer.strategy.root_device.type == "cpu":  # share the cores instead of fighting over them
        torch.set_num_threads(max(1, threads // devices))
    if "LOCAL_RANK" in os.environ:  # this is a child
        yield
        return
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ["LOCAL_RANK"] = "0"
    os.environ.setdefault("NODE_RANK", "0")
    if trainer.num_nodes == 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(find_free_network_port()))
    children = [_start(rank) for rank in range(1, devices)]
    done = threading.Event()
    threading.Thread(target=_watch, args=(children, done), daemon=True).start()
    try:
        yield
        for child in children:
            child.wait()
    except Exception as error:
        # A collective call raises here as soon as its partner dies, a little before the partner has ended.
        for _ in range(50):
            codes = [code for child in children if (code := child.poll())]
            if codes:
                raise TrainingError(
                    f"another process of this run failed with exit code {codes[0]}; see above."
                ) from error
            time.sleep(0.1)
        raise
    finally:
        done.set()
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        torch.set_num_threads(threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def cluster() -> ClusterEnvironment:
    """Return what tells Lightning which process this is; by itself it takes a SLURM job's only task for one of many."""
    kinds: dict[str, type[ClusterEnvironment]] = {
        "torchrun": TorchElasticEnvironment, "SLURM": _Step, "": LightningEnvironment,
    }  # fmt: skip
    place = ranks.place()
    if place.launcher == "SLURM":
        # `srun -n 2` does not set it, and Lightning needs it.
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(place.per_node))
    return kinds[place.launcher]()


class _Step(SLURMEnvironment):
    """A step of a SLURM job, which may be smaller than its job and run beside others.

    Lightning looks at the job: of several steps at once all would meet at one port, and where a step leaves out the
    job's first machine, its processes would look for each other there.
    """

    @property
    def main_address(self) -> str:
        """The step's first machine, or ``$MASTER_ADDR``."""
        machines = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "127.0.0.1")
        return os.environ.setdefault("MASTER_ADDR", self.resolve_root_node_address(machines))

    @property
    def main_port(self) -> int:
        """A port that no other step of the job takes, or ``$MASTER_PORT``; of a job's first step, Lightning's."""
        job, step = (os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
        number = (int(job) if job.isdecimal() else 0) + _PORTS_APART * (int(step) if step.isdecimal() else 0)
        return int(os.environ.setdefault("MASTER_PORT", str(15000 + number % 10000)))

    def world_size(self) -> int:
        """The number of the step's tasks."""
        return ranks.place().world

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Do nothing: :mod:`fer.cli.launch_check` has compared with the step; Lightning would compare the job."""


def is_child() -> bool:
    """Say whether this is another process than the run's first, whoever started it: SLURM, torchrun or ourselves."""
    return ranks.place().rank != 0


def refuse_too_many(trainer: pl.Trainer) -> None:
    """Refuse more CPU processes than the machine can bear: each is a whole Python with torch.

    Raises:
        ConfigError: If there are more than twice the cores, and more than eight.
    """
    most = max(8, 2 * usable_cores())
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > most:
        raise ConfigError(
            f"trainer.devices={trainer.num_devices}: on the CPU each is a process of its own, and this machine has "
            f"{usable_cores()} cores. At most {most} make sense."
        )


def _start(rank: int) -> subprocess.Popen[bytes]:
    config = HydraConfig.get()
    command = [sys.executable, "-m", "fer.train"]
    for source in config.runtime.config_sources:
        if source.provider == "command-line":
            command += ["--config-dir", source.path]
    run_only = ("hydra.mode", "hydra.run", "hydra.sweep", "hydra/sweeper", "hydra/launcher", "hydra.launcher")
    command += list(config.overrides.task)
    command += [o for o in list(config.overrides.hydra) if not o.lstrip("+~").startswith(run_only)]
    command += [
        "hydra.mode=RUN",
        f"hydra.run.dir={quote(config.runtime.output_dir)}",
        f"hydra.sweep.dir={quote(config.sweep.dir)}",  # where an Optuna study lies
        "hydra.output_subdir=null",
        f"hydra.job.name={config.job.name}_rank{rank}",
    ]
    environment = {**os.environ, "LOCAL_RANK": str(rank), CHILD: "1"}
    return subprocess.Popen(command, cwd=config.runtime.cwd, env=environment, preexec_fn=_die_with_parent)


def _die_with_parent() -> None:
    """Have the kernel end a child whose parent is gone, also after SIGKILL (Linux alone offers this)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _watch(children: list[subprocess.Popen[bytes]], done: threading.Event) -> None:
    """End the run when a child fails: mostly the collective call raises here too, else the process is ended."""
    while not done.wait(1):
        codes = [code for child in children if (code := child.poll())]
        if not codes:
            continue
        if not done.wait(_GRACE_S):
            print(f"a process of this run ended with code {codes[0]}; stopping", file=sys.stderr, flush=True)
            for child in children:
                child.kill()
            os._exit(1)
        return
