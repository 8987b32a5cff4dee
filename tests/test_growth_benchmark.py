"""``python -m benchmarks growth``: exponents, the limit of time, and each axis at tiny sizes, in this process."""

import json
import math
import time
from pathlib import Path

import pytest
from conftest import REPO
from PIL import Image
from rich.console import Console


@pytest.fixture
def growth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(REPO))
    monkeypatch.chdir(tmp_path)
    from benchmarks import copies, growth

    monkeypatch.setattr(copies, "MODELS", 60)  # faces that others are made from
    monkeypatch.setattr(copies, "AXES", 20)
    growth._faces.cache_clear()
    return growth


def test_the_exponent_is_that_of_the_curve(growth) -> None:
    sizes = [10, 100, 1000]
    assert growth.exponent(sizes, [3 * n**1.5 for n in sizes]) == pytest.approx(1.5)
    assert growth.exponent(sizes, [4, 4, 4]) == pytest.approx(0)
    assert math.isnan(growth.exponent([10], [1]))


def test_an_axis_ends_before_its_time_does(growth) -> None:
    measured = []

    def measure(work: Path, size: int, more: object) -> dict[str, float]:
        measured.append(size)
        assert work.is_dir()
        time.sleep(size / 1000)
        return {"it, s": size / 1000}

    axis = growth.Axis("things", (10, 20, 40, 400, 40_000), measure, 1.0)
    assert list(growth.grow(axis, 0.0, ())) == [10, 20]  # an exponent needs two
    measured.clear()
    rows = growth.grow(axis, 0.3, ())
    assert list(rows) == measured == [10, 20, 40]
    assert rows[40] == {"it, s": 0.04}


def test_each_axis_is_measured(growth, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import growth_task

    begun = []

    def here(work: Path, command: str, *overrides: str) -> dict[str, float]:
        begun.append(command)
        return growth_task.perform(command, overrides, work) | {"MiB": 1.0}

    monkeypatch.setattr(growth, "in_own_process", here)
    monkeypatch.setattr("fer.plots.figures.save", lambda figure, path, dpi=150: figure.savefig(path, dpi=40))
    sizes = {"images": (90,), "runs": (2, 4)}
    for name, of_axis in sizes.items():
        monkeypatch.setitem(growth.AXES, name, growth.AXES[name]._replace(sizes=of_axis))
    given = growth.options({"only": "images,runs", "minutes": "0", "data.batch_size": "8", "model": "simple_conv"})
    growth.measure(Console(width=200), **given)
    out = capsys.readouterr().out
    for name in ("first reading, s", "validation, s", "audit, s", "test with leak search, s", "report, s"):
        assert name.partition(" ")[0] in out
    assert out.count("exponent") == 2
    found = json.loads(Path("outputs/benchmarks/growth.json").read_text())
    assert {name: tuple(map(int, rows)) for name, rows in found.items()} == sizes
    for row in (row for rows in found.values() for row in rows.values()):
        assert all(value > 0 for value in row.values()), row
    assert {"first step, s", "step, s", "audit, MiB"} <= found["images"]["90"].keys()
    assert begun[:5] == ["read", "read", "train", "audit", "test"]
    with Image.open("outputs/benchmarks/growth.png") as picture:
        assert picture.width > 400


def test_an_axis_that_does_not_exist(growth) -> None:
    with pytest.raises(SystemExit, match="only=size,pixels: there is no pixels; there are: images, size"):
        growth.options({"only": "size,pixels"})


def test_made_up_images_are_all_different_and_in_every_split(growth, tmp_path: Path) -> None:
    growth.write_images(tmp_path / "faces", 40, side=16)
    files = list((tmp_path / "faces").rglob("*.jpg"))
    assert {path.parts[-3] for path in files} == {"train", "val", "test"}
    assert len({path.parent for path in files}) == 21
    assert len({path.read_bytes() for path in files}) == len(files) >= 40
