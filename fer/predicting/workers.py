"""Several processes that share the pictures of a prediction; one that is killed is replaced. No torch in the first."""

import importlib.util
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from fer.display import plain
from fer.environment import quieten, usable_cores
from fer.errors import ConfigError, FERError
from fer.extras import missing_package
from fer.predicting.parts import FOLDER, Part, Parts
from fer.predicting.sources import Files
from fer.progress import clock

log = logging.getLogger(__name__)

_PATIENCE = 4  # workers that may be killed one after the other without a part being done


def check(config: Mapping[str, Any], files: Files | None) -> None:
    """Refuse what several workers cannot do.

    Raises:
        ConfigError: If the source is a camera or holds videos, or faces are to be explained.
        FERError: If pyarrow is not installed.
    """
    what = f"workers={config['workers']}: is for pictures"
    if files is None or files.videos:
        held = "is a camera" if files is None else f"holds {files.videos:,} videos"
        raise ConfigError(
            f"{what}, and source={config['source']} {held}. Leave workers out, or name the pictures alone."
        )
    if config["explain"]:
        raise ConfigError(f"{what}' emotions alone. Leave explain out, or workers.")
    if importlib.util.find_spec("pyarrow") is None:
        raise FERError(f"workers={config['workers']}: {missing_package('pyarrow')}")


def run(config: Mapping[str, Any], files: Files, recipe: Mapping[str, Any]) -> None:
    """Predict all pictures of a source, in several processes.

    Args:
        config: The resolved config.
        files: The pictures.
        recipe: What decides the predictions.

    Raises:
        FERError: If a worker fails, or is killed again and again.
    """
    begun, parts = time.monotonic(), Parts(Path(config["output_dir"]) / FOLDER, files, recipe)
    at_first = parts.left()
    if len(at_first) < parts.count:
        log.info("%d of %d parts were done before; they are passed over.", parts.count - len(at_first), parts.count)
    many = min(config["workers"], len(at_first))
    running = {number: _start(number, many, config, recipe) for number in range(many)}
    fruitless, before = 0, len(at_first)
    try:
        while running:
            wait([process.sentinel for process in running.values()])
            for number in [number for number, process in running.items() if not process.is_alive()]:
                code, left = running.pop(number).exitcode, len(parts.left())
                if code == 0:
                    continue
                fruitless, before = (1 if left < before else fruitless + 1), left
                if code == 2:
                    raise FERError("a worker failed; see above. What is done stays: the same command goes on with it.")
                if fruitless > _PATIENCE:
                    raise FERError(
                        f"{fruitless} workers were killed one after the other (the last by exit code {code}; -9 may be "
                        f"want of memory: try fewer workers). The same command goes on with what is left."
                    )
                log.warning("worker %d was killed (exit code %s); another takes its place", number + 1, code)
                if left:
                    running[number] = _start(number, many, config, recipe)
    finally:
        for process in running.values():
            process.kill()
    left_over = parts.left()
    done, seconds = parts.pictures(at_first) - parts.pictures(left_over), time.monotonic() - begun
    log.info("%s pictures in %s (%.1f a second)", f"{done:,}", clock(seconds), done / max(seconds, 1e-9))
    if left_over:
        log.info("%d parts are being made elsewhere; if not, give the command again.", len(left_over))
    log.info("prediction: %s", str(parts.folder))


def _start(number: int, many: int, config: Mapping[str, Any], recipe: Mapping[str, Any]) -> SpawnProcess:
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    threads = max(1, usable_cores() // many)
    with _on_its_cores(number, many):
        process = context.Process(target=_work, args=(number, threads, dict(config), dict(recipe)), daemon=True)
        process.start()
    return process


@contextmanager
def _on_its_cores(number: int, many: int) -> Iterator[None]:
    """Start a process that may run on its share of the cores alone; torch, OpenCV and ONNX Runtime count those."""
    if not hasattr(os, "sched_setaffinity"):  # macOS, Windows: the number of threads alone
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, share(sorted(ours), number, many))  # of this thread; what it starts inherits it
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def share(cores: Sequence[int], number: int, many: int) -> Sequence[int]:
    """Return one worker's share of the cores: each core is one worker's, and more workers than cores share them."""
    if many > len(cores):
        return [cores[number % len(cores)]]
    return cores[number * len(cores) // many : (number + 1) * len(cores) // many]


def _work(number: int, threads: int, config: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Make parts until none is left: what each worker does."""
    try:
        _make_parts(number, threads, config, recipe)
    except FERError as error:
        print(f"error: worker {number + 1}: {plain(str(error), keep=chr(10))}", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _make_parts(number: int, threads: int, config: dict[str, Any], recipe: dict[str, Any]) -> None:
    import cv2
    import torch

    from fer.predicting import photographs
    from fer.predicting.model import load

    quieten(first=False)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    if torch.cuda.is_available():  # each of several GPUs has its workers
        torch.cuda.set_device(number % torch.cuda.device_count())
    options = {key: config[key] for key in ("tta", "margin", "batch_size", "trust")}
    model = load(config["ckpt"], config["detector"], device=config["accelerator"], **options)
    run = Path(config["output_dir"])
    parts = Parts(run / FOLDER, Files(str(config["source"])), recipe)
    parent = multiprocessing.parent_process()
    begun, pictures, faces, found = time.monotonic(), 0, 0, True
    while found:
        found = False
        for part, paths in parts.taken():
            found, answers = True, Part(run, model.classes, part * parts.size)
            photographs.run(
                model, paths, answers, photographs.Told(), config["threads"] or threads, 0, config["min_confidence"],
                False, lambda: None,
            )  # fmt: skip
            answers.write(parts.path(part))
            pictures, faces = pictures + len(paths), faces + answers.faces
            rate = faces / (time.monotonic() - begun)
            left = len(parts.left())
            print(
                f"worker {number + 1}: {pictures:,} pictures, {faces:,} faces, {rate:.1f} faces a second; "
                f"{left} of {parts.count} parts left",
                flush=True,
            )
            if parent is not None and not parent.is_alive():
                return
