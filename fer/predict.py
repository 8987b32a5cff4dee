"""Find emotions in pictures and videos: ``python -m fer.predict ckpt=outputs/<name>/<time> source=photo.jpg``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from fer import imports
from fer.cli import command
from fer.cli.in_python import settled
from fer.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig


def predict(cfg: "DictConfig") -> None:
    """Find the faces in pictures, videos or a camera's view, and write a row for each with its emotion.

    A command that was stopped goes on where it was, if it is given again.

    Args:
        cfg: The composed ``conf/predict.yaml``.

    Raises:
        FERError: If no model or source is named, or they cannot be used.
    """
    for key in ("ckpt", "source"):
        if cfg.get(key) is None:
            raise ConfigError(_MISSING[key])
    from pathlib import Path

    from fer.files import hub, run_lock
    from fer.framing.detectors import build_detector
    from fer.predicting import explaining, sources, workers

    config = settled(cfg)
    run = Path(config["output_dir"])
    number = sources.camera(config["source"])
    files = None if number is not None else sources.Files(str(config["source"]))
    if config["explain"] and (number is not None or (files and not files.pictures)):
        raise ConfigError(f"explain=true: is for pictures, and source={config['source']} holds none.")
    if config["workers"] is not None:
        workers.check(config, files)
    if number is not None:
        _check_camera(number, run)
    elif files and files.single and files.videos:
        sources.open_video(next(files.of_kind(video=True))).release()
    if config["detector"] != "none":
        build_detector(config["detector"])
    config["ckpt"], config["hub"] = hub.local(config["ckpt"])
    if config["explain"]:
        explaining.check(config["ckpt"])
    recipe = _recipe(config)
    if files and config["workers"] is not None:
        workers.run(config, files, recipe)
        return

    # Imported here, so that a mistake in the command is reported before the seconds that torch takes.
    with imports.quickly():
        from fer import environment

        environment.check()
        from fer.predicting import session
        from fer.predicting.model import load
        from fer.predicting.record import Record

    environment.quieten(first=True)
    options = {key: config[key] for key in ("tta", "margin", "batch_size", "trust")}
    model = load(config["ckpt"], config["detector"], device=config["accelerator"], **options)
    run.mkdir(parents=True, exist_ok=True)
    run_lock.hold(run)
    record = Record(run, model.classes, recipe)
    session.run(model, files or cast("int", number), record, config)


def _check_camera(number: int, run: "Path") -> None:
    """Refuse a camera that cannot be opened, or the folder of another recording: a camera sees no two alike."""
    from fer.predicting import sources
    from fer.predicting.record import ROWS

    if (run / ROWS).exists():
        raise ConfigError(f"output_dir={run} already holds a prediction. Choose another for a camera's.")
    sources.open_video(number).release()


def _recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the predictions: with another recipe they are not gone on with."""
    from fer.files import run_folder

    recipe: dict[str, Any] = {"source": _absolute(config["source"])}
    recipe |= {key: config[key] for key in ("detector", "tta", "margin", "min_confidence")}
    recipe |= {key: config[key] for key in ("detect_every", "smooth", "seconds")}
    # What was predicted before there were these keys does not hold them.
    recipe |= {"explain": True} if config["explain"] else {}
    recipe |= {"hub": config["hub"]} if config["hub"] else {}  # with the commit
    return recipe | {"checkpoint_mark": run_folder.checkpoint_mark(config["ckpt"])}


def _absolute(source: object) -> str:
    """Return a source as any folder would name it: relative, it may mean other files in each."""
    from fer.files.home import expanded
    from fer.predicting.sources import camera

    return str(source) if camera(str(source)) is not None else str(expanded(str(source)).absolute())


_MISSING = {
    "ckpt": (
        "ckpt: which model? Name a run: python -m fer.predict ckpt=outputs/<name>/<time> source=photo.jpg\n"
        "  There is none yet? Train one first. On the drawn faces, to see how it goes (two to three minutes):\n"
        "    python -m fer.train\n"
        "  On FER2013 (research only, ten minutes on two CPU cores): python -m fer.train "
        "experiment=fer2013_silu data.root=<folder>\n"
        "  On photographs of your own, a folder for each emotion: python -m fer.train data=folder data.root=<folder>"
    ),
    "source": (
        "source: of what? A picture, a folder, a glob, a list of files, a video or a camera: source=photo.jpg, "
        "source=photos, source='photos/*.jpg', source=list.txt, source=video.mp4, source=0"
    ),
}


def main() -> None:
    """Compose the config from the command line and predict."""
    command.run(predict, "predict")


if __name__ == "__main__":
    # Through the import, so that sweeps can hand the function to other processes by its name.
    from fer.predict import main as entry

    entry()
