"""Input pipeline: images per second and core, from stored images to normalised batches."""

import io
import time
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision import transforms as T

from fer.cli.command import conf_dir
from fer.data.augment import Augment
from fer.data.labels import BASIC
from fer.data.loading import ImageDataset
from fer.data.samples import Samples
from fer.data.sampling import TrainBatches
from fer.datasets.synthetic_faces import generate
from fer.models.preprocessing import Preprocessing

SIZE, BATCH, ROUNDS = 2560, 64, 5


def measure(console: Console) -> None:
    """Print images per second of transforms=standard and of the same operations in PIL and torchvision."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    images, labels = generate(SIZE, seed=0)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        nodes = OmegaConf.to_container(compose("train", ["transforms=standard"]).transforms)
    samples = Samples(images, labels, np.full(SIZE, "train"), np.arange(SIZE).astype(str), BASIC)
    dataset = ImageDataset(samples, np.arange(SIZE), Augment(nodes))
    preprocess = Preprocessing(48, 1, (0.5,), (0.25,))
    batches = list(TrainBatches(SIZE, BATCH, seed=0))

    def ours() -> None:
        for batch in batches:
            preprocess(dataset.__getitems__(batch)["image"])

    # The same operations with the same ranges and probabilities, image by image, as torchvision's users write them.
    pipeline = T.Compose(
        [
            T.RandomHorizontalFlip(0.5),
            T.RandomAffine(12, translate=(0.08, 0.08), scale=(0.9, 1.1), interpolation=T.InterpolationMode.BILINEAR),
            T.RandomApply([T.ColorJitter(brightness=0.2, contrast=0.2)], 0.8),
            T.ToTensor(),
            T.RandomErasing(0.3, scale=(0.01, 0.06)),
            T.Normalize([0.5], [0.25]),
        ]
    )
    faces = [Image.fromarray(image) for image in images]
    encoded = []
    for face in faces:
        file = io.BytesIO()
        face.save(file, "PNG")
        encoded.append(file.getvalue())

    def decoded_once() -> None:
        for batch in batches:
            torch.stack([pipeline(faces[i]) for i in batch.indices])

    def decoded_each_time() -> None:
        for batch in batches:
            torch.stack([pipeline(Image.open(io.BytesIO(encoded[i])).convert("L")) for i in batch.indices])

    rates = {
        "fer, transforms=standard": _rate(ours),
        "PIL + torchvision, images held in memory": _rate(decoded_once),
        "PIL + torchvision, decoding PNG each time (ImageFolder)": _rate(decoded_each_time),
    }
    torch.set_num_threads(threads)
    table = Table(title="input pipeline, 48x48 grey, one core")
    for column in ("pipeline", "img/s", "fer is faster by", "wanted"):
        table.add_column(column, justify="left" if column == "pipeline" else "right")
    best = next(iter(rates.values()))
    for name, rate in rates.items():
        table.add_row(
            name, f"{rate:,.0f}", "" if rate == best else f"{best / rate:.1f} x", "" if rate == best else ">= 4 x"
        )
    console.print(table)


def _rate(epoch: Callable[[], None]) -> float:
    epoch()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - start)
    return SIZE / median(seconds)
