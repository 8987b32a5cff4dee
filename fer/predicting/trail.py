"""What was seen in each frame of a video that is not ended yet, exactly, so that a later start can go on from there."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer.errors import ConfigError
from fer.framing.face import Face
from fer.predicting.faces import FaceEmotion


class Step(NamedTuple):
    """One frame, as it was seen by an earlier start."""

    seconds: float
    faces: list[FaceEmotion]
    """Without their crops."""
    tracks: list[int | None]

    def found(self) -> list[Face]:
        """Return the faces as a detector would give them."""
        return [Face(face.box, face.landmarks, 1.0 if face.score is None else face.score) for face in self.faces]


def written(seconds: float, faces: Iterable[FaceEmotion], tracks: Sequence[int | None]) -> str:
    """Return a frame as a line; Python's JSON keeps every digit of a number."""
    plain = [
        {
            "box": [float(value) for value in face.box],
            "landmarks": None if face.landmarks is None else face.landmarks.tolist(),
            "score": None if face.score is None else float(face.score),
            "emotion": face.emotion,
            "probabilities": face.probabilities,
        }
        for face in faces
    ]
    return json.dumps({"seconds": seconds, "tracks": list(tracks), "faces": plain}) + "\n"


def read(path: Path, frames: int) -> Iterator[Step]:
    """Yield the first frames of a file of such lines.

    Raises:
        ConfigError: If it holds fewer, or is damaged.
    """
    count = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in islice(file, frames):
                step = json.loads(line)
                count += 1
                yield Step(step["seconds"], [_face(face) for face in step["faces"]], step["tracks"])
        good = count == frames
    except (OSError, ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise ConfigError(f"{path}: is damaged. Delete its folder, or choose another output_dir.")


def _face(face: dict[str, Any]) -> FaceEmotion:
    left, top, right, bottom = face["box"]
    landmarks = None if face["landmarks"] is None else np.array(face["landmarks"], np.float32)
    crop = np.empty((0, 0), np.uint8)
    return FaceEmotion(
        (left, top, right, bottom), landmarks, face["score"], face["emotion"], face["probabilities"], crop
    )
