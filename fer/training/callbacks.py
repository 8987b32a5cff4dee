"""Callbacks that show what is trained, and callbacks that change how: pictures, image sizes, frozen layers."""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from fer.errors import ConfigError
from fer.models.checks import rehearsal
from fer.scores.protocol import SELECTED_ON_TEST
from fer.training.module import FERModule
from fer.training.progress import planned_epochs
from fer.training.trackers import add_figure, shows_figures


class ConfusionMatrixPicture(pl.Callback):
    """Show each validation epoch's confusion matrix in TensorBoard and other trackers."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the matrix that the module keeps."""
        assert isinstance(pl_module, FERModule)
        if not shows_figures(trainer) or pl_module.val_confusion is None or trainer.sanity_checking:
            return
        from fer.plots.figures import confusion_figure  # matplotlib would delay the first step

        stamp = SELECTED_ON_TEST if trainer.datamodule.select_on_test else None  # type: ignore[attr-defined]
        title = f"{trainer.datamodule.name} val · epoch {trainer.current_epoch + 1}"  # type: ignore[attr-defined]
        figure = confusion_figure(pl_module.val_confusion.cpu().numpy(), pl_module.classes, title, stamp)
        add_figure(trainer, "val/confusion", figure, trainer.global_step)


class SampleGrid(pl.Callback):
    """Show the first training batch as the network sees it: after augmentation, with its labels.

    It is drawn when the first epoch ends: matplotlib's import and the drawing would delay the second step.

    Args:
        num_images: At most this many images.
    """

    def __init__(self, num_images: int = 40) -> None:
        self.num_images = num_images
        self._kept: tuple[npt.NDArray[np.uint8], list[int]] | None = None  # images and labels

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Keep the images of the run's first step."""
        if trainer.current_epoch > 0 or self._kept is not None or not shows_figures(trainer):
            return
        n = self.num_images
        # A copy: a view would keep the whole batch.
        self._kept = batch["image"][:n].cpu().numpy().copy(), batch["label"][:n].tolist()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the grid once."""
        if trainer.current_epoch > 0 or self._kept is None:
            return
        from fer.plots.figures import sample_figure

        assert isinstance(pl_module, FERModule)
        add_figure(trainer, "train/samples", sample_figure(*self._kept, pl_module.classes), 0)


class ProgressiveResizing(pl.Callback):
    """Train on smaller images first, which is faster, and on the network's own size in the end.

    Validation and the checkpoint always use the network's own size, so the network must take any (global pooling).
    Source: Howard, "Training Imagenet in 3 hours for USD 25", fast.ai 2018.

    Args:
        image_size: Side of the smaller training images in pixels.
        share: Share of the epochs that they are used for, from the first on.
    """

    def __init__(self, image_size: int, share: float = 0.5) -> None:
        self.image_size, self.share = image_size, share

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a network that takes one size alone."""
        assert isinstance(pl_module, FERModule)
        if trainer.datamodule.features is not None:  # type: ignore[attr-defined]
            raise ConfigError("callbacks.progressive_resizing: a frozen backbone's cached features have one size.")
        shape = (2, pl_module.preprocess.channels, self.image_size, self.image_size)
        try:
            with rehearsal(pl_module.net), torch.no_grad():
                pl_module.net(torch.zeros(shape, device=pl_module.device).to(pl_module.dtype))
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"callbacks.progressive_resizing: {type(pl_module.net).__name__} does not take images of another size "
                f"({self.image_size}x{self.image_size}) than it was built for; it needs global pooling ({error})."
            ) from error

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the size of an epoch that is gone on with: Lightning does not start it again."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the epoch's size.

        Raises:
            ConfigError: If nothing says how many epochs there will be.
        """
        assert isinstance(pl_module, FERModule)
        if not (planned := planned_epochs(trainer)):
            raise ConfigError(
                "callbacks.progressive_resizing: goes by the run's number of epochs, which nothing says. Set "
                "trainer.max_epochs or trainer.max_steps."
            )
        if self.image_size > pl_module.preprocess.image_size:
            raise ConfigError(
                f"callbacks.progressive_resizing.image_size={self.image_size}: is above the network's own, "
                f"data.image_size={pl_module.preprocess.image_size}. Say a smaller one, or leave the callback out "
                f"(callbacks.progressive_resizing=null)."
            )
        small = trainer.current_epoch < self.share * planned
        pl_module.train_size = self.image_size if small else None


class GradualUnfreezing(pl.Callback):
    """Train the head alone first, and the backbone with it from an epoch on.

    In place of Lightning's BackboneFinetuning, which adds the backbone's parameters to the optimiser in mid-run:
    torch's schedules refuse that, and a run resumed after that epoch would train with the backbone frozen. Here the
    parameters are in the optimiser from the start, and an epoch's number alone says whether they are trained. How
    fast is ``optimizer.backbone_lr_factor``.

    Args:
        epoch: The number of epochs that train the head alone.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse what cannot be unfrozen."""
        backbone = getattr(pl_module.net, "backbone", None)
        if backbone is None:
            raise ConfigError(
                f"callbacks.finetuning: {type(pl_module.net).__name__} has no backbone to unfreeze. Choose a network "
                f"that has one, or leave finetuning out."
            )
        if not any(p.requires_grad for p in backbone.parameters()):
            raise ConfigError(
                f"callbacks.finetuning: the backbone of {type(pl_module.net).__name__} is frozen for good. Say "
                f"model.freeze=false: finetuning itself freezes it in the first epochs."
            )
        if trainer.world_size > 1:
            raise ConfigError("callbacks.finetuning: works on one device; DDP cannot take parameters in later.")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze in an epoch that is gone on with: Lightning does not start it again."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze or unfreeze the backbone, its batch-norm statistics and dropout too."""
        backbone = cast(nn.Module, cast(FERModule, pl_module).net.backbone)
        trained = trainer.current_epoch >= self.epoch
        backbone.requires_grad_(trained)
        backbone.train(trained)
