"""Train a network: ``python -m fer.train model=densenet121 data=fer2013 trainer.devices=2``."""

from typing import TYPE_CHECKING

from fer import imports
from fer.cli import command
from fer.cli.in_python import in_folder, settled
from fer.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def train(cfg: "DictConfig") -> float | None:
    """Train, choose the best checkpoint on the validation split, and score it there and, once, on the test split.

    Args:
        cfg: The composed ``conf/train.yaml``.

    Returns:
        The best validation score, which a sweep compares; None in every process but the first, and where
        only a preview or a learning rate was asked for.

    Raises:
        FERError: If the config, the data or the run allows no training.
        Interrupted: If the run was asked to stop; it has saved its state.
    """
    # Imported here, so that a mistake in the command is reported before the seconds that torch takes.
    with imports.quickly():
        from fer import compat, environment

        environment.check()  # packages that do not fit together would fail below, with messages that say nothing
        from dataclasses import replace
        from pathlib import Path

        import pytorch_lightning as pl
        from hydra.core.hydra_config import HydraConfig

        from fer.build import build
        from fer.cli import run_check
        from fer.data import refine
        from fer.files import run_record
        from fer.framing import measure
        from fer.models import preprocessing
        from fer.training import (
            calibration,
            features,
            heap,
            launch,
            opening,
            parent,
            precision,
            predict,
            results,
            resume,
            teaching,
            together,
        )
        from fer.training.checkpoint import AtomicCheckpointIO, restoring
        from fer.training.checkpoint_content import load_checkpoint
        from fer.training.loggers import HistoryLogger, KeepHistory
        from fer.training.module import FERModule
        from fer.training.stopping import StopOnSignal

    config = settled(cfg)
    if (folder := together.agree(config["output_dir"], config["trainer"].get("num_nodes", 1))) != config["output_dir"]:
        config = in_folder(cfg, folder)
    run = Path(config["output_dir"])
    look_first = config["preview"] or config["lr_find"]
    if look_first:
        from fer.training import lr_finder, preview  # with matplotlib, which would delay a training

        preview.refuse(config)
    if search := config["data"]["batch_size"] == "auto":
        from fer.training import batch_finder

        batch_finder.refuse(config)
        config["data"]["batch_size"] = 1  # until it is found
    first = not launch.is_child()
    environment.quieten(first)
    heap.keep_freed_memory()
    config["trainer"]["precision"] = precision.settle(config["trainer"]["precision"], config["trainer"]["accelerator"])
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    resumed = load_checkpoint(config["ckpt"]) if config["ckpt"] else None
    if resumed:
        resume.refuse_another_recipe(resumed, config)
    began_with = parent.read(config["init"], config["model"]) if config["init"] and not resumed else None
    said = {override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task}
    if began_with:
        parent.inherit_input(config["data"], began_with.preprocessing, said)
    elif resumed and config["init"]:
        parent.inherit_input(config["data"], resume.input_of(resumed), said)

    # Data.
    datamodule = build(config["data"], "data", seed=config["seed"], transforms=config["transforms"])
    datamodule.setup("fit")
    run_check.refuse_too_short(config["trainer"], *datamodule.batches())
    classes = datamodule.classes
    monitored = config["monitor"].partition("/f1/")[2]
    if monitored and monitored not in classes:
        known = ", ".join(f"val/f1/{name}" for name in classes)
        raise ConfigError(f"monitor={config['monitor']}: {datamodule.name} has no such class. There are: {known}.")

    # Network: its input follows the pretrained weights, where there are any.
    pretrained = preprocessing.of_pretrained(config["model"])
    model_input = preprocessing.resolve(datamodule.input_options, pretrained)
    loss = dict(config["loss"])
    if loss.get("class_weights") == "balanced":
        counts = datamodule.class_counts("train")
        loss["class_weights"] = (counts.sum() / (len(classes) * counts.clip(1))).tolist()  # of none: as if of one
    if "class_priors" in loss and loss["class_priors"] is None:
        counts = datamodule.class_counts("train").clip(1)
        loss["class_priors"] = (counts / counts.sum()).tolist()
    if resumed:
        resume.refuse_other_data(resumed, datamodule, model_input, loss)
        model_input = replace(model_input, framing=resume.input_of(resumed).framing)
        del resumed  # Lightning reads it once more
    elif began_with and began_with.preprocessing.framing and "framing" not in said:
        model_input = replace(model_input, framing=began_with.preprocessing.framing)
    elif config["framing"] and first and not look_first:
        images, rows, kept = datamodule.samples.images, datamodule.rows("train"), datamodule.cache_dir
        model_input = replace(model_input, framing=measure.told(images, rows, datamodule.fit, cache_dir=kept))
    module = FERModule(
        classes=list(classes),
        preprocessing=model_input.as_dict(),
        loss=loss,
        **{key: config[key] for key in ("model", "optimizer", "scheduler", "mixup")},
        **{key: config[key] for key in ("monitor", "seed", "channels_last")},
        load_weights=config["ckpt"] is None,
    )
    if began_with:
        parent.fill(module, began_with)
    if config["teacher"] is not None:
        teaching.attach(module, config, (config["model"], loss))
    if config["compile"]:
        module.net.compile()  # in place: unlike torch.compile(net) it leaves the state dict's keys alone
    if search:
        config["data"]["batch_size"] = datamodule.batch_size = batch_finder.find(config, datamodule, module)
        run_check.refuse_too_short(config["trainer"], *datamodule.batches())
        run_record.add_to_command(f"data.batch_size={datamodule.batch_size}")  # so that no resumed run searches again
    if look_first:
        with together.watched():  # the others are done, and not gone
            if first:
                (preview if config["preview"] else lr_finder).show(config, datamodule, module, run)
        return None

    # Fit, in one process per device.
    callbacks = [build(node, f"callbacks.{name}") for name, node in config["callbacks"].items() if node]
    other_bar = any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks)  # in place of ours
    loggers = [build(node, f"logger.{name}") for name, node in config["logger"].items() if node]
    history = next((logger for logger in loggers if isinstance(logger, HistoryLogger)), None)
    callbacks.append(KeepHistory(history))
    if config["ckpt"]:
        callbacks.insert(0, opening.RecordResumed(run, config))
    # It saves after a step what the others (averaged weights) have made of that step.
    callbacks.sort(key=lambda callback: isinstance(callback, StopOnSignal))
    trainer = build(
        config["trainer"], "trainer", callbacks=callbacks, logger=loggers,
        plugins=[AtomicCheckpointIO(), launch.cluster()], enable_progress_bar=other_bar, default_root_dir=str(run),
        use_distributed_sampler=False,
    )  # fmt: skip
    launch.refuse_too_many(trainer)
    compat.resume_by_epochs(trainer)
    if first:
        opening.open_run(run, config, module.parent)
        opening.describe(datamodule, module, trainer, run)
        if config["data"].get("refine") is not None:
            refine.write_changes(run / refine.TABLE, datamodule.samples)
        if module.teachers is not None:
            module.teachers.describe(datamodule)
        if began_with:
            parent.warn_of_seen(began_with, datamodule)
    if config["cache_features"] and module.teachers is None and features.are_constant(module, datamodule):
        datamodule.use_features(features.compute(module, datamodule, trainer.strategy.root_device))
    with together.watched(), launch.processes(trainer), restoring(trainer, config["ckpt"]):
        trainer.fit(module, datamodule, ckpt_path=config["ckpt"], weights_only=True)
    epochs = trainer.fit_loop.epoch_progress.current
    epochs.completed = epochs.processed  # a resumed run with nothing left to train has not counted its last one yet
    if not first or not trainer.is_global_zero or trainer.fast_dev_run:
        return None

    # Score the best checkpoint on one device, the test split once.
    if config["tta"] != "none":
        datamodule.use_features(None)  # which are of unaugmented images
    checkpoint = results.best(trainer)
    own = config["model"], loss  # the user's, whatever they name
    best = FERModule.load_from_checkpoint(checkpoint.best_model_path, trusted=own, tta=config["tta"])
    options = config["trainer"]
    device = trainer.strategy.root_device.index  # of a GPU: others may belong to somebody else
    single = predict.scorer(run, options["accelerator"], options["precision"], options["enable_progress_bar"], device)
    splits = [split for split in ("val", "test") if len(datamodule.rows(split))]
    predictions = [predict.predict(best, datamodule, split, single) for split in splits]
    # The last epoch's weights too, which no score has chosen; on the test split only where that was asked for.
    also = len(splits) if config["test_last_epoch"] else 1
    last_path = results.last(trainer)
    last_epoch = predictions[:also] if last_path else []
    if last_path and results.epoch_of(last_path) != results.epoch_of(checkpoint.best_model_path):
        last = FERModule.load_from_checkpoint(last_path, trusted=own, tta=config["tta"])
        last_epoch = [predict.predict(last, datamodule, split, single) for split in splits[:also]]
    summary = results.summary(config, checkpoint, trainer, results.brief(last_epoch, classes))
    if module.parent or module.teachers is not None:
        summary |= parent.seen_by(checkpoint.best_model_path, module, datamodule, predictions, summary["stamp"])
    best.tta = "none"  # as exports answer, and predictions by default: several views' means need another temperature
    plain = predictions[0] if config["tta"] == "none" else predict.predict(best, datamodule, splits[0], single)
    summary["calibration"] = calibration.keep(checkpoint.best_model_path, plain)
    metrics = results.write(run, predictions, classes, summary)
    results.log_hparams(trainer, config, metrics, run)
    run_record.finish(run, trainer.current_epoch)
    notes = [] if "test" in metrics else ["There is no test split, so this run has no test score."]
    if best.preprocess.framing:
        notes.append(f"Faces in its images: {best.preprocess.framing}.")
    if module.parent or module.teachers is not None:
        notes += parent.told(metrics)
    results.print_tables(metrics, run, notes)
    assert checkpoint.best_model_score is not None
    return float(checkpoint.best_model_score)


def main() -> None:
    """Compose the config from the command line and train."""
    command.run(train, "train")


if __name__ == "__main__":
    # Through the import, so that sweeps can hand the function to other processes by its name.
    from fer.train import main as entry

    entry()
