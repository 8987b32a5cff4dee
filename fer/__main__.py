"""List the commands: ``python -m fer``."""

import difflib
import sys

from fer.cli import help as texts


def main() -> int:
    """Print the commands, or the versions; a word after ``fer`` is answered with the command that it means.

    Returns:
        The exit code.
    """
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(texts.overview())
        return 0
    if words[0] in ("-V", "--version", "version"):
        print(texts.version())
        return 0
    meant = difflib.get_close_matches(words[0].removeprefix("fer."), texts.commands(), n=1)
    hint = f" Did you mean: {' '.join(['python -m fer.' + meant[0], *words[1:]])}" if meant else ""
    print(f"error: {words[0]}: commands are written with a dot: python -m fer.train.{hint}", file=sys.stderr)
    print(texts.overview(), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
