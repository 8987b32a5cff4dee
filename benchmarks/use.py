"""A trained model in use: frames a second of a camera's picture, and ONNX against torch."""

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

import fer
from fer.data.labels import EMOTIONS
from fer.datasets.synthetic_faces import generate
from fer.exporting import checks, formats
from fer.exporting.graph import ExportedGraph
from fer.files import export
from fer.framing.detectors import DEFAULT, build_detector
from fer.predicting import videos
from fer.predicting.exported import ExportedNetwork
from fer.predicting.model import Model
from fer.predicting.photographs import Told
from fer.predicting.record import Record
from fer.training.module import FERModule

FRAMES, SIZE = 600, (640, 480)
MODELS = ("small_cnn", "resnet18")
INPUT = {"image_size": 48, "channels": 1, "mean": [0.5], "std": [0.25]}


def measure(console: Console) -> None:
    """Print frames a second from a video file to rows on the disk, and milliseconds of a batch in torch and in ONNX."""
    threads = f"{torch.get_num_threads()} CPU threads"
    camera = Table(title=f"a video of {SIZE[0]}x{SIZE[1]} with one face, {FRAMES} frames, small_cnn, {threads}")
    for column in ("detector", "looks for faces in every", "frames a second", "with an annotated video", "wanted"):
        camera.add_column(column, justify="left" if column == "detector" else "right")
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        _draw(video)
        detector = build_detector(DEFAULT)
        for every in (1, 5, 10):
            speeds = [_frames_a_second(video, detector, every, annotated) for annotated in (False, True)]
            wanted = ">= 30" if every == 5 else ""
            camera.add_row(detector.name, f"{every}. frame", *(f"{speed:.1f}" for speed in speeds), wanted)
    console.print(camera)

    onnx = Table(title=f"one batch of 48x48 faces, {threads}, fp32, median")
    for column in ("network", "batch", "torch, ms", "ONNX Runtime, ms", "times as fast"):
        onnx.add_column(column, justify="left" if column == "network" else "right")
    for name in MODELS:
        for batch, (ours, exported) in _milliseconds(name).items():
            onnx.add_row(name, f"{batch}", f"{ours:.2f}", f"{exported:.2f}", f"{ours / exported:.2f}")
    console.print(onnx)


def _module(name: str) -> FERModule:
    """Return a network with random weights: its speed does not depend on them."""
    model = OmegaConf.to_container(fer.compose("train", {"model": name}).model, resolve=True)
    loss = {"_target_": "torch.nn.CrossEntropyLoss", "class_weights": None}
    mixup = {"mixup_alpha": 0.0, "cutmix_alpha": 0.0}
    return FERModule(EMOTIONS[:7], INPUT, model, loss, {}, {}, mixup).eval()


def _draw(path: Path) -> None:
    """Write a video of a drawn face that moves about."""
    face = cv2.resize(generate(1, 0)[0][0], (200, 200), interpolation=cv2.INTER_CUBIC)[..., None]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, SIZE)
    for number in range(FRAMES):
        image = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
        left, top = int(220 + 150 * np.sin(number / 40)), int(140 + 100 * np.cos(number / 55))
        image[top : top + 200, left : left + 200] = face
        writer.write(image)
    writer.release()


def _frames_a_second(video: Path, detector: object, every: int, annotated: bool) -> float:
    """Return the speed from the first frame's decoding to the last row."""
    model = Model(_module("small_cnn"), detector)
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder), model.classes, {})
        options = videos.Options(every, 0.0, None, annotated, 0.0)
        begun = time.perf_counter()
        frames = videos.run(model, video, record, Told(), options, lambda done, due: None)
        taken = time.perf_counter() - begun
        record.close()
    assert frames == FRAMES
    return frames / taken


def _milliseconds(name: str) -> dict[int, tuple[float, float]]:
    """Return a batch's time in torch and in ONNX Runtime, by its size."""
    formats.quieten()
    module = _module(name)
    faces, _ = generate(64, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / export.NAMES["onnx"]
        said = {"file": path.name, "classes": module.classes, "preprocessing": module.preprocess.as_dict()}
        formats.write_onnx(ExportedGraph(module).eval(), path, said)
        export.write(Path(folder), said)
        network = checks.of(ExportedNetwork(path))
        compared = checks.compare(checks.in_torch(module), network, faces, np.arange(8), INPUT["image_size"])
    return compared.milliseconds
