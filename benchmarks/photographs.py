"""Photographs a second, from file to emotions, beside other packages on the same pictures.

``python -m benchmarks photographs <folder of pictures> ckpt=<run> fer=<python>`` where ``<python>`` is the Python of
another environment, with the package ``fer`` of PyPI in it (it has the same module name as this one);
``facial-emotion-recognition=<python>`` likewise. Each program has two threads of its own choosing, says how many faces
it found, and takes turns with the others.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from fer.data.pixels import EXTENSIONS

ROUNDS = 3
# Each defines `look`, which takes the path of a picture and returns its number of faces.
_PROGRAMS = {
    "ours": """
import fer
model = fer.load(sys.argv[1])
def look(path):
    return len(model.predict(path))
""",
    "fer": """
import cv2
from fer.fer import FER
detector = FER()
def look(path):
    return len(detector.detect_emotions(cv2.imread(path)) or [])
""",
    "facial-emotion-recognition": """
import cv2, functools, torch
torch.load = functools.partial(torch.load, map_location="cpu")  # its weights were saved on a GPU
from facial_emotion_recognition import EmotionRecognition
detector = EmotionRecognition(device="cpu")
def look(path):
    picture = cv2.imread(path)
    return int((detector.recognise_emotion(picture.copy(), return_type="BGR") != picture).any())
""",
}
# The first picture is not timed: networks are built and memory is taken there.
_TIMED = """
paths = sys.argv[2:]
look(paths[0])
start = time.perf_counter()
faces = sum(look(path) for path in paths)
print("\\nmeasured", time.perf_counter() - start, faces)
"""


def measure(console: Console, pictures: Path | None, options: Mapping[str, str]) -> None:
    """Print each program's photographs a second, and how many times as many as ours."""
    pythons = {name: python for name, python in options.items() if name in _PROGRAMS}
    if pictures is None or "ckpt" not in options or len(pythons) != len(options) - 1:
        sys.exit(f"say: photographs <folder of pictures> ckpt=<run>, and of {', '.join(_PROGRAMS)}: name=<its python>")
    paths = sorted(str(path.resolve()) for path in pictures.rglob("*") if path.suffix.lower() in EXTENSIONS)
    pythons = {"ours": sys.executable} | pythons
    took: dict[str, list[float]] = {name: [] for name in pythons}
    faces: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name, python in pythons.items():
            seconds, faces[name] = _look(name, python, options["ckpt"], paths)
            took[name].append(seconds)
    table = Table(title=f"{len(paths)} photographs, one after the other, {os.cpu_count()} cores, median of {ROUNDS}")
    for column in ("program", "faces", "photographs a second", "ours beside it"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for name, seconds in took.items():
        ratios = [theirs / ours for theirs, ours in zip(seconds, took["ours"], strict=True)]
        speed, beside = f"{len(paths) / median(seconds):.1f}", f"{median(ratios):.2f} times as fast"
        table.add_row(name, f"{faces[name]}", speed, beside)
    console.print(table)


def _look(name: str, python: str, ckpt: str, paths: list[str]) -> tuple[float, int]:
    program = f"import sys, time\n{_PROGRAMS[name]}{_TIMED}"
    # From an empty folder: the packages share their module's name.
    with tempfile.TemporaryDirectory() as empty:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [python, "-c", program, str(Path(ckpt).resolve()), *paths]
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    _, seconds, faces = next(line for line in done.stdout.splitlines() if line.startswith("measured ")).split()
    return float(seconds), int(faces)
