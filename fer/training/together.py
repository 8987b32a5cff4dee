"""Processes that a launcher has started, on one machine or on several: one folder for all, and word of who is gone.

A collective call fails with its partner, but does not say who that was; where a whole machine falls silent, it waits
for half an hour. So each process shows the next one that it is alive, in the key-value store by which torch brings the
processes together.
"""

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from fer import ranks
from fer.environment import CHILD
from fer.errors import FERError, Interrupted, TrainingError
from fer.training import launch

_COMING_S = 600  # for all processes to have started
_BEAT_S = 2.0  # between two signs of life
_SILENT_S = 60.0  # after so long without one, a process is taken for gone
_GRACE_S = 10.0  # for a collective call's failure to be explained, and for a process to end by itself

_group: "_Group | None" = None
_begun = 0  # trainings of several processes that this process has begun; each has keys of its own


def agree(folder: str, nodes: int) -> str:
    """Return the run's folder, which the first process has chosen; wait for all processes to be there.

    Args:
        folder: This process's own choice.
        nodes: ``trainer.num_nodes``.

    Raises:
        TrainingError: If some do not come.
    """
    global _group, _begun
    if _group is not None:  # of a training before this one, which may have ended before its first step
        _group.end()
        _group = None
    place = ranks.place()
    if place.launcher:
        number, count = place.rank, place.world
    else:  # a command on each machine, which starts the others there
        number, count = place.node, nodes if CHILD not in os.environ else 1
    if count == 1:
        return folder
    _begun += 1
    _group = _Group(number, count, _begun)
    return _group.agree(folder)


@contextmanager
def watched() -> Iterator[None]:
    """Run the block; if a process is gone meanwhile, say which, in an error.

    Raises:
        TrainingError: If another process is gone or has failed.
    """
    if _group is None:
        yield
        return
    with _group.watched():
        yield


class _Group:
    """All processes of a run, as each of them sees it.

    Args:
        number: This process's number, from 0.
        count: How many there are.
        training: Number of this process's training, from 1; the same in all of them.
    """

    def __init__(self, number: int, count: int, training: int = 1) -> None:
        self.number, self.count = number, count
        if ranks.place().launcher:
            cluster = launch.cluster()  # of SLURM's, it takes the address from the step's machines
            self.address, self.port = cluster.main_address, cluster.main_port
        else:
            self.address = os.environ["MASTER_ADDR"]
            self.port = int(os.environ.setdefault("MASTER_PORT", "12910"))  # as SLURM's and torchrun's default
        hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun's own process hosts the store
        try:
            store = TCPStore(
                self.address, self.port, is_master=number == 0 and not hosted, timeout=timedelta(seconds=_COMING_S),
                wait_for_workers=False, multi_tenant=not hosted,
            )  # fmt: skip
        except dist.DistError as error:
            raise TrainingError(
                f"process {number} of {count}: no answer from the first one at {self.address}:{self.port} "
                f"({str(error).splitlines()[0]}). Is it running, and can this machine reach it there?"
            ) from error
        self.store = PrefixStore(f"fer-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}-{training}", store)
        self.folder = self.gone = ""
        self._suspicious = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def agree(self, folder: str) -> str:
        """Return the first process's folder, once all are there; from then on they watch each other."""
        place = ranks.place()
        machine = f"machine {place.node} ({socket.gethostname()})"
        self.store.set(self._key("who"), f"process {self.number} on {machine}" if place.launcher else machine)
        if self.number == 0:
            self.store.set("folder", folder)
        everybody = [self._key("who", number) for number in range(self.count)]
        try:
            self.store.wait([*everybody, "folder"])
        except dist.DistError as error:
            absent = [str(number) for number, key in enumerate(everybody) if not self.store.check([key])]
            raise TrainingError(
                f"of {self.count} processes, number {', '.join(absent)} (from 0) did not come within "
                f"{_COMING_S // 60:.0f} minutes."
            ) from error
        self.folder = self.store.get("folder").decode()
        self._thread.start()
        return self.folder

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Run the block; a process that is gone ends it with an error."""
        try:
            yield
        except Exception as error:
            if isinstance(error, FERError) or not _of_a_collective_call(error):
                self._tell(self.number, f" has failed ({type(error).__name__})")
                raise
            self._suspicious = True
            deadline = time.monotonic() + _GRACE_S
            while not self.gone and time.monotonic() < deadline:
                time.sleep(0.1)
            if not self.gone:  # it was its own, after all
                self._tell(self.number, f" has failed ({type(error).__name__})")
                raise
            raise TrainingError(self._said()) from error
        except BaseException as error:
            if not isinstance(error, Interrupted):  # all processes are asked to stop at once
                self._tell(self.number, f" has ended ({type(error).__name__})")
            raise
        finally:
            self.end()

    def end(self) -> None:
        """Watch no more, and be watched no more."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(_BEAT_S + 1)
        with suppress(dist.DistError):
            self.store.set(self._key("beat"), "done")

    def _watch(self) -> None:
        """Show that this process is alive, and look whether the next one is, until this one is done."""
        beats, before = 0, b""
        silent, calling = _Awake(), _Awake()
        following = (self.number + 1) % self.count
        lost = f"the first process, at {self.address}:{self.port}, cannot be reached any more"
        threading.Thread(target=self._cut_off, args=(calling, lost), daemon=True).start()
        while not self._done.wait(_BEAT_S) and not self.gone:
            silent.look()
            try:
                beats += 1
                self.store.set(self._key("beat"), str(beats))
                theirs = self.store.get(key) if self.store.check([key := self._key("beat", following)]) else b""
                if theirs != before or theirs == b"done":
                    before, silent.seconds = theirs, 0.0
                if silent.seconds > (_SILENT_S if not self._suspicious else 3 * _BEAT_S):
                    self._tell(following, f" has shown no sign of life for {silent.seconds:.0f} s")
                self.gone = self.store.get("gone").decode() if self.store.check(["gone"]) else ""
            except dist.DistError:
                self.gone = lost
            calling.seconds = 0.0
        if self.gone and not self._done.wait(_GRACE_S):
            self._end(self.gone)

    def _cut_off(self, calling: "_Awake", lost: str) -> None:
        """End this process when a call to the store has not returned for long: to a silent machine it never does."""
        while not self._done.wait(_BEAT_S) and not self.gone:
            calling.look()
            if calling.seconds > _SILENT_S:
                self._end(lost)

    def _end(self, gone: str) -> None:
        """End this process; a collective call would wait for ever."""
        if not self._done.is_set():
            self.gone = gone
            print(f"error: {self._said()}", file=sys.stderr, flush=True)
            os._exit(2)

    def _tell(self, number: int, what: str) -> None:
        """Tell all processes who is gone; the first one told of counts."""
        with suppress(dist.DistError):
            who = self.store.get(self._key("who", number)).decode()
            self.store.compare_set("gone", "", f"{who}{what}")

    def _said(self) -> str:
        return (
            f"{self.gone}; its own output says more. The run's checkpoints are whole: go on, on any number of "
            f"machines, with resume={self.folder}"
        )

    def _key(self, what: str, number: int | None = None) -> str:
        return f"{what}-{self.number if number is None else number}"


class _Awake:
    """Seconds in which this process could run: a suspended run hears nothing either, and goes on when it is woken."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._looked = time.monotonic()

    def look(self) -> None:
        """Count the seconds since the last look, at most three beats: in a longer gap this process was suspended."""
        now = time.monotonic()
        self.seconds += min(now - self._looked, 3 * _BEAT_S)
        self._looked = now


def _of_a_collective_call(error: Exception) -> bool:
    return isinstance(error, dist.DistError) or bool(re.search("gloo|NCCL|Connection (closed|reset)", str(error)))
