"""``fer.predict source=<shards>``: pictures in tar files are dealt with as those in folders are."""

import csv
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import write_image_folder
from fakes_model import write_run
from fakes_shards import pack, plain, png
from PIL import Image

from fer.data import tars
from fer.datasets.folder import Folder
from fer.errors import ConfigError
from fer.predicting import pictures
from fer.predicting.sources import Files

Here = Callable[..., Path]
OPTIONS = ("accelerator=cpu", "progress=false", "detector=none")


def answers(folder: Path) -> list[tuple[str, ...]]:
    """Return what was said of each face, in the order of the probabilities, without the names of the pictures."""
    with (folder / "predictions.csv").open(newline="") as file:
        return sorted(tuple(value for key, value in row.items() if key[:2] == "p_") for row in csv.DictReader(file))


@pytest.mark.parametrize("workers", ["null", "2"])
def test_shards_of_a_folder_are_answered_as_the_folder(tmp_path: Path, run_here: Here, workers: str) -> None:
    write_image_folder(tmp_path / "data", per_class=2)
    pack(Folder(str(tmp_path / "data")), tmp_path / "packed", 0.005)
    assert len(list((tmp_path / "packed").glob("*.tar"))) > 2
    run = write_run(tmp_path / "run")
    one = run_here("fer.predict", f"ckpt={run}", f"source={tmp_path}/data", *OPTIONS, name="one")
    given = ("fer.predict", f"ckpt={run}", f"source={tmp_path}/packed", *OPTIONS, f"workers={workers}")
    many = run_here(*given, name="many")
    expected = answers(one)
    assert len(expected) == len(list((tmp_path / "data").rglob("*.png"))) > 20
    if workers == "null":
        assert answers(many) == expected
        return
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(many / "parts").to_pydict()  # as pandas.read_parquet does, too
    found = np.array([table[key] for key in table if key[:2] == "p_"]).T
    order = np.lexsort(found.T)
    wanted = np.array(expected, float)
    np.testing.assert_allclose(found[order], wanted[np.lexsort(wanted.T)], atol=2e-6)


def test_what_a_tar_file_holds(tmp_path: Path) -> None:
    plain(tmp_path, {"a.tar": {"./x/1.png": png(1), "1.txt": b"sad", "2.heic": b"no", "3.mp4": b"no"}})
    (tmp_path / "list.txt").write_text("a.tar\n")
    expected = ["a.tar/x/1.png", "a.tar/2.heic"]
    for source in ("a.tar", "list.txt", "*.tar", "."):
        files = Files(str(tmp_path / source))
        assert [path.relative_to(tmp_path).as_posix() for path in files.of_kind(video=False)] == expected
        assert not files.single
    (tmp_path / "1.png").write_bytes(png(1))
    one, other = (pictures.read(tmp_path / name).pixels for name in ("a.tar/x/1.png", "1.png"))
    np.testing.assert_array_equal(one, other)


def test_a_list_names_pictures_in_shards_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    plain(tmp_path / "lists", {"a.tar": {"x/1.png": png(1)}})
    plain(tmp_path, {"b.tar": {"1.png": png(1)}})
    (tmp_path / "lists" / "list.txt").write_text("a.tar/x/1.png\nb.tar/1.png\n")
    monkeypatch.chdir(tmp_path)
    found = list(Files("lists/list.txt").of_kind(video=False))
    assert found == [Path("lists/a.tar/x/1.png"), Path("b.tar/1.png")]
    assert all(pictures.read(path).pixels.size for path in found)


@pytest.mark.parametrize("name", ["../1.png", "/etc/1.png", "x/../../1.png"])
def test_names_that_lead_out_of_a_tar_file_are_refused(tmp_path: Path, name: str) -> None:
    plain(tmp_path, {"a.tar": {name: png(1)}})
    with pytest.raises(
        ConfigError, match=rf"a\.tar: cannot be read \(its member .*{re.escape(name)}.* leads out of it"
    ):
        Files(str(tmp_path / "a.tar"))


def test_a_file_that_is_no_tar_file(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar file" * 100)
    with pytest.raises(ConfigError, match=r"a\.tar: cannot be read \(not a tar file, or cut off"):
        Files(str(tmp_path))
    assert tars.member_at(tmp_path / "b.tar/1.png") is None


def test_a_tar_file_that_is_another_by_now_is_read_anew(tmp_path: Path) -> None:
    for value, names in ((10, ("a.bmp", "b.bmp")), (200, ("b.bmp", "a.bmp"))):
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            for name in names:
                Image.new("L", (8, 8), value + (name == "b.bmp")).save(tmp_path / name)
                tar.add(tmp_path / name, name)
        assert pictures.read(tmp_path / "x.tar/a.bmp").pixels.max() == value
