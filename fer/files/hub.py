"""Models on the Hugging Face Hub: ``hf://user/name``, an export as a repository. Imports nothing slow.

What is pulled is the export's description and the one model file that it names, out of :data:`fer.files.export.NAMES`:
never a file whose reading could run code. The file must have the SHA-256 that the description gives.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fer.errors import ConfigError, FERError
from fer.files import export
from fer.progress import step

PREFIX = "hf://"
CARD = "README.md"
_NAME = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
_ADDRESS = re.compile(rf"hf://({_NAME})(?:@([\w./-]+))?", re.ASCII)
_LOG_IN = "hf auth login, or HF_TOKEN=<token> in the environment"


class Pulled(NamedTuple):
    """An export that came from the Hub."""

    folder: Path
    address: str
    """With the commit: ``hf://user/name@<40 hexadecimal digits>``."""


class Pushed(NamedTuple):
    """An export that went to the Hub."""

    address: str
    """With the commit."""
    page: str
    private: bool


def is_address(text: object) -> bool:
    """Say whether a model is named by an address of the Hub rather than a path."""
    return str(text).startswith(PREFIX)


def wrong_address(key: str, text: str) -> list[str]:
    """Say what is wrong with an address, in a sentence that begins with its key; nothing if it is right."""
    if _ADDRESS.fullmatch(text):
        return []
    return [f"{key}={text}: is no address of a model. It is hf://user/name, or hf://user/name@<branch, tag or commit>."]


def local(ckpt: str, key: str = "ckpt") -> tuple[str, str | None]:
    """Return the path of a model, and of one from the Hub the address with its commit.

    Args:
        ckpt: A path, which is returned as it is, or an address.
        key: What the user called it.

    Raises:
        ConfigError: If it is no address.
        FERError: If it cannot be pulled, or is no export of fer.
    """
    if not is_address(ckpt):
        return ckpt, None
    pulled = pull(ckpt, key)
    return str(pulled.folder), pulled.address


def pull(address: str, key: str = "ckpt") -> Pulled:
    """Bring an export from the Hub into its cache on this machine, as far as it is not there.

    Args:
        address: ``hf://user/name``, with ``@<branch, tag or commit>`` for another than the newest.
        key: What the user called it.

    Raises:
        ConfigError: If it is no address.
        FERError: If it cannot be pulled, is no export of fer, or its file is not the one that its description means.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ConfigError(wrong_address(key, address)[0])
    repository, revision = found[1], found[2]
    with step(f"pulling {address}"), _plainly(f"{key}={address}:", repository, revision):
        folder = _snapshot(repository, revision, [export.FILE])
        commit = folder.name
        if not (folder / export.FILE).is_file():
            raise FERError(f"{key}={address}: is no export of fer: the repository holds no {export.FILE}.")
        try:
            content = export.read(folder)
        except FERError as error:
            said = str(error).replace(f"{folder}/", "").removeprefix(f"{folder}: ")
            raise FERError(f"{key}={address}: {said}") from error
        names = [part.name for part in export.parts(Path(content["file"]))]
        folder = _snapshot(repository, commit, [export.FILE, *names])
        export.check_sums(folder, content, f"{key}={address}")
    return Pulled(folder, f"{PREFIX}{repository}@{commit}")


def check_push(repository: str) -> None:
    """Refuse, before anything is made, to push where that cannot succeed.

    Raises:
        ConfigError: If it is no repository's name.
        FERError: If there is no token, it is refused, or there is no network.
    """
    if not re.fullmatch(_NAME, repository, re.ASCII):
        raise ConfigError(f"push={repository}: names the repository on the Hugging Face Hub: push=<user>/<name>.")
    import huggingface_hub
    from huggingface_hub import constants

    what = f"push={repository}"
    if constants.HF_HUB_OFFLINE:
        raise FERError(f"{what}: HF_HUB_OFFLINE keeps this program from the network. Unset it, or leave push out.")
    if huggingface_hub.get_token() is None:
        raise FERError(f"{what}: the Hub takes files only from who has a token that may write. Say yours: {_LOG_IN}.")
    with _plainly(f"{what}:", repository), _quietly():
        huggingface_hub.HfApi().whoami()


def push(folder: Path, repository: str, public: bool) -> Pushed:
    """Upload an export as a repository of the Hub, which is made if it is not there.

    Args:
        folder: The export's folder; its model, its description and its card are uploaded, nothing else.
        repository: ``user/name``.
        public: Whether everybody may see a repository that is made; one that is there stays as it is.

    Raises:
        FERError: If it cannot be uploaded.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    names = [part.name for part in export.parts(folder / export.read(folder)["file"])]
    what = f"push={repository}: the export stands in {folder}, but"
    with step(f"pushing to {repository}"), _plainly(what, repository), _quietly():
        made = api.create_repo(repository, private=not public, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=[export.FILE, CARD, *names],
            commit_message="Export of fer",
        )  # fmt: skip
        private = bool(api.repo_info(repository).private)
    return Pushed(f"{PREFIX}{repository}@{done.oid}", str(made), private)


def _snapshot(repository: str, revision: str | None, names: list[str]) -> Path:
    """Bring files of a repository here; return their folder, which is named by the commit."""
    from huggingface_hub import snapshot_download

    with _quietly():
        return Path(snapshot_download(repository, revision=revision, allow_patterns=names))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep huggingface_hub's own bars off the terminal, and a line for each of its requests out of the log."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    levels = {logger: logger.level for logger in map(logging.getLogger, ("httpx", "httpx2"))}
    disable_progress_bars()
    for logger in levels:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
        if not before:
            enable_progress_bars()


@contextmanager
def _plainly(what: str, repository: str, revision: str | None = None) -> Iterator[None]:
    """Say in one sentence what the Hub, or the way to it, has against it."""
    try:
        yield
    except FERError:
        raise
    except Exception as error:  # huggingface_hub's, and those of the library below, which changed with its versions
        raise FERError(f"{what} {_reason(error, repository, revision)}") from error


def _reason(error: BaseException, repository: str, revision: str | None) -> str:
    import huggingface_hub
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repository}"
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return f"{repository} is gated: ask for access on {page}, then say who you are: {_LOG_IN}."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repository} has no branch, tag or commit {revision}."
    if isinstance(error, errors.RepositoryNotFoundError):
        who = "without a token" if huggingface_hub.get_token() is None else "with your token"
        return f"there is no repository {repository}, or it is private and cannot be seen {who}. Tokens: {_LOG_IN}."
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        if constants.HF_HUB_OFFLINE:
            return "it is not in the cache, and HF_HUB_OFFLINE keeps this program from the network. Unset it."
        if error.__cause__ is not None:
            return _reason(error.__cause__, repository, revision)
    if status in (401, 403):
        return f"the Hub refuses your token ({status}): it has ended, or may not do that. Another: {_LOG_IN}."
    if status is not None:
        return f"the Hub answered {status}: {_first_line(error)}"
    return f"{constants.ENDPOINT} cannot be reached or breaks off: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
