"""The command line: from what was typed to a checked config; hints, resuming and sweeps."""

import sys
from importlib.util import find_spec

if find_spec("hydra") is None:  # the system's Python, say, in a checkout that has a .venv
    sys.exit(
        f"error: fer's packages are not installed for {sys.executable}. In a checkout, where make has installed them: "
        f". .venv/bin/activate; or pip install -e ."
    )
