"""docs/use.ipynb runs from top to bottom, as its reader would run it."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from fer.exporting import checks


def test_it_runs_from_top_to_bottom(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads((REPO / "docs" / "use.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_CACHE", str(cache_dir))
    monkeypatch.setattr(checks, "_SECONDS", 0.01)
    HydraConfig.instance().cfg = None  # whatever the tests before left
    GlobalHydra.instance().clear()
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells):
        assert not cell["outputs"], "they would go out of date"
        exec(compile("".join(cell["source"]), f"docs/use.ipynb, code cell {number + 1}", "exec"), names)
    assert len(names["found"]) == 2, "the detector finds both drawn faces"
    assert names["difference"] < 1e-5
    assert (tmp_path / "face.png").is_file()
    assert "accuracy on the test split" in capsys.readouterr().out
