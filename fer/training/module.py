"""The LightningModule: one network, its loss, its optimiser and its scores, rebuilt from plain data alone."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from fer import compat
from fer.data.base import limited
from fer.errors import ConfigError, TrainingError, did_you_mean
from fer.models import build_model
from fer.models.preprocessing import Preprocessing
from fer.scores.metrics import epoch_scores
from fer.scores.seen_images import KEY, PARENT, merged, seen_images
from fer.training.checkpoint_content import TEACHERS
from fer.training.losses import batch_weight, build_loss, build_mix
from fer.training.optim import GROUPING, build_optimizer, build_scheduler, parameter_groups
from fer.training.rebuild import rebuild
from fer.training.tta import CHOICES, views

if TYPE_CHECKING:
    from fer.training.teaching import Teachers


class FERModule(pl.LightningModule):
    """Trains and applies one network on uint8 face images.

    Every argument is plain data and is stored in the checkpoint, which is thus enough to rebuild the module.

    Args:
        classes: Class names in label order.
        preprocessing: ``image_size``, ``channels``, ``mean``, ``std`` and ``fit`` of the network's input, and the
            ``framing`` of its faces.
        model: The ``model`` group: ``_target_`` and options.
        loss: The ``loss`` group: ``_target_`` and options, with ``class_weights`` as a list or None.
        optimizer: The ``optimizer`` group.
        scheduler: The ``scheduler`` group.
        mixup: The ``mixup`` group: ``mixup_alpha`` and ``cutmix_alpha``, 0 for off.
        monitor: The validation score that checkpoints and plateau schedules watch.
        seed: Seeds each training step's random numbers.
        channels_last: Keep weights and images in channels-last memory format.
        load_weights: Fetch pretrained weights if ``model`` asks for them; off when a checkpoint brings its own.

    Attributes:
        classes: Class names in label order.
        preprocess: From stored images to the network's input.
        net: The network: float (B, channels, image_size, image_size) -> logits (B, C).
        tta: Test-time augmentation of predictions and of the test split, one of :data:`fer.training.tta.CHOICES`. It
            stands in no checkpoint, and may be changed between two predictions.
        train_size: Side of training images in pixels where a callback changes it; None for the input's own.
        seen_before: What the checkpoint carries of images that the training goes on from, or began with; None from
            scratch.
        parent: What is known of the model whose weights the training began with (``init=``): plain data, kept in each
            checkpoint; None without.
        teachers: What the training learns from beside the labels; a checkpoint names them. None for the labels alone.
        val_confusion: int64 (C, C), the last validation epoch's confusion matrix, true class in rows; None before.

    Raises:
        ConfigError: If an option cannot be used.
    """

    val_confusion: Tensor | None
    train_size: int | None

    def __init__(
        self,
        classes: Sequence[str],
        preprocessing: Mapping[str, Any],
        model: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        mixup: Mapping[str, float],
        monitor: str = "val/f1_macro",
        seed: int = 0,
        channels_last: bool = False,
        load_weights: bool = True,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["load_weights"], logger=False)
        self.classes = list(classes)
        self.preprocess = Preprocessing.from_dict(preprocessing)
        self.net = build_model(
            model,
            len(classes),
            self.preprocess.channels,
            self.preprocess.image_size,
            load_weights=load_weights,
        )
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net.to(memory_format=self.memory_format)
        self.loss = build_loss(loss, len(classes))
        self.mix = build_mix(mixup, len(classes))
        # Metrics for the losses too: one logged with sync_dist is summed up whenever the first process's progress bar
        # looks at it, while the others are elsewhere.
        self.train_loss, self.val_loss = MeanMetric(), MeanMetric()
        self.train_metric, self.val_metric, self.test_metric = (
            MulticlassConfusionMatrix(len(classes), validate_args=False) for _ in range(3)
        )
        self.tta, self.train_size, self.val_confusion = "none", None, None
        self.teachers: Teachers | None = None
        self._seen_images: dict[str, Any] | None = None  # made when the first checkpoint is
        self.seen_before: Mapping[str, Any] | None = None
        self.parent: Mapping[str, Any] | None = None

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's would build whatever the file names
        cls,
        checkpoint_path: str | Path,
        trusted: Sequence[Mapping[str, Any]] = (),
        packages: Collection[str] = (),
        *,
        map_location: str | torch.device = "cpu",
        tta: str = "none",
    ) -> Self:
        """Rebuild a trained module from its checkpoint alone, in eval mode. Nothing that is in the file is run.

        Args:
            checkpoint_path: The checkpoint, or a run's folder (for its best checkpoint).
            trusted: ``model`` and ``loss`` as the user gave them: the same ones in the checkpoint may be built.
            packages: Packages whose networks and losses may be built besides this project's (``my_package``).
            map_location: The device that the module goes to.
            tta: Test-time augmentation of its predictions.

        Raises:
            ConfigError: If ``tta`` is none of those allowed.
            FERError: If the file cannot be used, or names a network or loss that is not allowed.
        """
        if tta not in CHOICES:
            raise ConfigError(f"tta={tta}: must be one of {', '.join(CHOICES)}.{did_you_mean(str(tta), CHOICES)}")
        module = rebuild(cls, checkpoint_path, trusted, packages).to(map_location)
        module.tta = tta
        return module

    @property
    def name(self) -> str:
        """The network's name: timm's, or its class."""
        return str(getattr(self.net, "name", type(self.net).__name__))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float (B, C), for images as stored: uint8 (B, H, W) or (B, H, W, 3)."""
        return self.net(self._input(images))  # type: ignore[no-any-return]

    def _input(self, images: Tensor, size: int | None = None) -> Tensor:
        # The module's dtype: with precision=bf16-true and its like the weights are not float32.
        return self.preprocess(images, size).to(self.dtype, memory_format=self.memory_format)

    def on_fit_start(self) -> None:
        """Keep the losses' means in float32: bf16-true and its like have made them as short as the weights."""
        for mean in (self.train_loss, self.val_loss):
            mean.set_dtype(torch.float32)

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Seed the step by its place in the run, so that a resumed run draws what the uninterrupted one would have."""
        place = [self.hparams["seed"], self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch of ``image``, ``label`` and, with several raters, ``target``.

        Where a frozen backbone's ``features`` are at hand, they take the place of the images.
        """
        labels = batch["label"]
        target = batch.get("target", labels)
        if "features" in batch:
            logits = self.net.head(batch["features"])  # type: ignore[operator]
        else:
            x = self._input(batch["image"], self.train_size)
            if self.mix is not None:
                x, target = self.mix(x, target)
            logits = self._fitted(x)
        loss, weight = self._mean_loss(logits, target)
        whole = loss * self._share_of_devices(weight)
        if self.teachers is not None:
            whole = self.teachers.blended(whole, logits, batch["image"])
        self._refuse_non_finite(whole, batch_idx)
        self.train_metric.update(logits.detach().argmax(1), labels if self.mix is None else target.argmax(1))
        self.log("train/loss_step", loss)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        self.train_loss.update(loss.detach().float(), weight)
        return whole

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of ``image`` and ``label``."""
        (logits,) = self._logits(batch, "none")
        if not torch.isfinite(logits).all():
            raise TrainingError(
                "the network's answers on validation images are not finite, so that no score would be true. Try a "
                "lower optimizer.lr or, with 16-mixed, trainer.precision=bf16-mixed."
            )
        loss, weight = self._mean_loss(logits, batch["label"])
        self.val_loss.update(loss.float(), weight)
        self.val_metric.update(logits.argmax(1), batch["label"])

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of ``image`` and ``label``, with test-time augmentation."""
        self.test_metric.update(self._mean(batch).argmax(1), batch["label"])

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return ``probabilities`` float32 (B, C) and the batch's ``row`` and ``label``."""
        return {"probabilities": self._mean(batch), "row": batch["row"], "label": batch["label"]}

    def probabilities(self, images: Tensor) -> Tensor:
        """Return float32 (B, C) for images as stored, uint8 (B, H, W) or (B, H, W, 3): what tests score."""
        return self._mean({"image": images})

    def _mean(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.stack([logits.float().softmax(1) for logits in self._logits(batch, self.tta)]).mean(0)

    def _logits(self, batch: dict[str, Tensor], tta: str) -> list[Tensor]:
        if "features" in batch:  # of unaugmented images
            return [self.net.head(batch["features"])]  # type: ignore[operator]
        return [self(view) for view in views(batch["image"], tta)]

    def _fitted(self, x: Tensor) -> Tensor:
        try:
            return self.net(x)  # type: ignore[no-any-return]
        except ValueError as error:
            if len(x) > 1 or "more than 1 value per channel" not in str(error):
                raise
            devices = self.trainer.world_size
            raise TrainingError(
                f"a batch of one image a device: this network's batch normalisation needs two or more. Set "
                f"data.batch_size={2 * devices} or more, or choose a network without it (timm has many, such as "
                f"model=vit_tiny)."
            ) from error

    def _mean_loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of this process's share of a batch, and that share's weight in the whole."""
        return self.loss(logits, target), batch_weight(self.loss, target)

    def _share_of_devices(self, weight: Tensor) -> Tensor | float:
        """Return the factor by which the devices' gradients, averaged, are those of one device with all of the batch.

        Without class weights every device's share of a batch counts the same.
        """
        if self.trainer.world_size == 1 or getattr(self.loss, "weight", None) is None:
            return 1.0
        return weight / self.trainer.strategy.reduce(weight.clone(), reduce_op="mean")

    def on_train_epoch_end(self) -> None:
        """Log the epoch's training scores."""
        scores, _ = epoch_scores(self.train_metric, self.classes, "train/")
        scores["train/loss"] = self.train_loss.compute()
        self.train_loss.reset()
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]
        # Already the same on every process; sync_dist keeps Lightning from warning of that.
        self.log_dict({**scores, "lr": lr}, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's validation scores, and keep its confusion matrix for the callbacks."""
        scores, self.val_confusion = epoch_scores(self.val_metric, self.classes, "val/")
        scores["val/loss"] = self.val_loss.compute()
        self.val_loss.reset()
        self.log_dict(scores, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Log the test split's scores."""
        self.log_dict(epoch_scores(self.test_metric, self.classes, "test/")[0], sync_dist=True)

    def setup(self, stage: str) -> None:
        """Sort the parameters while they have their shapes: FSDP flattens them before the optimiser is built."""
        if stage == "fit":
            grouping = {key: self.hparams["optimizer"][key] for key in GROUPING}
            self._groups = parameter_groups(self.net, **grouping)

    def configure_optimizers(self) -> Any:
        """Build optimiser and schedule."""
        optimizer = build_optimizer(self.hparams["optimizer"], self._groups)
        batches, steps = self._epoch_length()
        scheduler = build_scheduler(self.hparams["scheduler"], optimizer, self.total_steps(), steps)
        if isinstance(scheduler["scheduler"], ReduceLROnPlateau):
            # Lightning steps an epoch's plateau schedule after the epoch's checkpoint is written, so a resumed run
            # would lack that step. Counted in batches it is taken right after validation, before the checkpoint.
            every = batches * (self.trainer.check_val_every_n_epoch or 1)
            scheduler |= {"interval": "step", "frequency": every, "monitor": self.hparams["monitor"]}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add fingerprints of the images that fit and choose this model: tests then find leaks without them."""
        if self._seen_images is None and self.trainer.is_global_zero:
            self._seen_images = seen_images(self.trainer.datamodule, self.seen_before)  # type: ignore[attr-defined]
        checkpoint[KEY] = self._seen_images
        if self.parent is not None:
            checkpoint[PARENT] = dict(self.parent)
        checkpoint[TEACHERS] = {} if self.teachers is None else self.teachers.record

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Fit a checkpoint to the run that goes on with it; tests and predictions need its weights alone.

        Raises:
            ConfigError: If the schedule was planned for another number of steps and cannot be stretched.
        """
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        self.seen_before, self.parent = checkpoint.get(KEY), checkpoint.get(PARENT)
        if self.teachers is not None:  # they may be others than the run began with
            self.seen_before = merged([self.seen_before, self.teachers.seen])
        for state in checkpoint.get("lr_schedulers", []):
            planned, given = state.get("total_steps"), self.hparams["scheduler"].get("total_steps")
            now = self.total_steps() if given is None else given
            if planned is not None and planned != now:
                raise ConfigError(
                    f"the schedule was planned for {planned} steps, and the resumed run would take {now}: a one-cycle "
                    f"schedule cannot be stretched. Keep trainer.max_epochs, data.batch_size and "
                    f"trainer.accumulate_grad_batches as they were."
                )
        # The run's folder may have been moved. As ModelCheckpoint names it: behind a link it would be another one.
        folder = Path(self.trainer.default_root_dir).resolve() / "checkpoints"
        compat.follow_moved_folder(checkpoint.get("callbacks", {}), folder)

    def _epoch_length(self) -> tuple[int, int]:
        """Return the number of batches and of optimiser steps of an epoch."""
        # Lightning's estimated_stepping_batches would make the loaders here, before a resumed run knows its epoch.
        batches = len(self.trainer.datamodule.train_batches(world_size=self.trainer.world_size))  # type: ignore[attr-defined]
        batches = max(1, limited(batches, self.trainer.limit_train_batches))
        return batches, math.ceil(batches / self.trainer.accumulate_grad_batches)

    def steps_per_epoch(self) -> int:
        """Return the number of optimiser steps of an epoch."""
        return self._epoch_length()[1]

    def total_steps(self) -> int | None:
        """Return the number of optimiser steps of the run; None if it has no end by epochs or steps."""
        limits = []
        if self.trainer.max_steps > 0:
            limits.append(self.trainer.max_steps)
        if self.trainer.max_epochs and self.trainer.max_epochs > 0:
            limits.append(self.steps_per_epoch() * self.trainer.max_epochs)
        return min(limits, default=None)

    def _refuse_non_finite(self, loss: Tensor, batch_idx: int) -> None:
        # On a GPU the look costs a synchronisation, so it is taken now and then; a bad loss stays bad until then.
        if self.device.type != "cpu" and batch_idx % 50 and not self.trainer.is_last_batch:
            return
        if not torch.isfinite(loss):
            lr = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise TrainingError(
                f"the loss is {loss.item()} in epoch {self.current_epoch + 1}, step {self.global_step}, at lr "
                f"{lr:.3g}. Try a lower optimizer.lr, gradient clipping (trainer.gradient_clip_val=1) or, with "
                f"16-mixed, trainer.precision=bf16-mixed. The last good checkpoint is kept in the run's "
                f"checkpoints folder."
            )
