"""What a run runs on: packages that fit together, a record for the run's folder, and libraries' warnings silenced.

``python -m fer.environment`` checks the packages and prints the record. Nothing heavy is imported until a function
needs it, so that a broken installation can still say what is broken.
"""

import importlib.metadata
import importlib.util
import logging
import os
import platform
import re
import shlex
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fer
from fer import compat
from fer.errors import FERError

CHILD = "FER_CHILD"
"""Set in the processes that :mod:`fer.training.launch` starts: their command line is complete."""

# The packages whose version can move a result.
PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "timm",
    "hydra-core",
    "omegaconf",
    "albumentations",
    "albucore",
    "opencv-python-headless",
    "numpy",
    "pillow",
    "tensorboard",
)
LIGHTNING = "pytorch-lightning>=2.6.4,<2.7"
MALICIOUS_LIGHTNING = ("2.6.2", "2.6.3")
OPENCV = "opencv-python-headless>=4.10.0.84,<5"
# Every one of them installs the same module, cv2: the last one installed wins.
OPENCV_NAMES = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def check() -> None:
    """Check that the installed packages can work together.

    Raises:
        FERError: With everything that is wrong and, for each, the command that mends it.
    """
    problems = [problem for problem in (_lightning_problem(), _opencv_problem(), _torch_problem()) if problem]
    if problems:
        raise FERError("\n".join(problems))
    compat.import_torchmetrics()


def describe() -> dict[str, Any]:
    """Return this environment as plain data: command, versions, hardware, git state and time.

    The names of GPUs come from torch, which starts CUDA for them: do not fork processes afterwards.
    """
    project = _git_state(Path(__file__).resolve().parent, tracked=Path(__file__).name)
    here = _git_state(Path.cwd())
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpu": _cpu(),
        "gpu": _gpu(),
        "packages": {"fer-lightning": fer.__version__} | {name: _version(name) for name in PACKAGES},
        "git": {
            "project": project,
            "current_folder": None if project and here and here["folder"] == project["folder"] else here,
        },
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _pip(arguments: str) -> str:
    """Return the pip command for this very Python, or uv's when there is no pip in it."""
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip"):
        return f"{python} -m pip {arguments}"
    verb, _, rest = arguments.removesuffix(" -y").partition(" ")
    return f"uv pip {verb} --python {python} {rest}"


def _lightning_problem() -> str:
    # Read from the metadata alone: the malicious releases do their work when they are imported.
    version = _version("pytorch-lightning")
    if version not in MALICIOUS_LIGHTNING:
        return ""
    return (
        f"pytorch-lightning {version} is a malicious release that steals credentials. Replace it before "
        f"anything imports it, and renew the passwords and tokens that this machine holds:\n"
        f"    {_pip(f'install {shlex.quote(LIGHTNING)}')}"
    )


def _opencv_problem() -> str:
    found = {name: version for name in OPENCV_NAMES if (version := _version(name))}
    wrong = {name: version for name, version in found.items() if int(version.partition(".")[0]) >= 5}
    if not wrong:
        return ""
    listed = ", ".join(f"{name} {version}" for name, version in wrong.items())
    return (
        f"{listed}: OpenCV 5 has no CascadeClassifier, with which faces are found. Go back to OpenCV 4:\n"
        f"    {_pip(f'uninstall {shlex.join(found)} -y')} && {_pip(f'install {shlex.quote(OPENCV)}')}"
    )


def _torch_problem() -> str:
    """Say what is wrong with torch and torchvision, which only fit in builds made for each other."""
    try:
        import torch

        # The compiled library alone: torchvision itself takes seconds, and few runs need it.
        if library := _operators():
            torch.ops.load_library(library)  # type: ignore[no-untyped-call, unused-ignore]
        else:
            import torchvision  # noqa: F401

        # Most mismatches fail above; a library that did not load at all fails at the first call.
        torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
    else:
        return ""

    installed = [f"{name} {_version(name) or '(not installed)'}" for name in ("torch", "torchvision")]
    return (
        f"torchvision's compiled operators do not load ({reason}): {' and '.join(installed)} are not builds "
        f"made for each other. Install the matching pair:\n"
        f"    {_pip('uninstall torch torchvision -y')} && {_pip(f'install {_matching_pair()}')}"
    )


def _operators() -> Path | None:
    """Return torchvision's library of compiled operators; None where it stands elsewhere than in today's releases."""
    spec = importlib.util.find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () for path in sorted(Path(folder).glob("_C*.so"))), None)


def _matching_pair() -> str:
    """Return the requirements of a torch and a torchvision that were made for each other."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    torch, vision = ((_version(name) or "").partition("+")[0] for name in ("torch", "torchvision"))
    if not vision:
        return "torch torchvision"
    requirements = [Requirement(line) for line in importlib.metadata.requires("torchvision") or ()]
    wanted = next((item.specifier for item in requirements if item.name == "torch"), SpecifierSet())
    if torch and wanted.contains(torch):
        wanted = SpecifierSet(f"=={torch}")
    # '===' compares letter by letter: '==2.13.0' is content with a 2.13.0+cpu from a local folder of wheels.
    return shlex.join((f"torch{wanted}".replace("==", "==="), f"torchvision==={vision}"))


def _cpu() -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")  # Linux; elsewhere the platform module knows
    if info.is_file() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        name = found[1]
    return {"name": name, "cores": os.cpu_count(), "usable_cores": usable_cores()}


def usable_cores() -> int:
    """Return the number of cores that this process may run on; of all, where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpu() -> dict[str, Any]:
    try:
        import torch
    except (ImportError, OSError):
        return {"count": 0, "names": [], "cuda": None}
    count = torch.cuda.device_count()
    return {
        "count": count,
        "names": [torch.cuda.get_device_name(index) for index in range(count)],
        "cuda": torch.version.cuda,
    }


def _git_state(folder: Path, tracked: str = "") -> dict[str, Any] | None:
    """Return the state of the repository around ``folder``, or None where there is none (or no git).

    Args:
        folder: Where to look from.
        tracked: A file in ``folder`` that must belong to the repository. An installed package may lie in a
            ``.venv`` inside a repository that has nothing to do with it.
    """
    root = _git(folder, "rev-parse", "--show-toplevel")
    if not root or (tracked and _git(folder, "ls-files", "--error-unmatch", tracked) is None):
        return None
    changes = _git(folder, "status", "--porcelain")
    return {
        "folder": root,
        "commit": _git(folder, "rev-parse", "--verify", "HEAD"),  # None before the first commit
        # New files count: an untracked model is a change too. None: git did not answer in time.
        "dirty": None if changes is None else bool(changes),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints in ``folder``, or None when it fails."""
    # Inside a git hook, GIT_DIR and its like name the hook's repository, whatever the folder.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # looking must not write
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",  # a file name may be in any encoding
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def quieten(first: bool) -> None:
    """Silence what a user can do nothing about; in every process but the first, all but warnings."""
    for name in ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not first:
        logging.getLogger("fer").setLevel(logging.ERROR)
    for message in (
        r".*LeafSpec.*",  # Lightning 2.6 uses a name that torch 2.15 deprecates
        r".*does not have many workers.*",  # loaders without augmentation are fastest without workers
        r".*your dataloader is not resumable.*",  # it is: fer.data.sampling goes on in mid-epoch
        r".*smaller than the logging interval.*",  # epochs are logged whatever the interval
        r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's own
        r".*in eval mode at the start of training.*",  # a frozen backbone is, on purpose
        r".*ModelCheckpoint.*could not find the monitored key.*",  # in an epoch without validation
        r".*custom batch sampler.*for prediction.*",  # EvalBatches returns every sample once
    ):
        warnings.filterwarnings("ignore", message=message)


def _print() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "this environment", show_header=False)

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{name} {key}" if name != "packages" else key, inner)
        else:
            text = ", ".join(value) if isinstance(value, list) else "-" if value is None else str(value)
            table.add_row(name, text)

    for name, value in describe().items():
        add(name, value)
    Console(markup=False, highlight=False).print(table)


def main() -> int:
    """Print the environment and return 0, or what is wrong with it and return 2."""
    try:
        check()
    except FERError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
