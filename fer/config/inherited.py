"""What a training that starts from another one's weights (``init=``) may change of its network, and what not."""

from collections.abc import Mapping
from typing import Any

from fer.config.groups import flat
from fer.config.option_values import shown

WEIGHTS: Mapping[str, Any] = {"pretrained": False, "checkpoint_path": None, "prefix": None, "rename": None}
"""A network's options that say where weights come from, and their values where those of a parent follow."""
MAY_CHANGE = ("freeze", "dropout", "head.dropout")
"""Options of a network that a child may have otherwise: its tensors are the same."""
IDENTITY = ("_target_", "name", "backbones")
"""Options that say which network it is."""


def differences(now: Mapping[str, Any], parent: Mapping[str, Any], whose: str) -> list[str]:
    """Name the options in which a ``model`` node differs from the parent's, but for those that a child may change.

    Args:
        now: The composed node.
        parent: The parent's, from :func:`fer.cli.starting.network_of`.
        whose: What the parent is called.
    """
    was, new = flat({key: value for key, value in parent.items() if key not in WEIGHTS}), flat(now)
    lines = []
    for key, off in WEIGHTS.items():
        if new.pop(key, off) not in (off, None, False):
            lines.append(f"model.{key}={shown(now[key])}: the weights are those of init=. Leave it out.")
    for key in sorted({*was, *new} - {*MAY_CHANGE, *WEIGHTS}, key=lambda key: (key not in IDENTITY, key)):
        # An option that the parent did not know and that is off is no difference: checkpoints outlive a version.
        if was.get(key) != new.get(key) and (key in was or new[key]):
            lines.append(f"model.{key}={shown(new.get(key))}: {whose} has {shown(was.get(key))}")
            if key in IDENTITY:
                break  # the options of another network need no comparison
    return lines
