"""Fake FER+, CK+, JAFFE and KDEF: their true layouts, with the faces of fakes.face."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from fakes import SPLITS, Row, face, write_image

from fer.data.labels import BASIC, EMOTIONS

# Names and codes are written out here as in each dataset's own description, not taken from the code that reads them.
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
VOTED_AS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown", "NF")
CK_CODES = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")
CK48 = {"anger": "angry", "contempt": "contempt", "disgust": "disgust", "fear": "fear", "happy": "happy",
        "sadness": "sad", "surprise": "surprise"}  # fmt: skip
JAFFE = {"AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "surprise"}
JAFFE_SUBJECTS = ("KA", "KL", "KM", "KR", "MK")
KDEF = {"AF": "fear", "AN": "angry", "DI": "disgust", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "surprise"}
KDEF_SUBJECTS = ("F01", "F02", "M01", "M02", "M35")
KDEF_ANGLES = ("FL", "HL", "S", "HR", "FR")


def votes(**counts: int) -> list[int]:
    """Return ten votes in the order of the file: ``votes(happy=8, sad=2)``."""
    assert set(counts) <= set(VOTED_AS)
    return [counts.get(name, 0) for name in VOTED_AS]


def votes_for(rows: Sequence[Row], special: Mapping[int, list[int]] | None = None) -> list[tuple[str, list[int]]]:
    """Return usage and votes of each row of a fake fer2013.csv: eight for its label, but for ``special`` rows."""
    return [
        (row.usage, (special or {}).get(number) or votes(**{BASIC[row.label]: 8, "contempt": 1, "unknown": 1}))
        for number, row in enumerate(rows)
    ]


def write_votes(path: Path, rows: Sequence[tuple[str, list[int]]]) -> None:
    """Write ``fer2013new.csv``, or ``.csv.gz``; as in the original, rows that are no faces have no name."""
    lines = [",".join(["Usage", "Image name", *VOTED])]
    number = 0
    for usage, counts in rows:
        named = counts[-1] < 10
        lines.append(f"{usage},{f'fer{number:07}.png' if named else ''},{','.join(map(str, counts))}")
        number += named
    path.parent.mkdir(parents=True, exist_ok=True)
    content = ("\r\n".join(lines) + "\r\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_ferplus_microsoft(root: Path, rows: Sequence[Row], voted: Sequence[tuple[str, list[int]]]) -> list[str]:
    """Write ``data/FER2013Train/label.csv`` and so on, with their images.

    Returns:
        Each row's path below ``root``.
    """
    folders = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
    lines: dict[str, list[str]] = {usage: [] for usage in SPLITS}
    paths = []
    for number, (row, (usage, counts)) in enumerate(zip(rows, voted, strict=True)):
        name = f"fer{number:07}.png"
        paths.append(f"data/{folders[usage]}/{name}")
        write_image(root / paths[-1], row.image)
        lines[usage].append(f'{name},"(0, 0, 48, 48)",{",".join(map(str, counts))}\r\n')
    for usage, folder in folders.items():
        (root / f"data/{folder}/label.csv").write_bytes("".join(lines[usage]).encode())
    return paths


def write_ckplus(root: Path, subjects: int = 5, frames: int = 6, scale: int = 1) -> dict[str, str]:
    """Write ``cohn-kanade-images`` and ``Emotion``: every subject shows each of the seven emotions, and one unlabelled.

    A sequence goes from neutral to its peak. Pictures are 64x49 times ``scale``; those of every other subject are in
    colour.

    Returns:
        The emotion of each labelled sequence, by its folder below ``cohn-kanade-images``.
    """
    rng = np.random.default_rng(0)
    labelled: dict[str, str] = {}
    for number in range(subjects):
        for sequence, code in enumerate((*range(1, 8), None), start=1):
            folder = f"S{5 + 7 * number:03}/{sequence:03}"
            stem = folder.replace("/", "_")
            for frame in range(1, frames + 1):
                emotion = "neutral" if code is None or frame <= frames // 2 else CK_CODES[code]
                image = face(EMOTIONS.index(emotion), rng, 64 * scale, channels=3 if number % 2 else 1)[: 49 * scale]
                write_image(root / f"cohn-kanade-images/{folder}/{stem}_{frame:08}.png", image)
            (root / f"cohn-kanade-images/{folder}/.DS_Store").touch()
            (root / f"Emotion/{folder}").mkdir(parents=True)
            if code is not None:
                (root / f"Emotion/{folder}/{stem}_{frames:08}_emotion.txt").write_text(f"   {code:.7e}\n")
                labelled[folder] = CK_CODES[code]
    return labelled


def write_ck48(root: Path, subjects: int = 5, base: str = "CK+48") -> dict[str, str]:
    """Write ``CK+48/<class>/S005_001_00000010.png``: the last three frames of each subject's seven sequences.

    Returns:
        The emotion of each image, by its path below ``root``.
    """
    rng = np.random.default_rng(0)
    emotions: dict[str, str] = {}
    for number in range(subjects):
        for sequence, (name, emotion) in enumerate(CK48.items(), start=1):
            for frame in (10, 11, 12):
                path = f"{base}/{name}/S{5 + 7 * number:03}_{sequence:03}_{frame:08}.png".lstrip("/")
                write_image(root / path, face(EMOTIONS.index(emotion), rng))
                emotions[path] = emotion
    return emotions


def write_jaffe(root: Path, extension: str = "tiff", per_class: int = 2) -> dict[str, tuple[str, str]]:
    """Write ``KA.AN1.39.tiff`` and so on.

    Returns:
        Subject and emotion of each image, by its name.
    """
    rng = np.random.default_rng(0)
    names: dict[str, tuple[str, str]] = {}
    for subject in JAFFE_SUBJECTS:
        for code, emotion in JAFFE.items():
            for repetition in range(1, per_class + 1):
                name = f"{subject}.{code}{repetition}.{len(names) + 1}.{extension}"
                write_image(root / name, face(EMOTIONS.index(emotion), rng, 32))
                names[name] = subject, emotion
    return names


def write_kdef(
    root: Path, base: str = "KDEF_and_AKDEF/KDEF", angles: Sequence[str] = KDEF_ANGLES, square: bool = False
) -> dict[str, str]:
    """Write ``KDEF_and_AKDEF/KDEF/AF01/AF01ANFL.JPG`` and so on: portraits of 56x76, or squares, all in one folder.

    Returns:
        The emotion of each picture, by its path below ``root``.
    """
    rng = np.random.default_rng(0)
    emotions: dict[str, str] = {}
    for session in "AB":
        for subject in KDEF_SUBJECTS:
            for code, emotion in KDEF.items():
                for angle in angles:
                    person = session + subject
                    folder = "" if square else f"{base}/{person}/"
                    path = f"{folder}{person}{code}{angle}.JPG"
                    image = face(EMOTIONS.index(emotion), rng, 76, channels=3)
                    write_image(root / path, image[:24, :24] if square else image[:, 10:66])
                    emotions[path] = emotion
    return emotions
