"""The benchmark of start-up adds up what Python says of imports."""

import pytest

from benchmarks.startup import by_package

SAID = """\
import time: self [us] | cumulative | imported package
import time:     30000 |      30000 |     sympy
import time:    500000 |     530000 |   torch._dynamo
import time:   1000000 |    1530000 | torch
faces  eyes 0.40 of the side apart | and more
import time:      1000 |       1000 |   yaml
import time:       500 |       1500 | fer.train
"""


def test_imports_are_added_up_by_package() -> None:
    names, seconds = zip(*by_package(SAID.splitlines()), strict=True)
    assert names == ("torch", "3 others", "all", "of them by torch._dynamo")
    assert seconds == pytest.approx((1.5, 0.0315, 1.5315, 0.53))
