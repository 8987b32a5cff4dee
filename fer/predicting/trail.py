"""What was seen in each frame of a video that is not ended yet, exactly, so that a later start can go on from there."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

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


def read(lines: Iterable[str]) -> Iterator[Step]:
    """Yield frames from their lines."""
    crop = np.empty((0, 0), np.uint8)
    for line in lines:
        step = json.loads(line)
        faces = [
            FaceEmotion(
                tuple(face["box"]),
                None if face["landmarks"] is None else np.array(face["landmarks"], np.float32),
                face["score"], face["emotion"], face["probabilities"], crop,
            )
            for face in step["faces"]
        ]  # fmt: skip
        yield Step(step["seconds"], faces, step["tracks"])
