"""One prediction from its first file to its last line on the terminal."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer.display import plain
from fer.environment import usable_cores
from fer.errors import FERError
from fer.predicting import photographs, videos
from fer.predicting.model import Model
from fer.predicting.record import FILES, ROWS, Record
from fer.predicting.sources import Files
from fer.progress import bar, clock

log = logging.getLogger(__name__)


def run(model: Model, source: Files | int, record: Record, config: Mapping[str, Any]) -> None:
    """Predict all that a source holds, and say how it went.

    Args:
        model: The model.
        source: The files, or a camera's number.
        record: Where the answers are written.
        config: The resolved config.

    Raises:
        FERError: If not one of the files could be used, or a camera went away.
    """
    told, frames, begun = photographs.Told(), 0, time.monotonic()
    options = videos.Options(
        config["detect_every"], config["smooth"], config["seconds"], config["annotated"] > 0, config["min_confidence"]
    )
    log.info("model  %s", f"{config['hub'] or config['ckpt']}: {', '.join(model.classes)}")
    if record.before:
        log.info(
            "%s files were dealt with before; they are passed over, and their pictures stay as they are.",
            f"{record.before:,}",
        )
    if record.changed:
        log.info("%s files were changed since; they are dealt with anew.", f"{record.changed:,}")
    first = None if isinstance(source, int) else record.left_in_the_middle(source.of_kind(video=True))
    if record.undone:
        log.info("What was begun and not kept is taken back, and done anew.")
    try:
        if isinstance(source, int):
            until = f"for {config['seconds']:g} s" if config["seconds"] else "until Ctrl-C"
            log.info("camera %d, %s", source, until)
            frames = videos.run(model, source, record, told, options, lambda done, due: None)
        else:
            frames = _files(model, source, first, record, told, options, config)
        record.commit()
    finally:
        record.close()
    _say(record, told, frames, time.monotonic() - begun)
    if told.failed and isinstance(source, int):
        raise FERError(
            f"source={source}: the camera went away. What it saw until then stands in {record.folder / ROWS}."
        )
    if told.failed and told.failed == record.files and not record.before and not record.faces and not frames:
        raise FERError(f"source={config['source']}: nothing in it could be used; {record.folder / FILES} says why.")


def _files(
    model: Model, files: Files, first: Path | None, record: Record, told: photographs.Told, options: videos.Options,
    config: Mapping[str, Any],
) -> int:  # fmt: skip
    """Predict the video in which an earlier start was stopped, pictures, then videos; return the number of frames."""
    shown_from = 0 if config["progress"] else 2**62

    def film(path: Path) -> int:
        with bar(plain(path.name), 1, shown_from) as shown:

            def tick(done: int, due: int) -> None:
                shown.total, shown.n = max(due, done), done
                shown.refresh()

            frames = videos.run(model, path, record, told, options, tick)
        record.commit()
        return frames

    frames = film(first) if first else 0
    if files.pictures:
        with bar("pictures", files.pictures, shown_from) as shown:
            photographs.run(
                model, files.of_kind(video=False), record, told, config["threads"] or usable_cores(),
                config["annotated"], config["min_confidence"], config["explain"], shown.update,
            )  # fmt: skip
    for path in files.of_kind(video=True):
        if path != first and not record.is_done(path):
            frames += film(path)
    return frames


def _say(record: Record, told: photographs.Told, frames: int, seconds: float) -> None:
    """Say how much was done, how fast, and where it stands."""
    counts = [f"{record.files:,} file{'' if record.files == 1 else 's'}"]
    counts += [f"{frames:,} frames"] if frames else []
    counts += [f"{record.faces:,} face{'' if record.faces == 1 else 's'}"]
    counts += [f"{told.empty:,} without a face"] if told.empty else []
    counts += [f"{told.failed:,} with an error ({FILES})"] if told.failed else []
    many, what = (frames, "frames") if frames else (record.files, "files")
    log.info("%s in %s (%.1f %s a second)", ", ".join(counts), clock(seconds), many / max(seconds, 1e-9), what)
    log.info("prediction: %s", str(record.folder / ROWS))
