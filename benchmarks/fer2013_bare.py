"""FER2013 on a CPU by a bare loop: what ``experiment=fer2013_cpu`` is measured beside.

    python -m benchmarks.fer2013_bare <FER2013's folder> [epochs]

A plain network of 575k parameters at 48 pixels, bf16 autocast, channels-last, one-cycle SGD, light augmentation and
label smoothing; no validation during training, no logging, no checkpoints, no progress bar. Prints minutes and the
accuracy of the last epoch's weights on PublicTest, plain and with the mirror image's probabilities added.
"""

import sys
import time

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.bare_loop import train_epoch
from fer.cli.command import conf_dir
from fer.datasets.fer2013 import FER2013
from fer.models import build_model
from fer.models.preprocessing import Preprocessing


def main(root: str, epochs: int = 10) -> None:
    """Train and print."""
    start = time.perf_counter()
    torch.manual_seed(0)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["transforms=light", "model=small_cnn", "model.convs_per_block=[1,2,2,1]"])
        transforms, model = OmegaConf.to_container(cfg.transforms), OmegaConf.to_container(cfg.model)
    data = FER2013(root, batch_size=128, test_fraction=0.0, transforms=transforms)
    preprocess = Preprocessing(48, 1, (0.5,), (0.25,))

    def prepare(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return preprocess(batch["image"]), batch["label"]

    net = build_model(model, 7, 1, 48).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    batches = data.train_batches()
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(batches))
    loader = data.train_dataloader()
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    for epoch in range(epochs):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        train_epoch(net, loader, prepare, loss, optimizer, scheduler, torch.bfloat16)
    net.eval()
    right = np.zeros(2)
    for batch in data.eval_dataloader("val"):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            x = preprocess(batch["image"])
            once = net(x).float().softmax(1)
            both = once + net(x.flip(3)).float().softmax(1)
        right += [(p.argmax(1) == batch["label"]).sum().item() for p in (once, both)]
    plain_score, flip_score = right / len(data.rows("val"))
    minutes = (time.perf_counter() - start) / 60
    print(f"{epochs} epochs, {minutes:.1f} minutes: accuracy {plain_score:.4f}, with the mirror image {flip_score:.4f}")


if __name__ == "__main__":
    main(sys.argv[1], *(int(value) for value in sys.argv[2:]))
