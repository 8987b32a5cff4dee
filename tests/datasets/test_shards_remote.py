"""data=shards with data.root=<URL>: the same samples, fetched in pieces and kept; what cannot be fetched is named."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
from conftest import TINY
from fakes import write_image_folder
from fakes_shards import labelled, pack, plain, same, shards
from fakes_store import Files, serve

from fer.data import remote
from fer.datasets import shards_remote
from fer.datasets.folder import Folder
from fer.datasets.shards import Shards
from fer.errors import ConfigError, DatasetError, LabelError


@pytest.fixture
def server(tmp_path):
    yield from serve(tmp_path)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(shards_remote, "PIECE", 1000)
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)


def behind(server: Files, tmp_path: Path, **options: object) -> Shards:
    return Shards(server.url, cache_dir=str(tmp_path / "far"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("ranges", [True, False])
def test_samples_are_those_of_the_folder_and_are_fetched_once(server, tmp_path, ranges):
    server.ranges = ranges
    expected = shards(tmp_path / "packed").read()
    same(behind(server, tmp_path).read(), expected)
    asked = [name for name, _ in server.asked if name.endswith(".tar")]
    assert len(set(asked)) == len(list((tmp_path / "packed").glob("*.tar"))) > 3
    if ranges:
        assert all(found for name, found in server.asked if name.endswith(".tar"))
        assert len(asked) > 2 * len(set(asked))
    else:
        assert len(asked) == len(set(asked))
    server.asked.clear()
    same(behind(server, tmp_path).read(), expected)  # from the cache
    same(behind(server, tmp_path, image_size=24).read(), shards(tmp_path / "packed", image_size=24).read())
    assert {name for name, _ in server.asked} == {"shards.json"}


def test_other_shards_behind_the_url_are_noticed(server, tmp_path):
    before = behind(server, tmp_path).read()
    write_image_folder(tmp_path / "others", classes=["happy", "fear"])
    for path in (tmp_path / "packed").iterdir():
        path.unlink()
    pack(Folder(str(tmp_path / "others")), tmp_path / "packed", 0.001)
    assert behind(server, tmp_path).read().classes != before.classes


def test_a_killed_fetch_goes_on(server, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    piece, count = remote.Remote.piece, []

    def killed(self, *args):
        count.append(args)
        if len(count) == 12:
            raise Killed
        return piece(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(remote.Remote, "piece", killed)
        with pytest.raises(Killed):
            behind(server, tmp_path).read()
    assert list((tmp_path / "far").glob("fetched-*/.*.part"))
    before = {(name, found) for name, found in server.asked if name.endswith(".tar")}
    assert before
    server.asked.clear()
    same(behind(server, tmp_path).read(), shards(tmp_path / "packed").read())
    assert not before & set(server.asked)
    assert not list((tmp_path / "far").glob("fetched-*/.*.part"))


def test_a_server_without_ranges_is_gone_on_with(server, tmp_path):
    folder = shards_remote.look(server.url, tmp_path / "far").folder
    folder.mkdir(parents=True)
    (folder / ".val-000000.tar.part").write_bytes((tmp_path / "packed/val-000000.tar").read_bytes()[:700])
    server.ranges = False
    same(behind(server, tmp_path).read(), shards(tmp_path / "packed").read())


def refusal(server: Files, tmp_path: Path) -> str:
    with pytest.raises(DatasetError) as error:
        behind(server, tmp_path).read()
    return str(error.value)


def test_what_cannot_be_fetched_is_named(server, tmp_path):
    server.failing = 2  # is asked again
    path = tmp_path / "packed/val-000000.tar"
    content = path.read_bytes()
    path.write_bytes(content[:700])
    assert f"{server.url}/val-000000.tar ends at byte 700 of {len(content):,}: it is cut off." in refusal(
        server, tmp_path
    )
    path.write_bytes(content[:700] + b"x" + content[701:])
    assert f"{server.url}/val-000000.tar is not as it was packed" in refusal(server, tmp_path)
    path.unlink()
    assert f"{server.url}/val-000000.tar is missing" in refusal(server, tmp_path)
    path.write_bytes(content)
    server.failing = 3
    said = refusal(server, tmp_path)
    assert f"{server.url}/val-000000.tar cannot be reached (" in said
    assert "503" in said
    assert len(behind(server, tmp_path).read()) == 18  # and goes on, once it is mended


def test_a_server_that_is_not_there(tmp_path, run_here, capsys):
    with pytest.raises(SystemExit) as stop:
        run_here("fer.train", "data=shards", "data.root=http://127.0.0.1:9/data", *TINY[:1])
    assert stop.value.code == 2
    assert "http://127.0.0.1:9/data/shards.json cannot be reached (" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"data.root=nope://x: Protocol not known: nope"):
        Shards("nope://x", cache_dir=str(tmp_path)).read()


def test_shards_of_others_behind_a_url(server, tmp_path):
    for path in (tmp_path / "packed").iterdir():
        path.unlink()
    assert f"data.root={server.url}: there is no shards.json" in refusal(server, tmp_path)
    plain(tmp_path / "packed", {"train-0.tar": labelled(), "val-0.tar": labelled()})
    same(behind(server, tmp_path).read(), shards(tmp_path / "packed").read())
    plain(tmp_path / "packed", {"test-0.tar": labelled(labels=("1", "2"))})
    with pytest.raises(LabelError, match="class '1' is a number"):
        behind(server, tmp_path).read()


def test_any_file_system_of_fsspec(server, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "packed"), "/bucket/packed", recursive=True)
    same(Shards("memory://bucket/packed", cache_dir=str(tmp_path / "far")).read(), shards(tmp_path / "packed").read())
    memory.rm("/bucket", recursive=True)


def test_shards_behind_a_url_are_packed_and_trained_on(server, tmp_path, run_here, train_here):
    options = [option for option in TINY if not option.startswith("data.num_samples")]
    run = train_here("data=shards", f"data.root={server.url}", *options, "trainer.max_epochs=1")
    assert (run / "checkpoints/best.ckpt").is_file()
    run_here("fer.pack", "data=shards", f"data.root={server.url}", "to=again", name=None)
    same(shards(tmp_path / "again").read(), shards(tmp_path / "packed").read())
    assert np.unique(shards(tmp_path / "again").read().splits).tolist() == ["test", "train", "val"]
