"""fer.demo as it is typed: mistakes are said before torch, and the game's texts are checked line by line."""

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPO, composed
from fakes_model import write_run

from fer.data.labels import EMOTIONS
from fer.errors import ConfigError
from fer.serving import listening, situations

Here = Callable[..., Path]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "which model?"),
        (("ckpt=.", "compare=nowhere"), "compare=nowhere: no such file or folder"),
        (("ckpt=.", "language=svenska"), "there is no such language"),
        (("ckpt=.", "language=none.txt"), "cannot be read: no such file"),
        (("ckpt=.", "port=70000"), "port=70000"),
        (("ckpt=.", "host=192.0.2.1"), "is no address of this machine"),
    ],
)
def test_mistakes_are_said_before_torch(
    run_here: Here,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    said: str,
) -> None:
    pytest.importorskip("starlette")
    monkeypatch.setitem(sys.modules, "fer.serving.app", None)
    with pytest.raises(SystemExit) as stop:
        run_here("fer.demo", *args, name=None)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_without_the_package_it_says_how_to_install_it(
    run_here: Here, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "uvicorn" else find(name, *a))
    with pytest.raises(SystemExit):
        run_here("fer.demo", "ckpt=.", name=None)
    assert "pip install 'fer-lightning[demo]'" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named() -> None:
    with listening.opened("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"port={port}: another program listens"),
            listening.opened("localhost", port),
        ):
            pass
    with listening.opened("127.0.0.1", port) as again:  # free at once
        assert listening.address_of(again) == f"http://127.0.0.1:{port}/"


def test_it_serves_until_it_is_stopped_and_leaves_nothing(
    run_here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn")
    import uvicorn

    run = write_run(tmp_path / "run")
    asked = []

    def serve(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        asked.append(sockets[0].getsockname())
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", serve)
    run_here("fer.demo", f"ckpt={run}", "detector=haar", "port=0", "accelerator=cpu", "browser=false", name=None)
    printed = capsys.readouterr().out
    assert f"the page: http://127.0.0.1:{asked[0][1]}/" in printed
    assert "stopped" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize("code", ["en", "sr", "sv", "tr"])
def test_the_texts_that_come_with_fer(code: str) -> None:
    games = situations.all_of(code)
    game = games[code]
    assert next(iter(games)) == code
    assert set(game.emotions) == set(EMOTIONS)
    assert "5(1)(f)" in game.words["law"] or "5.1 f" in game.words["law"]
    english = games["en"].situations
    assert [(level, emotion) for level, emotion, _ in game.situations] == [
        (level, emotion) for level, emotion, _ in english
    ]
    for word in ("level", "level_done"):
        assert "{n}" in game.words[word]
    texts = [text for _, _, text in game.situations]
    assert len(set(texts)) == len(texts)


def test_texts_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    text = (
        situations.shipped()["en"].read_text().replace("1 happy: It is your birthday", "1 bored: It is your birthday")
    )
    path.write_text("\ufeff" + text + "\nemotion bored: bored\n")
    games = situations.all_of(str(path))
    assert list(games) == ["mine", "en", "sr", "sv", "tr"]
    assert games["mine"].situations[0][:2] == (1, "bored")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hello", r"line 4: must be 'word <name>"),
        ("1 hapy: A cake.", r"line 4: the emotion 'hapy' has no name. Did you mean 'happy'"),
        ("12 happy: A cake.", r"line 4: begins with '12'"),
        ("word titel: Game", r"line 4: the game has no word 'titel'. Did you mean 'title'"),
        ("word title: Game", r"line \d+: 'title' was said before"),
        ("1 happy:", r"line 4: its text has 0 letters"),
        (f"1 happy: {'x' * 500}", r"line 4: its text has 500 letters"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, said: str) -> None:
    rows = situations.shipped()["en"].read_text().splitlines()
    path = tmp_path / "mine.txt"
    path.write_text("\n".join([*rows[:3], line, *rows[3:]]))
    with pytest.raises(ConfigError, match=f"mine.txt, {said}"):
        situations.read(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("emotion happy: happy\n1 happy: A cake.\n")
    with pytest.raises(ConfigError, match=r"lacks language, title, .* word language: \.\.\."):
        situations.read(path)
    path.write_bytes(b"word title: Sk\xe5despelet")
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        situations.read(path)


def test_the_container_starts_what_is_there() -> None:
    lines = (REPO / "Dockerfile").read_text().splitlines()
    told = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
    command = [*json.loads(told["ENTRYPOINT"]), *json.loads(told["CMD"])]
    assert command[:3] == ["python", "-m", "fer.demo"]
    composed(*command[3:], config="demo")
    sent = (REPO / ".dockerignore").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                assert (REPO / name).exists()
                assert f"!{name}" in sent
