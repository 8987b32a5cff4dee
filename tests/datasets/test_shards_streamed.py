"""data=shards data.root=<URL> data.stream=true: each image's bytes are fetched when it is read, and nothing else."""

import gc
import json
import os
import re
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from conftest import TINY
from fakes_shards import labelled, pack, plain, same, shards
from fakes_store import Answer, Files, serve
from PIL import Image

from fer.data import remote
from fer.data.entries import unusable
from fer.data.pixels import bits_used
from fer.data.remote import Remote
from fer.data.streamed import Streamed
from fer.data.tars import Member, Tars
from fer.datasets.folder import Folder
from fer.datasets.shards import Shards
from fer.errors import ConfigError, DatasetError, StreamError
from fer.files.checksum import sha256


@pytest.fixture
def server(tmp_path):
    yield from serve(tmp_path)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)


def streamed(url: str, tmp_path: Path, **options: object) -> Shards:
    return Shards(url, cache_dir=str(tmp_path / "far"), stream=True, **options)  # type: ignore[arg-type]


def test_samples_are_those_of_the_folder_and_no_shard_is_fetched_whole(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_GAP", 0)
    expected = shards(tmp_path / "packed").read()
    for _ in ("read", "opened again"):
        found = streamed(server.url, tmp_path).read()
        assert isinstance(found.images, Streamed)
        same(found, expected)
        asked = {(name, given) for name, given in server.asked if name.endswith(".tar")}
        assert len(asked) == len(expected)
        fetched = sum(end + 1 - start for start, end in spans([given for _, given in asked]))
        assert fetched == sum(path.stat().st_size for path in (tmp_path / "data").rglob("*.png"))
        server.asked.clear()
    kept = {path.name for path in (tmp_path / "far").rglob("*") if path.is_file()}
    assert "images.npy" not in kept
    assert not [name for name in kept if name.endswith(".tar")]
    same(streamed(server.url, tmp_path, image_size=24).read(), shards(tmp_path / "packed", image_size=24).read())


def spans(ranges: list[str]) -> list[tuple[int, int]]:
    return [(int(start), int(end)) for start, _, end in (one.removeprefix("bytes=").partition("-") for one in ranges)]


def test_a_training_by_loader_processes_is_that_on_the_folder(server, tmp_path, train_here):
    options = [option for option in TINY if not option.startswith(("data.num_samples", "data.num_workers"))]
    options += ["trainer.max_epochs=2", "data.num_workers=2"]
    far = train_here("data=shards", f"data.root={server.url}", "data.stream=true", *options)
    near = train_here("data=shards", f"data.root={tmp_path}/packed", *options, name="near")
    one, two = (torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (far, near))
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)


def test_any_file_system_of_fsspec(server, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "packed"), "/bucket/packed", recursive=True)
    same(streamed("memory://bucket/packed", tmp_path).read(), shards(tmp_path / "packed").read())
    memory.rm("/bucket", recursive=True)


def refusal(server: Files, tmp_path: Path, kind: type[Exception] = DatasetError) -> str:
    with pytest.raises(kind) as error:
        streamed(server.url, tmp_path).read()
    return str(error.value)


def test_what_cannot_be_read_is_named(server, tmp_path):
    path = tmp_path / "packed/val-000000.tar"
    content = path.read_bytes()
    server.ranges = False
    assert f"{server.url}: this server sends whole files only" in refusal(server, tmp_path)
    server.ranges = True
    path.write_bytes(content[:700])
    said = refusal(server, tmp_path)
    assert f"{server.url}/val-000000.tar has 700 bytes, and had {len(content):,} when it was packed. Copy that" in said
    with pytest.raises(DatasetError, match=r"val-000000\.tar ends at byte 700 of 1,400: it is cut off\."):
        Remote(server.url).parts([("val-000000.tar", 600, 1400)])
    with pytest.raises(DatasetError, match=r"val-000000\.tar ends at byte 700 of 1,400: it is cut off\."):
        Remote(server.url).parts([("val-000000.tar", 900, 1400)])
    path.unlink()
    assert f"{server.url}/val-000000.tar is missing, though it is listed there." in refusal(server, tmp_path)
    path.write_bytes(content)
    server.failing = 1000
    said = refusal(server, tmp_path)
    assert re.search(r"data/\w+-000000\.tar cannot be reached \(ClientResponseError: 503", said)
    server.failing = 2  # is asked again
    data = streamed(server.url, tmp_path)
    images = data.read().images
    assert len(images) == 18
    path.write_bytes(content.replace(b"IDAT", b"IDAX"))
    with pytest.raises(StreamError, match=r"val-000000\.tar/\d+\.png cannot be read any more"):
        images[:]
    server.failing = 1000
    with pytest.raises(StreamError, match=r"503.*run the command again\. A training goes on by resume=<run>\."):
        images[:]


def test_shards_of_others_are_not_streamed_from_a_url(server, tmp_path):
    for path in (tmp_path / "packed").iterdir():
        path.unlink()
    plain(tmp_path / "packed", {"train-0.tar": labelled()})
    assert "Pack them with fer.pack and put those there" in refusal(server, tmp_path, ConfigError)


def test_parts_of_files(server, tmp_path, monkeypatch):
    contents = {name: bytes(np.random.default_rng(seed).bytes(5000)) for seed, name in enumerate(["b.tar", "a.tar"])}
    for name, content in contents.items():
        (tmp_path / "packed" / name).write_bytes(content)
    monkeypatch.setattr(remote, "_GAP", 100)
    monkeypatch.setattr(remote, "PIECE", 1500)
    wanted = [("b.tar", 4000, 4900), ("a.tar", 10, 20), ("a.tar", 100, 300), ("b.tar", 0, 0), ("a.tar", 10, 20)]
    wanted += [("a.tar", 2000, 2900), ("a.tar", 2900, 3900), ("b.tar", 300, 2900)]
    assert Remote(server.url).parts(wanted) == [contents[name][start:end] for name, start, end in wanted]
    asked = sorted(
        (name, *span) for (name, _), span in zip(server.asked, spans([r for _, r in server.asked]), strict=True)
    )
    assert asked == [
        ("a.tar", 10, 299), ("a.tar", 2000, 2899), ("a.tar", 2900, 3899), ("b.tar", 300, 2899), ("b.tar", 4000, 4899)
    ]  # fmt: skip
    assert Remote(server.url).parts([("a.tar", 7, 7)]) == [b""]


def test_a_forked_loader_leaves_its_parents_connection_alone(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Answer, "protocol_version", "HTTP/1.1")  # connections are kept
    content = (tmp_path / "packed/val-000000.tar").read_bytes()
    wanted = [("val-000000.tar", 100, 300)]
    assert Remote(server.url).parts(wanted) == [content[100:300]]
    child = os.fork()
    if not child:
        gc.collect()
        os._exit(Remote(server.url).parts(wanted) != [content[100:300]])
    assert os.waitpid(child, 0)[1] == 0
    before = time.monotonic()
    assert Remote(server.url).parts(wanted) == [content[100:300]]
    assert time.monotonic() - before < 20  # else the answer never comes, and is waited for five minutes


def test_a_failed_request_is_not_a_broken_image(server, tmp_path):
    for number, path in enumerate(sorted((tmp_path / "data").rglob("*.png"))):
        if number % 4 == 0:
            Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(path)  # 12 of 16 bits
    for path in (tmp_path / "packed").iterdir():
        path.unlink()
    pack(Folder(str(tmp_path / "data")), tmp_path / "packed", 0.001)
    same(streamed(server.url, tmp_path).read(), shards(tmp_path / "packed").read())
    member = Member(server.url, "train-000000.tar", "0.png", 0, 600)
    server.failing = 1000
    with pytest.raises(DatasetError, match="cannot be reached"):
        bits_used([member])
    with pytest.raises(DatasetError, match="cannot be reached"):
        unusable(Tars(server.url, {"a": member}), ["a"])


def test_a_list_that_reaches_beyond_its_shard(server, tmp_path):
    path = tmp_path / "packed/val-000000.json"
    listed = json.loads(path.read_text())
    listed["samples"][0]["size"] = 10**12
    path.write_text(json.dumps(listed))
    index = json.loads((tmp_path / "packed/shards.json").read_text())
    for shard in index["shards"]:
        if shard["index"] == path.name:
            shard["index_sha256"] = sha256(path)
    (tmp_path / "packed/shards.json").write_text(json.dumps(index))
    assert "val-000000.json lists samples beyond the end of val-000000.tar" in refusal(server, tmp_path)
