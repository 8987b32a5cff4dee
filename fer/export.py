"""Write a trained model as a file for other programs: ``python -m fer.export ckpt=outputs/<name>/<time>``."""

import shutil
from typing import TYPE_CHECKING

from fer.cli import command
from fer.cli.in_python import settled
from fer.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def export(cfg: "DictConfig") -> None:
    """Write a checkpoint in a format of other programs; compare it with torch; write a model card.

    Args:
        cfg: The composed ``conf/export.yaml``.

    Raises:
        FERError: If the checkpoint cannot be used or exported, or the export answers otherwise than torch does.
    """
    if cfg.get("ckpt") is None:
        raise ConfigError("ckpt: which model? Name a run: python -m fer.export ckpt=outputs/<name>/<time>")
    # Imported here, so that a mistake in the command is reported before the seconds that torch takes.
    from pathlib import Path

    from fer import environment
    from fer.exporting import packages
    from fer.files import export as export_file
    from fer.files import hub

    config = settled(cfg)
    packages.need(config["format"], config["int8"])
    if config["push"] is not None:
        hub.check_push(config["push"])
    elif config["public"]:
        raise ConfigError("public=true: is for push=<user>/<name>, which is not given.")
    ckpt, pinned = hub.local(config["ckpt"])
    export_file.check_again(ckpt, config["ckpt"])
    config |= {"ckpt": ckpt, "hub": pinned}
    environment.check()
    from fer.exporting import card, checks, formats, int8, record
    from fer.exporting.graph import ExportedGraph
    from fer.files import run_folder
    from fer.predicting.exported import ExportedNetwork
    from fer.progress import step

    folder = Path(config["output_dir"])
    run_folder.refuse_used(folder, export_file.FILE)
    if (folder / "checkpoints").is_dir():
        raise ConfigError(f"output_dir={folder}: is a run's folder. Say one in it: output_dir={folder}/export")
    environment.quieten(first=True)
    formats.quieten()

    # The model, and images to compare it on: the run's own, else drawn ones.
    module = record.original(config)
    metrics = record.metrics_of(config["ckpt"])
    tests = [*record.soup_of(config["ckpt"]), *record.tests_of(config["tests"], config["ckpt"])]
    datamodule = record.data(config["ckpt"], config["trust"], module, needed=config["int8"])
    rows = checks.rows_to_compare(datamodule, config["images"])
    images = datamodule.samples.images

    # The file, which takes its place once it is known to be the same model.
    work = folder / export_file.UNFINISHED
    shutil.rmtree(work, ignore_errors=True)  # of an export that was stopped
    work.mkdir(parents=True)
    path = work / export_file.NAMES[config["format"]]
    description = record.describe(module, config, path.name)
    with step(f"writing {path.name}"):
        if config["format"] == "safetensors":
            formats.write_safetensors(module, path)
        else:
            writers = {"onnx": formats.write_onnx, "openvino": formats.write_openvino}
            write = writers.get(config["format"], formats.write_torch_export)
            write(ExportedGraph(module, description["temperature"]).eval(), path, description)
        export_file.write(work, description)

    # Is it the same model?
    reference = checks.in_torch(module, description["temperature"])
    with step("comparing with torch"):
        exported = checks.of_torch_export(path) if path.suffix == ".pt2" else checks.of(ExportedNetwork(work))
        found = checks.compare(reference, exported, images, rows, module.preprocess.image_size)
    record.refuse_other_answers(found, config["tolerance"], path)
    export_file.finish(work, folder)
    path = folder / path.name
    price = None
    if config["int8"]:
        with step("calibrating for 8 bits"):
            work.mkdir()
            try:
                price = int8.measured(path, work / path.name, datamodule, config["max_drop"])
                exported = checks.of(ExportedNetwork(work))
                found = checks.compare(reference, exported, images, rows, module.preprocess.image_size)
                export_file.finish(work, folder)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    export_file.write(folder, description | record.measured(found, price))
    where = f"{hub.PREFIX}{config['push']}" if config["push"] else folder.name
    card.write(folder, description | record.measured(found, price), metrics, tests, found, where)
    record.print_table(folder, path, found, price)
    if config["push"]:
        record.print_pushed(hub.push(folder, config["push"], config["public"]))


def main() -> None:
    """Compose the config from the command line and export."""
    command.run(export, "export")


if __name__ == "__main__":
    main()
