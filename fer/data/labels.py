"""The canonical emotions and every name that datasets use for them.

Labels are always matched by name, never by position: FER2013's csv, its Kaggle folders, RAF-DB, AffectNet and FER+
each number the same seven emotions in a different order.
"""

from collections.abc import Mapping, Sequence

from fer.errors import LabelError, did_you_mean

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt")
"""The canonical names, in the order of the FER2013 csv with contempt added."""

BASIC = EMOTIONS[:7]
"""The seven classes of FER2013."""

_ALIASES: dict[str, tuple[str, ...]] = {
    "angry": ("anger", "an"),
    "disgust": ("disgusted", "di"),
    "fear": ("fearful", "afraid", "fe", "af"),
    "happy": ("happiness", "ha"),
    "sad": ("sadness", "sa"),
    "surprise": ("surprised", "su"),
    "neutral": ("neutrality", "ne"),
    "contempt": ("contemptuous", "co"),
}
_CANONICAL = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}


def canonical(name: str) -> str:
    """Return the canonical emotion for a dataset's own class name, in any case (``"Happiness"`` -> ``"happy"``).

    Raises:
        LabelError: If the name is a number (whose meaning differs between datasets) or unknown.
    """
    key = name.strip().lower()
    if key in _CANONICAL:
        return _CANONICAL[key]
    if key.lstrip("+-").isdigit():
        raise LabelError(
            f"class '{name}' is a number, and datasets number the emotions differently. "
            f"Say what each number means, for example data.label_map={{0: angry, 1: disgust}}."
        )
    raise LabelError(f"unknown emotion '{name}'.{did_you_mean(key, _CANONICAL)} Known: {', '.join(EMOTIONS)}.")


def resolve(names: Sequence[str], label_map: Mapping[str, str] | None = None) -> dict[str, str]:
    """Map each of a dataset's own class names to its canonical emotion, through ``label_map`` first.

    Raises:
        LabelError: If a name is numeric or unknown and not in ``label_map``; every such name is listed.
    """
    explicit = {str(key).strip().lower(): value for key, value in (label_map or {}).items()}
    mapping: dict[str, str] = {}
    problems: list[str] = []
    for name in names:
        try:
            mapping[name] = canonical(explicit.get(name.strip().lower(), name))
        except LabelError as error:
            problems.append(str(error))
    if problems:
        raise LabelError("\n".join(problems))
    return mapping
