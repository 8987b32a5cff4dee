"""Frames of a video are read ahead in a thread, and put in time as their container says."""

import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes_model import write_run
from test_predict import CPU, Bright, Here, rows, square

from fer.framing import detectors
from fer.predicting.reading import Reader, Times

TIMES = [0, 40, 80, 120, 1120, 1140, 1160, 3000, 3033, 3066]  # milliseconds


def element(identity: str, content: bytes) -> bytes:
    return bytes.fromhex(identity) + (1 << 56 | len(content)).to_bytes(8, "big") + content


def number(identity: str, value: int) -> bytes:
    return element(identity, value.to_bytes(8, "big"))


def write_matroska(path: Path, times: Sequence[int], images: Sequence[np.ndarray]) -> None:
    """Write a video whose frames are shown at any times, in milliseconds: Matroska, a JPEG picture a frame."""
    height, width = images[0].shape[:2]
    kind = number("4286", 1) + number("42F7", 1) + number("42F2", 4) + number("42F3", 8)
    head = element("1A45DFA3", kind + element("4282", b"matroska") + number("4287", 4) + number("4285", 2))
    names = element("4D80", b"fer") + element("5741", b"fer")
    duration = element("4489", struct.pack(">d", times[-1] + 34))
    info = element("1549A966", number("2AD7B1", 1_000_000) + names + duration)
    size = element("E0", number("B0", width) + number("BA", height))
    entry = number("D7", 1) + number("73C5", 1) + number("83", 1) + element("86", b"V_MJPEG") + size
    clusters = b""
    for at, image in zip(times, images, strict=True):
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
        clusters += element("1F43B675", number("E7", at) + element("A3", b"\x81\x00\x00\x80" + coded))
    path.write_bytes(head + element("18538067", info + element("1654AE6B", element("AE", entry)) + clusters))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(detectors._DETECTORS, "fast", Bright)


def shown(path: Path) -> list[tuple[float, int]]:
    """Return when each frame of a video is shown, in milliseconds, and where its square stands."""
    film, found = cv2.VideoCapture(str(path)), []
    while film.grab():
        at = film.get(cv2.CAP_PROP_POS_MSEC)
        found.append((at, int(np.nonzero(film.retrieve()[1][60, :, 0] > 200)[0].min())))
    return found


class SlowVideo:
    """Stands for cv2.VideoCapture; each frame takes a while."""

    def get(self, _: int) -> float:
        return 25.0

    def read(self) -> tuple[bool, np.ndarray]:
        time.sleep(0.3)
        return True, np.zeros((8, 8, 3), dtype=np.uint8)

    def release(self) -> None:
        pass


def test_who_waits_for_a_frame_is_told_of_the_end() -> None:
    reader = Reader(SlowVideo(), False, None, 1, None)  # type: ignore[arg-type]
    waiting = threading.Thread(target=lambda: list(reader), daemon=True)
    waiting.start()
    reader.close()
    waiting.join(5)
    assert not waiting.is_alive()


def test_frames_of_a_varying_rate_have_their_own_times(run: Path, run_here: Here, tmp_path: Path, bright: None) -> None:
    write_matroska(tmp_path / "film.mkv", TIMES, [square(10 + 10 * place) for place in range(10)])
    out = run_here("fer.predict", f"ckpt={run}", "source=film.mkv", *CPU)
    found = rows(out)
    assert [row["time"] for row in found] == [f"{at / 1000:.3f}" for at in TIMES]
    assert [row["frame"] for row in found] == [str(place) for place in range(10)]
    assert rows(out, "files.csv")[0]["error"] == "", "which its count of frames, from a rate of 1000, would say"

    film = cv2.VideoCapture(str(out / "annotated" / "film.mp4"))
    seconds = film.get(cv2.CAP_PROP_FRAME_COUNT) / film.get(cv2.CAP_PROP_FPS)
    assert seconds == pytest.approx(3.1, abs=0.05), "as long as what it shows"
    drawn = shown(out / "annotated" / "film.mp4")
    for place, at in enumerate(TIMES[:-1]):  # each frame from its time on, until the next one's
        middle = (at + TIMES[place + 1]) / 2
        left = [x for when, x in drawn if when <= middle + 1][-1]
        assert left == pytest.approx(10 + 10 * place, abs=4), f"at {middle} ms"


def test_a_limit_is_one_of_the_videos_own_time(run: Path, run_here: Here, tmp_path: Path, bright: None) -> None:
    write_matroska(tmp_path / "film.mkv", TIMES, [square(10 + 10 * place) for place in range(10)])
    out = run_here("fer.predict", f"ckpt={run}", "source=film.mkv", "seconds=1.13", "annotated=0", *CPU)
    assert [row["time"] for row in rows(out)] == ["0.000", "0.040", "0.080", "0.120", "1.120"]
    assert rows(out, "files.csv")[0]["error"] == ""


class Timeless:
    """A video whose container says no times."""

    opened = cv2.VideoCapture

    def __init__(self, path: str) -> None:
        self._capture = Timeless.opened(path)

    def __getattr__(self, name: str) -> object:
        return getattr(self._capture, name)

    def get(self, what: int) -> float:
        return 0.0 if what == cv2.CAP_PROP_POS_MSEC else self._capture.get(what)


def test_without_times_the_rate_stands_in(
    run: Path, run_here: Here, tmp_path: Path, bright: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (240, 160))
    for place in range(6):
        writer.write(square(20 + 5 * place))
    writer.release()
    out = run_here("fer.predict", f"ckpt={run}", "source=film.avi", "annotated=0", *CPU, name="said")
    even = [f"{place / 10:.3f}" for place in range(6)]
    assert [row["time"] for row in rows(out)] == even
    assert "no time of their own" not in capsys.readouterr().out
    monkeypatch.setattr(cv2, "VideoCapture", Timeless)
    out = run_here("fer.predict", f"ckpt={run}", "source=film.avi", "annotated=0", *CPU, name="unsaid")
    assert [row["time"] for row in rows(out)] == even
    assert "film.avi: 5 of 6 frames have no time of their own; each is put 1/10 s" in capsys.readouterr().out


def test_times_never_go_back() -> None:
    times = Times(20.0)
    given = [0.0, 50.0, 20.0, float("nan"), 400.0, 400.0, 1000.0]
    assert [times(one) for one in given] == pytest.approx([0, 0.05, 0.1, 0.15, 0.4, 0.45, 1.0])
    assert times.missing == 3
    assert Times(20.0)(-40.0) == 0


def test_a_video_that_is_cut_off() -> None:
    def fault(frames: int, rate: float, step: float, limit: float | None = None) -> str:
        reader = Reader(Counted(frames, rate, step), False, None, 1, limit)  # type: ignore[arg-type]
        said = reader.fault(len(list(reader)))
        reader.close()
        return said

    assert fault(50, 20, 50) == "ends at frame 50 of 100: cut off or damaged"
    assert not fault(99, 20, 50)
    assert not fault(50, 20, 50, limit=1.0), "which was asked for"
    assert not fault(20, 20, 248), "fewer frames than the rate says, in all its time"
    assert "ends at frame 10" in fault(10, 20, 248)
    assert fault(0, 20, 50) == "no frame of it can be read"


class Counted:
    """Stands for a video of 100 promised frames, of which fewer can be read, so many milliseconds apart."""

    def __init__(self, frames: int, rate: float, step: float) -> None:
        self.left, self.rate, self.step, self.at = frames, rate, step, -step

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FPS: self.rate, cv2.CAP_PROP_FRAME_COUNT: 100.0}.get(what, self.at)

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left, self.at = self.left - 1, self.at + self.step
        return (True, np.zeros((8, 8, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        pass
