"""Arrays on disk that last as long as they are used."""

from pathlib import Path

import pytest

from fer.data.scratch import allocate
from fer.errors import DatasetError


def test_allocate(tmp_path: Path) -> None:
    array = allocate(tmp_path / "new", (4, 8, 8, 3))
    array[:] = 7
    assert array.sum() == 7 * array.size
    assert list((tmp_path / "new").iterdir()) == []


def test_allocate_without_space(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"cannot write .*{tmp_path.name}.* MB are needed.*data\.cache_dir="):
        allocate(tmp_path, (2**20, 2**20, 2**20))
