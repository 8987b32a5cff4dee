"""Fake RAF-DB, AffectNet, ExpW and SFEW: their true layouts, with the faces of fakes.face."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fakes import Pixels, face, write_image

from fer.data.labels import EMOTIONS

# The codes are written out here as in each dataset's own description, not taken from the code that reads them.
RAFDB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")  # from 1
AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")  # from 0
EXPW = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # from 0
AFFECTNET_YOLO = ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # from 0
SFEW = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def draw(emotion: str, rng: np.random.Generator, size: int) -> Pixels:
    """Draw an RGB face of an emotion."""
    return face(EMOTIONS.index(emotion), rng, size, channels=3)


def rafdb_names(per_class: int = 2) -> list[tuple[str, int]]:
    """Return names and codes: ``train_00001`` and so on, then ``test_0001``."""
    codes = [code for _ in range(per_class) for code in range(1, 8)]
    train = [(f"train_{number:05}", code) for number, code in enumerate(codes, start=1)]
    return train + [(f"test_{number:04}", code) for number, code in enumerate(codes, start=1)]


def write_rafdb(root: Path, per_class: int = 2, attributes: bool = True) -> dict[str, str]:
    """Write the official form; original pictures have many sizes.

    Returns:
        The emotion of each image, by its name without extension.
    """
    rng = np.random.default_rng(0)
    rows = rafdb_names(per_class)
    for number, (name, code) in enumerate(rows):
        emotion = RAFDB[code - 1]
        write_image(root / f"basic/Image/aligned/{name}_aligned.jpg", draw(emotion, rng, 100))
        write_image(root / f"basic/Image/original/{name}.jpg", draw(emotion, rng, 60 + number))
        if attributes:
            landmarks = "\n".join(f"{x}.5\t{x + 7}.25" for x in range(5))
            values = f"{number % 3}\n{number % 3}\n{number % 5}"
            write_text(root / f"basic/Annotation/manual/{name}_manu_attri.txt", f"{landmarks}\n{values}\n")
    lines = "".join(f"{name}.jpg {code}\n" for name, code in rows)
    write_text(root / "basic/EmoLabel/list_patition_label.txt", lines)
    return {name: RAFDB[code - 1] for name, code in rows}


def write_rafdb_kaggle(root: Path, per_class: int = 2, csv_files: bool = True) -> dict[str, str]:
    """Write ``DATASET/train|test/<code>/`` and the csv files beside it.

    Returns:
        The emotion of each image, by its name without extension.
    """
    rng = np.random.default_rng(0)
    rows = rafdb_names(per_class)
    for split in ("train", "test"):
        part = [(f"{name}_aligned.jpg", code) for name, code in rows if name.startswith(split)]
        for name, code in part:
            write_image(root / f"DATASET/{split}/{code}/{name}", draw(RAFDB[code - 1], rng, 100))
        if csv_files:
            write_text(root / f"{split}_labels.csv", "image,label\n" + "".join(f"{n},{c}\n" for n, c in part))
    return {name: RAFDB[code - 1] for name, code in rows}


def write_affectnet_csv(
    root: Path, per_class: int = 2, header: bool = True, codes: Sequence[int] = range(11)
) -> dict[str, tuple[str, Pixels]]:
    """Write the csv form: faces of 40 to 49 pixels, each within a larger picture, in mixed formats.

    Returns:
        Emotion and face of each picture with one of the eight expressions, by its path.
    """
    rng = np.random.default_rng(0)
    faces: dict[str, tuple[str, Pixels]] = {}
    for part in ("training", "validation", "automatically_annotated"):
        kind = "Automatically" if part.startswith("auto") else "Manually"
        rows = []
        for number, code in enumerate([code for _ in range(per_class) for code in codes]):
            extension = ("png", "bmp", "PNG")[number % 3]
            path = f"{number % 2}/{part}{number}.{extension}"
            size, left, top = 40 + number % 10, 3 + number % 4, 9 + number % 3
            picture = rng.integers(0, 255, (64, 70, 3)).astype(np.uint8)
            if code < 8:
                image = draw(AFFECTNET[code], rng, size)
                picture[top : top + size, left : left + size] = image
                faces[f"{kind}_Annotated_Images/{path}"] = AFFECTNET[code], image
            write_image(root / f"{kind}_Annotated_Images/{path}", picture)
            values = "-2,-2" if code > 7 else "0.5,-0.25"
            rows.append(f"{path},{left},{top},{size},{size},1.5;2.5;3.5,{code},{values}\n")
        text = "".join([f"{HEADER}\n" if header else "", *rows])
        write_text(root / f"{kind}_Annotated_file_lists/{part}.csv", text)
    return faces


def write_affectnet_npy(root: Path, per_class: int = 2) -> dict[str, str]:
    """Write the npy form: expressions as strings in ``train_set``, as integers in ``val_set``.

    Returns:
        The emotion of each image, by its path.
    """
    rng = np.random.default_rng(0)
    emotions: dict[str, str] = {}
    for folder in ("train_set", "val_set"):
        for number, code in enumerate([code for _ in range(per_class) for code in range(8)]):
            write_image(root / f"{folder}/images/{number}.jpg", draw(AFFECTNET[code], rng, 64))
            emotions[f"{folder}/images/{number}.jpg"] = AFFECTNET[code]
            annotations = root / f"{folder}/annotations"
            annotations.mkdir(exist_ok=True)
            np.save(annotations / f"{number}_exp.npy", np.array(str(code) if folder == "train_set" else code))
            np.save(annotations / f"{number}_val.npy", np.array("0.5"))
            np.save(annotations / f"{number}_lnd.npy", np.zeros(136))
    return emotions


def write_affectnet_labels_csv(root: Path, per_class: int = 2) -> dict[str, str]:
    """Write the class folders and ``labels.csv``, which labels the first image otherwise than its folder does.

    Returns:
        The emotion of each image in ``labels.csv``, by its path.
    """
    rng = np.random.default_rng(0)
    folders = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    emotions: dict[str, str] = {}
    rows = []
    for folder, emotion in zip(folders, AFFECTNET_YOLO, strict=True):
        for number in range(per_class):
            path = f"{folder}/image{number:07}.jpg"
            emotions[path] = emotion if emotions else "surprise"
            write_image(root / path, draw(emotions[path], rng, 96))
            rows.append([len(rows), path, folder if len(rows) else "surprise", 0.87])
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["", "pth", "label", "relFCs"], *rows])
    return emotions


def write_affectnet_yolo(root: Path, per_class: int = 2) -> dict[str, str]:
    """Write ``YOLO_format``.

    Returns:
        The emotion of each image, by its path below ``YOLO_format``.
    """
    rng = np.random.default_rng(0)
    emotions: dict[str, str] = {}
    for folder in ("train", "valid", "test"):
        for number, code in enumerate([code for _ in range(per_class) for code in range(8)]):
            path = f"{folder}/images/ffhq_{number}.png"
            emotions[path] = AFFECTNET_YOLO[code]
            write_image(root / "YOLO_format" / path, draw(emotions[path], rng, 96))
            write_text(root / f"YOLO_format/{folder}/labels/ffhq_{number}.txt", f"{code} 0.5 0.5 0.9 0.9\n")
    return emotions


def write_expw(root: Path, pictures: int = 14) -> dict[str, tuple[str, float, Pixels]]:
    """Write pictures with two faces each, side by side; the first face's box is 30 wide, the second's 36.

    Returns:
        Emotion, confidence and face of each face, by ``<name>#<face_id>``.
    """
    rng = np.random.default_rng(0)
    faces: dict[str, tuple[str, float, Pixels]] = {}
    rows = []
    for number in range(pictures):
        name = f"angry actor_{number}.png"
        picture = np.zeros((50, 90, 3), np.uint8)
        for identity, (left, top, size) in enumerate([(4, 2, 30), (45, 9, 36)]):
            code = (number + 3 * identity) % 7
            confidence = 59.9 if identity and number % 7 == 3 else 60.0 + number
            image = draw(EXPW[code], rng, size)
            picture[top : top + size, left : left + size] = image
            faces[f"{name}#{identity}"] = EXPW[code], confidence, image
            rows.append(f"{name} {identity} {top} {left} {left + size} {top + size} {confidence} {code}\n")
        write_image(root / "data/image/origin" / name, picture)
    write_text(root / "data/label/label.lst", "".join(rows))
    return faces


def write_sfew(root: Path, films: int = 6) -> dict[str, str]:
    """Write SFEW 2.0: aligned faces of 40x50 pixels; film 0 is in Train and in Val.

    Returns:
        The film of each labelled frame, by its path.
    """
    rng = np.random.default_rng(0)
    of: dict[str, str] = {}
    folders = {"Train/Train_Aligned_Faces": range(films), "Val/Val_Aligned_Faces_new/Val_Aligned_Faces": (0, 90)}
    for folder, numbers in folders.items():
        for name in SFEW:
            for film in numbers:
                path = f"{folder}/{name}/Film_{film}_Part_{film:09}_00000001.png"
                of[path] = f"Film_{film}_Part"
                write_image(root / path, np.pad(draw(name.lower(), rng, 40), ((5, 5), (0, 0), (0, 0))))
    write_image(root / "Test/Test_Aligned_Faces/Film_70_Part_000000001_00000001.png", draw("sad", rng, 40))
    return of


def write_text(path: Path, text: str) -> None:
    """Write a text file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
