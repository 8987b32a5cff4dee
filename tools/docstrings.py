"""A griffe extension: reStructuredText's marks in docstrings become Markdown's, for the documentation site."""

import re
from typing import Any

import griffe


class Markdown(griffe.Extension):
    """Turn ``:class:`Name` `` into `` `Name` `` and ``::`` before a block into ``:``."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite an object's docstring once it is read."""
        if obj.docstring:
            text = re.sub(r":(?:mod|class|func|meth|attr|data|exc):`~?([^`]+)`", r"`\1`", obj.docstring.value)
            text = re.sub(r"::$", ":", text, flags=re.M)
            if obj.is_module:  # "Classes: ...", "Licence: ..." of a dataset
                text = re.sub(
                    r"^((?:[A-Z][a-z]+)(?: [a-z]+){0,2}|Licence, citation)(?=:\s|, one of)", r"**\1**", text, flags=re.M
                )
            obj.docstring.value = text
