"""The names that timm knows, read off its source: importing timm takes seconds."""

import importlib.util
import re
from functools import cache
from pathlib import Path


@cache
def timm_models() -> frozenset[str]:
    """Return timm's model names, read off its source: importing timm takes seconds."""
    return _names_in("timm", "models/*.py", r"@register_model\s*\n(?:@[^\n]*\n)*def (\w+)\(")


@cache
def timm_optimizers() -> frozenset[str]:
    """Return timm's optimiser names, read off its source."""
    return _names_in("timm", "optim/_optim_factory.py", r"""OptimInfo\(\s*name=['"](\w+)['"]""")


def _names_in(package: str, files: str, pattern: str) -> frozenset[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return frozenset()
    paths = Path(spec.origin).parent.glob(files)
    return frozenset(name for path in paths for name in re.findall(pattern, path.read_text()))
