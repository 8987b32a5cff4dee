"""Test a checkpoint on any dataset: ``python -m fer.test ckpt=outputs/<name>/<time> data=rafdb``."""

from typing import TYPE_CHECKING

from fer import imports
from fer.cli import command
from fer.cli.in_python import settled

if TYPE_CHECKING:
    from omegaconf import DictConfig


def evaluate(cfg: "DictConfig") -> None:
    """Score a checkpoint on one split of a dataset, and write what a paper's table needs.

    Everything about the model comes from the checkpoint alone: network, classes, preprocessing.

    It returns no score: a sweeper that got one would choose on the test split.

    Args:
        cfg: The composed ``conf/test.yaml``.

    Raises:
        FERError: If the checkpoint or the data cannot be used.
    """
    # Imported here, so that a mistake in the command is reported before the seconds that torch takes.
    from pathlib import Path

    from fer import environment
    from fer.files import export, hub
    from fer.predicting import explaining

    config = settled(cfg)
    config["ckpt"], config["hub"] = hub.local(config["ckpt"])
    export.check_test(config)
    if config["explain"]:
        explaining.check(config["ckpt"])
    with imports.quickly():
        environment.check()
        from fer.files import metrics, run_folder
        from fer.models.grad_cam import GradCam
        from fer.scores import calibration, seen_images
        from fer.scores.label_space import align
        from fer.testing import evaluation, exports, reframing, robustness, tables
        from fer.training import predict

    run = Path(config["output_dir"])
    run_folder.refuse_used(run, metrics.FILE)
    run.mkdir(parents=True, exist_ok=True)
    environment.quieten(first=True)

    # The model, from the checkpoint alone.
    mark = run_folder.checkpoint_mark(config["ckpt"])  # of what is read here: its run may go on and write the next
    module, checkpoint = exports.open_model(config)
    cam = GradCam(module.net, module.preprocess, module.name) if config["explain"] and module.net else None
    if config["frame"] == "match":
        reframing.check(config["ckpt"], module.preprocess.framing)

    datamodule, split = evaluation.data(config, module)
    space = align(module.classes, datamodule.classes, config["merge"])
    evaluation.describe(config["hub"] or config["ckpt"], module, datamodule, split, space)

    trainer = predict.scorer(run, exports.accelerator(module, config), config["precision"], show_bar=config["progress"])
    predictions = predict.predict(module, datamodule, split, trainer)
    reframed = reframing.predict(module, datamodule, split, trainer) if config["frame"] == "match" else None
    kinds = robustness.asked(config["corruptions"])
    corrupted = robustness.predict(module, datamodule, split, trainer, space, kinds) if kinds else None
    found = seen_images.find(checkpoint, datamodule.samples.images, predictions.rows)
    temperature = calibration.temperature_of(checkpoint)
    scores = evaluation.write(
        run, config, predictions, datamodule, space, found, mark=mark, reframed=reframed, temperature=temperature,
        cam=cam, corrupted=corrupted,
    )  # fmt: skip
    tables.print_tables(scores, run)


def main() -> None:
    """Compose the config from the command line and test."""
    command.run(evaluate, "test")


if __name__ == "__main__":
    # Through the import, so that sweeps can hand the function to other processes by its name.
    from fer.test import main as entry

    entry()
