"""The canonical emotions and every name that datasets use for them.

Labels are always matched by name, never by position: FER2013's csv, its Kaggle folders, RAF-DB, AffectNet and FER+
each number the same seven emotions in a different order.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from fer.errors import LabelError, did_you_mean

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt")
"""The canonical names, in the order of the FER2013 csv with contempt added."""

BASIC = EMOTIONS[:7]
"""The seven classes of FER2013."""

_ALIASES: dict[str, tuple[str, ...]] = {
    "angry": ("anger", "mad", "furious", "an"),
    "disgust": ("disgusted", "disgusting", "di"),
    "fear": ("fearful", "afraid", "scared", "frightened", "fe", "af"),
    "happy": ("happiness", "joy", "joyful", "ha"),
    "sad": ("sadness", "sa"),
    "surprise": ("surprised", "astonished", "su"),
    "neutral": ("neutrality", "neutral face", "ne"),
    "contempt": ("contemptuous", "co"),
}
_CANONICAL = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}
_WORDS = [alias for alias in _CANONICAL if len(alias) > 2]  # suggestions for a misspelt name
_ALIKE = 0.75  # least similarity of a suggestion; "scary" must not suggest "sad"
KNOWN = f"Known: {', '.join(EMOTIONS)}."


def canonical(name: str) -> str:
    """Return the canonical emotion for a dataset's own class name, in any case (``"Happiness"`` -> ``"happy"``).

    Raises:
        LabelError: If the name is a number (whose meaning differs between datasets) or unknown.
    """
    known = _emotion(name)
    if known is not None:
        return known
    _refuse_number(name)
    raise LabelError(f"unknown emotion '{name}'.{did_you_mean(plain(name), _WORDS, _ALIKE)} {KNOWN}")


def plain(name: str) -> str:
    """Return a class name in the form in which names are compared: lower case, stripped, Unicode NFC."""
    return unicodedata.normalize("NFC", name).strip().lower()


def among(name: str, classes: Collection[str]) -> str | None:
    """Return which of the classes a name means: the class of that name, or the emotion it is a synonym of."""
    if plain(name) in classes:
        return plain(name)
    emotion = _emotion(name)
    return emotion if emotion in classes else None


def _emotion(name: str) -> str | None:
    return _CANONICAL.get(plain(name).replace("_", " ").replace("-", " "))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return classes in label order, each once: the emotions in theirs, then others by name."""
    names = set(names)
    return (*(name for name in EMOTIONS if name in names), *sorted(names.difference(EMOTIONS)))


def resolve(names: Sequence[str], label_map: Mapping[str, str] | None = None, own: bool = False) -> dict[str, str]:
    """Map each of a dataset's own class names to its canonical emotion, through ``label_map`` first.

    Args:
        names: The dataset's names.
        label_map: Some of the names to their emotions.
        own: Whether the classes are the dataset's own, and keep their names (in lower case).

    Raises:
        LabelError: If a name is a number, or unknown and not of the dataset's own classes; every such name is listed.
    """
    explicit = {plain(str(key)): str(value) for key, value in (label_map or {}).items()}
    mapping: dict[str, str] = {}
    problems: list[str] = []
    for name in names:
        try:
            mapping[name] = (_own if own else canonical)(explicit.get(plain(name), name))
        except LabelError as error:
            problems.append(str(error).removesuffix(f" {KNOWN}"))
    if problems:
        raise LabelError("\n".join(problems) + f"\n  {KNOWN}")
    return mapping


def _own(name: str) -> str:
    _refuse_number(name)
    if not plain(name):
        raise LabelError(f"a class has no name: {name!r}. Rename its folder, or say what it is with data.label_map.")
    return plain(name)


def _refuse_number(name: str) -> None:
    if plain(name).lstrip("+-").isdigit():
        raise LabelError(
            f"class '{name}' is a number, and datasets number the emotions differently. "
            f"Say what each number means, for example data.label_map={{0: angry, 1: disgust}}."
        )
