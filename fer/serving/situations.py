"""The acting game's texts: one file a language, which anyone edits. No torch.

A line is one of::

    # a comment
    word title: The acting game              what the game says, each of WORDS
    emotion happy: happy                     what a class is called
    1 happy: You find your lost cat.         a situation: level, class, text

A file of a model with classes of its own names them by ``emotion`` lines.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fer.data.labels import EMOTIONS
from fer.errors import ConfigError, did_you_mean

WORDS: Final = (
    "language", "title", "intro", "start", "next", "skip", "stop", "again", "level", "score", "best", "hint", "right",
    "mirror", "hold", "camera", "no_camera", "no_face", "level_done", "all_done", "cannot", "keys", "private", "law",
)  # fmt: skip
"""What the game says, by its name in the file."""

_FOLDER: Final = Path(__file__).parent / "texts"
_LONGEST: Final = 400  # letters of a text
_LARGEST: Final = 1_000_000  # bytes of a file


@dataclass(frozen=True)
class Game:
    """The texts of one language.

    Attributes:
        words: What the game says, by :data:`WORDS`.
        emotions: What each class is called.
        situations: Level from 1, class and text of each.
    """

    words: dict[str, str] = field(default_factory=dict)
    emotions: dict[str, str] = field(default_factory=dict)
    situations: list[tuple[int, str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        situations = [{"level": level, "emotion": emotion, "text": text} for level, emotion, text in self.situations]
        return {"words": self.words, "emotions": self.emotions, "situations": situations}


def shipped() -> dict[str, Path]:
    """Return the files that come with fer, by their language's code."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.txt"))}


def all_of(language: str) -> dict[str, Game]:
    """Return the texts of every language, the chosen one first.

    Args:
        language: The code of one that comes with fer, or a text file of one's own.

    Raises:
        ConfigError: If there is no such language or file, or a line of it cannot be read.
    """
    files = shipped()
    path = Path(language).expanduser()
    if language in files:
        chosen = {language: files[language]}
    elif path.suffix == ".txt" or path.is_file():
        chosen = {path.stem: path}
    else:
        raise ConfigError(
            f"language={language}: there is no such language.{did_you_mean(language, files)} There are: "
            f"{', '.join(files)}; or name a text file of your own: language=mine.txt"
        )
    return {
        code: read(file) for code, file in ({**chosen, **{c: f for c, f in files.items() if c not in chosen}}).items()
    }


def read(path: Path) -> Game:
    """Read the texts of one language.

    Raises:
        ConfigError: Naming the file, the line and what is wrong with it.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{path}: is too large for the game's texts ({path.stat().st_size:,} bytes).")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"language={path}: cannot be read: {str(error.strerror).lower()}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8.") from error
    game = Game()
    asked: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                _take(game, line.strip(), asked, number)
            except ValueError as error:
                raise ConfigError(f"{path}, line {number}: {error}") from error
    for emotion, number in asked.items():
        if emotion not in game.emotions:
            known = tuple(game.emotions) or EMOTIONS
            raise ConfigError(
                f"{path}, line {number}: the emotion {emotion!r} has no name.{did_you_mean(emotion, known)} Named are: "
                f"{', '.join(game.emotions) or 'none'}; or add a line: emotion {emotion}: ..."
            )
    if missing := [word for word in WORDS if word not in game.words]:
        raise ConfigError(f"{path}: lacks {', '.join(missing)}. Add for each a line: word {missing[0]}: ...")
    if not game.situations:
        raise ConfigError(f"{path}: holds no situation. Add lines such as: 1 happy: You find your lost cat.")
    return game


def _take(game: Game, line: str, asked: dict[str, int], number: int) -> None:
    """Add a line to the texts.

    Raises:
        ValueError: If it cannot be read, saying why.
    """
    found = re.fullmatch(r"(\S+) ([^:]+?) *: *(.*)", line)
    if found is None:
        raise ValueError("must be 'word <name>: ...', 'emotion <class>: ...' or '<level> <class>: ...'.")
    kind, name, text = found[1], found[2].strip(), found[3].strip()
    if not text or len(text) > _LONGEST:
        raise ValueError(f"its text has {len(text)} letters; 1 to {_LONGEST} are allowed.")
    if kind == "word":
        if name not in WORDS:
            raise ValueError(f"the game has no word {name!r}.{did_you_mean(name, WORDS)} It has: {', '.join(WORDS)}.")
        _once(game.words, name, text)
    elif kind == "emotion":
        _once(game.emotions, name, text)
    elif re.fullmatch("[1-9]", kind):
        game.situations.append((int(kind), name, text))
        asked.setdefault(name, number)
    else:
        raise ValueError(f"begins with {kind!r}; it must begin with 'word', 'emotion' or a level from 1 to 9.")


def _once(texts: dict[str, str], name: str, text: str) -> None:
    if name in texts:
        raise ValueError(f"{name!r} was said before: {texts[name]!r}.")
    texts[name] = text
