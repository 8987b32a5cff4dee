"""From a file that was sent to what the models say of it, as plain data."""

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer.errors import FERError
from fer.files import hub
from fer.plots.heat import heated
from fer.predicting import videos
from fer.predicting.drawing import colour_of
from fer.predicting.exported import ExportedNetwork
from fer.predicting.faces import FaceEmotion
from fer.predicting.model import Model, load
from fer.scores.seen_images import KEY
from fer.training.checkpoint_content import load_checkpoint

_SMOOTH = 0.3  # seconds over which a face's probabilities are averaged in a video
_DRAWN = "synthetic"


class Answering:
    """The models of a demo, and what they say.

    Args:
        config: The resolved config.

    Raises:
        FERError: If a model cannot be used.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        paths = [config[key] for key in ("ckpt", "compare") if config[key] is not None]
        paths = [path if hub.is_address(path) else str(Path(path).expanduser()) for path in paths]
        options = {key: config[key] for key in ("tta", "margin", "trust")}
        self.models = [load(path, config["detector"], device=config["accelerator"], **options) for path in paths]
        self.about = [_about(path, model) for path, model in zip(paths, self.models, strict=True)]

    def picture(self, path: Path, number: int, crops: bool = False, explain: bool = False) -> dict[str, Any]:
        """Say what a model sees in a picture.

        Args:
            path: The file.
            number: Which model, from 1.
            crops: Whether each face's answer holds what the network looked at.
            explain: Whether it holds what there speaks for the emotion (Grad-CAM).

        Raises:
            FERError: If it is no picture, or one that cannot be read, saying why; or the model cannot be explained.
        """
        model = self.models[number - 1]
        try:
            picture = model.read(path)
        except FERError as error:
            raise FERError(str(error).removeprefix(f"{path}: ").rstrip(".")) from error
        found = model.find(picture)
        kept = [item.crop for item in found[: self.config["faces"]]]
        rows = model.classify(kept)
        maps = model.heat_maps(kept, rows.argmax(1).tolist()) if explain else []
        answers = []
        for place, (item, row) in enumerate(zip(found, rows, strict=False)):  # those beyond faces= are left out
            answer = model.face(item, row, self.config["min_confidence"]).to_dict()
            if crops:
                answer["crop"] = _png(item.crop, model.module.preprocess.channels)
            if explain:
                answer["explanation"] = _png(heated(item.crop, maps[place]), 3)
            answers.append(answer)
        width, height = picture.size
        return {"width": width, "height": height, "faces": answers, "left_out": len(found) - len(kept)}

    def video(self, path: Path, number: int) -> "Film":
        """Begin to look at a video.

        Raises:
            FERError: If it cannot be opened.
        """
        config = self.config
        options = videos.Options(
            config["detect_every"], _SMOOTH, config["video_seconds"], False, config["min_confidence"]
        )
        try:
            return Film(videos.Watch(self.models[number - 1], path, options))
        except FERError as error:
            raise FERError(str(error).removeprefix(f"{path}: ").rstrip(".")) from error


class Film:
    """A video's answers: what it is, each frame's faces, and how it ended."""

    def __init__(self, watch: videos.Watch) -> None:
        self._watch = watch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        frames = 0
        yield {"rate": round(self._watch.rate, 3), "frames": self._watch.promised}
        try:
            for seen in self._watch:
                frames += 1
                if frames == 1:
                    yield {"width": seen.frame.image.shape[1], "height": seen.frame.image.shape[0]}
                pairs = zip(seen.faces, seen.tracks, strict=True)
                faces = [_brief(face, track) for face, track in pairs]
                yield {"frame": seen.frame.number, "time": round(seen.frame.seconds, 3), "faces": faces}
            fault = self._watch.fault(frames)
        except FERError as error:  # the answer has begun: what is wrong can only be told in it
            fault = str(error)
        yield {"end": frames, "fault": fault}

    def close(self) -> None:
        """End the reading, at any time."""
        self._watch.close()


def _brief(face: FaceEmotion, track: int | None) -> dict[str, Any]:
    """Return what a timeline needs of a face."""
    probabilities = {name: round(value, 4) for name, value in face.probabilities.items()}
    box = [round(float(value), 1) for value in face.box]
    return {"track": track, "box": box, "emotion": face.emotion, "probabilities": probabilities}


def _about(path: str, model: Model) -> dict[str, Any]:
    """Return what the page says of a model."""
    if isinstance(model.module, ExportedNetwork):
        dataset = (model.module.content.get("training") or {}).get("dataset")
    else:
        dataset = (load_checkpoint(path).get(KEY) or {}).get("dataset")
    return {
        "name": path,
        "network": model.module.name,
        "classes": list(model.classes),
        "colours": ["#{:02x}{:02x}{:02x}".format(*colour_of(name, model.classes)) for name in model.classes],
        "image_size": model.module.preprocess.image_size,
        "framing": model.module.preprocess.framing is not None,
        "dataset": dataset,
        "drawn": dataset == _DRAWN,
        "explains": _explains(model),
    }


def _explains(model: Model) -> bool:
    """Say whether the model's answers can be explained: its network has a feature map, and the package is there."""
    size = model.module.preprocess.image_size
    try:
        model.heat_maps([np.zeros((size, size), np.uint8)], [0])
    except FERError:
        return False
    return True


def _png(image: npt.NDArray[np.uint8], channels: int) -> str:
    """Return what the network gets, grey if it is, as an address that holds it."""
    buffer = io.BytesIO()
    pixels = Image.fromarray(np.ascontiguousarray(image))
    (pixels.convert("L") if channels == 1 else pixels).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
