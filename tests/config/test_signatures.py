"""Options of a ``_target_`` that are read from source."""

from pathlib import Path

import pytest

from fer.config import signatures


def test_a_class_of_its_bases_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_stopping.py").write_text(
        "from pytorch_lightning import callbacks\n"
        "from pytorch_lightning.callbacks import EarlyStopping as Base\n\n\n"
        "class EarlyStopping(callbacks.EarlyStopping):\n    pass\n\n\n"
        "class Patient(Base):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert signatures.read("my_stopping.EarlyStopping") is None, "found where it is built; no endless search"
    read = signatures.read("my_stopping.Patient")
    assert read is not None
    assert "patience" in read.annotations
