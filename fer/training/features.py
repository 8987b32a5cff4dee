"""Features of a frozen backbone, computed once: a head's training then costs little more than one pass.

They are kept beside the decoded images, in a folder named by what decides them: the backbone's weights, the input's
preprocessing and the images. A study of many heads on one backbone computes them only once.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import uuid
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fer import progress
from fer.data.base import FERDataModule
from fer.data.fingerprints import hashes
from fer.errors import FERError
from fer.training.module import FERModule

log = logging.getLogger(__name__)

_BATCH = 64
_CHECKSUM = "features.crc32"
_PROGRESS = 2_000  # images from which on a progress bar is shown


def are_constant(module: FERModule, datamodule: FERDataModule) -> bool:
    """Say whether an image's features are the same in every epoch: frozen backbone, same input."""
    if not getattr(module.net, "freeze", False) or len(datamodule.augment) or module.mix is not None:
        return False
    from fer.models.fusion import Fusion
    from fer.models.iresnet import IResNet
    from fer.models.timm_model import TimmModel  # here, so that most runs do without timm

    # A network of the user's own may mean something else by `freeze`, and has no features to hand out.
    return isinstance(module.net, TimmModel | Fusion | IResNet)


def compute(module: FERModule, datamodule: FERDataModule, device: torch.device) -> npt.NDArray[np.float32]:
    """Return the features of every image that is in a split, from the cache if they are there.

    Args:
        module: Its network has a frozen backbone and ``forward_features``.
        datamodule: The data.
        device: Where they are computed.

    Returns:
        float32 of shape (R, D), memory-mapped, in the order of ``datamodule.rows("all")``.
    """
    rows = datamodule.rows("all")
    folder = datamodule.cache_dir / f"features-{_key(module, datamodule, rows)}"
    path = folder / "features.npy"
    features = _kept(path, len(rows))
    if features is None:
        computed = _run(module, datamodule, rows, device)
        temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        try:
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one
            temporary.mkdir(parents=True)
            np.save(temporary / path.name, computed)
            (temporary / _CHECKSUM).write_text(_crc32(temporary / path.name))
            with contextlib.suppress(OSError):  # another process was first, with the same content
                os.replace(temporary, folder)
        except OSError as error:
            raise FERError(
                f"the backbone's features cannot be kept in {folder}: {error}. Name a folder that can be written with "
                f"data.cache_dir=<folder>, or set cache_features=false."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        features = _kept(path, len(rows))
        if features is None:
            raise FERError(
                f"the backbone's features in {folder} cannot be read back; cache_features=false goes without."
            )
    log.info("features of the frozen backbone: %d x %d, computed once (%s)", *features.shape, folder)
    return features


def _kept(path: Path, count: int) -> npt.NDArray[np.float32] | None:
    """Return cached features; None where there are none, or not those that were written."""
    try:
        if (path.parent / _CHECKSUM).read_text() != _crc32(path):
            return None
        features: npt.NDArray[np.float32] = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return features if features.dtype == np.float32 and features.ndim == 2 and len(features) == count else None


def _crc32(path: Path) -> str:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def _key(module: FERModule, datamodule: FERDataModule, rows: npt.NDArray[np.int64]) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.net.backbone.state_dict().items():  # type: ignore[union-attr]
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    images = datamodule.samples.images
    if not isinstance(images, np.memmap):  # made in memory: no cache's folder says what they are
        digest.update(hashes(images, rows).tobytes())
    content = Path(str(images.filename)).parent.name if isinstance(images, np.memmap) else ""
    model = dict(module.hparams["model"])
    pooling = (model.pop("head", None) or {}).get("pooling")  # the rest of the head comes after the features
    network_input = module.preprocess.as_dict()
    del network_input["framing"]  # it changes no pixel of the input
    settings = {"input": network_input, "images": content, "model": model, "pooling": pooling}
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode() + rows.tobytes())
    return digest.hexdigest()[:12]


def _run(
    module: FERModule, datamodule: FERDataModule, rows: npt.NDArray[np.int64], device: torch.device
) -> npt.NDArray[np.float32]:
    net: nn.Module = module.net.to(device)
    parts = []
    training = net.training
    net.eval()
    with torch.no_grad(), progress.bar("features", len(rows), _PROGRESS) as bar:
        for start in range(0, len(rows), _BATCH):
            images = torch.from_numpy(np.ascontiguousarray(datamodule.samples.images[rows[start : start + _BATCH]]))
            x = module.preprocess(images.to(device)).to(memory_format=module.memory_format)
            parts.append(net.forward_features(x).float().cpu().numpy())  # type: ignore[operator]
            bar.update(len(images))
    net.train(training)
    return np.concatenate(parts)
