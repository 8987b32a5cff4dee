"""Photographs become a dataset of faces: ``python -m fer.faces source=photos to=faces``."""

from typing import TYPE_CHECKING

from fer.cli import command
from fer.cli.in_python import settled

if TYPE_CHECKING:
    from omegaconf import DictConfig


def faces(cfg: "DictConfig") -> None:
    """Find the faces of photographs in class folders, cut them out, and write them with a manifest and a sheet.

    A repeated command does what is left: photographs that were added, changed, or not reached before. Faces of
    photographs that are gone are removed.

    Args:
        cfg: The composed ``conf/faces.yaml``.

    Raises:
        FERError: If there are no photographs, the folder holds something else, another command is at work in it, or the
            detector cannot be used.
    """
    import os

    from fer.cropping import dataset, photos
    from fer.cropping.cutting import Cutter
    from fer.errors import ConfigError
    from fer.files import run_lock
    from fer.files.home import expanded
    from fer.framing.detectors import build_detector

    config = settled(cfg)
    root, to = expanded(config["source"]), expanded(config["to"])
    if root.resolve() in (to.resolve(), *to.resolve().parents):
        raise ConfigError(f"to={to}: lies in the source folder, and would be read as photographs next time.")
    found = photos.find(root, config["subjects"])
    detector = build_detector(config["detector"])
    framing = None
    if config["ckpt"] is not None:
        from fer.training import resume
        from fer.training.checkpoint_content import load_checkpoint

        framing = resume.input_of(load_checkpoint(config["ckpt"])).framing
        if framing is None:
            raise ConfigError(f"ckpt={config['ckpt']}: its run did not measure how faces stand in its images.")
    to.mkdir(parents=True, exist_ok=True)
    run_lock.hold(to, key="to")  # two commands in one folder would mix their manifests
    keys = ("detector", "image_size", "margin", "min_size", "several")
    settings = {key: config[key] for key in keys} | {"framing": framing and framing.as_dict()}
    dataset.check_settings(to, {**settings, "source": os.path.realpath(root)})
    cutter = Cutter(
        root, to, detector, config["image_size"], config["margin"], framing, config["min_size"], config["several"]
    )
    rows, before = dataset.run(cutter, found)
    dataset.tell(to, rows, before, config["several"])


def main() -> None:
    """Compose the config from the command line and cut."""
    command.run(faces, "faces")


if __name__ == "__main__":
    # Through the import: Hydra names the log file by the function's module.
    from fer.faces import main as entry

    entry()
