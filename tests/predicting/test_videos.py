"""Frames of a video are read ahead in a thread, which ends when it is told to."""

import threading
import time

import numpy as np

from fer.predicting import videos


class SlowVideo:
    """Stands for cv2.VideoCapture; each frame takes a while."""

    def get(self, _: int) -> float:
        return 25.0

    def read(self) -> tuple[bool, np.ndarray]:
        time.sleep(0.3)
        return True, np.zeros((8, 8, 3), dtype=np.uint8)

    def release(self) -> None:
        pass


class NoDetector:
    detector = None


def test_who_waits_for_a_frame_is_told_of_the_end() -> None:
    options = videos.Options(1, 0.0, 0.0, False, 0.0)
    reader = videos._Reader(SlowVideo(), False, NoDetector(), options)  # type: ignore[arg-type]
    waiting = threading.Thread(target=lambda: list(reader), daemon=True)
    waiting.start()
    reader.close()
    waiting.join(5)
    assert not waiting.is_alive()
