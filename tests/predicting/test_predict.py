"""fer.predict: a row a face of whatever is given, and what goes wrong is a line while the rest goes on."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import composed
from fakes import face, write_image
from fakes_model import write_run
from fakes_photos import photograph
from PIL import Image

from fer.errors import ConfigError
from fer.framing import detectors
from fer.framing.face import Face
from fer.predicting import photographs, sources
from fer.predicting.record import Record
from fer.predicting.tracks import Smoothing, Tracks, follow

Here = Callable[..., Path]
CPU = ("accelerator=cpu", "progress=false")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


class Bright:
    """Finds a white square, which stands for a face."""

    name = "fast"

    def detect(self, image: np.ndarray) -> list[Face]:
        y, x = np.nonzero(image[:, :, 0] > 240)
        if len(x) < 16:
            return []
        return [Face((float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)), None, 0.9)]


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(detectors._DETECTORS, "fast", Bright)


def rows(folder: Path, name: str = "predictions.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def square(left: int, top: int = 40, side: int = 40, size: tuple[int, int] = (240, 160)) -> np.ndarray:
    image = np.full((size[1], size[0], 3), 60, np.uint8)
    image[top : top + side, left : left + side] = 255
    return image


def write_video(path: Path, frames: int = 30) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20, (240, 160))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(square(20 + 4 * number))
    writer.release()


def test_a_folder_with_all_that_may_stand_in_it(
    run: Path, run_here: Here, tmp_path: Path, bright: None, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    (photos / "deep" / ".hidden").mkdir(parents=True)
    Image.fromarray(square(30)).save(photos / "one.png")
    Image.fromarray(square(90)).save(photos / "deep" / "=two\n<b>.png")
    Image.fromarray(square(90)).save(photos / "deep" / ".hidden" / "no.png")
    Image.new("RGB", (50, 40)).save(photos / "nobody.png")
    content = (photos / "one.png").read_bytes()
    (photos / "cut.png").write_bytes(content[: len(content) // 2])
    (photos / "text.jpg").write_text("no image")
    (photos / "phone.heic").write_bytes(b"heic")
    (photos / "notes.txt").write_text("not meant")
    write_video(photos / "film.mp4")
    (photos / "short.mp4").write_bytes((photos / "film.mp4").read_bytes()[:300])

    out = run_here("fer.predict", f"ckpt={run}", f"source={photos}", *CPU)
    printed = capsys.readouterr().out
    files = {Path(row["file"].lstrip("'")).name: row for row in rows(out, "files.csv")}
    assert {name: (row["frames"], row["faces"]) for name, row in files.items() if not row["error"]} == {
        "one.png": ("", "1"), "=two\n<b>.png": ("", "1"), "nobody.png": ("", "0"), "film.mp4": ("30", "30"),
    }  # fmt: skip
    for name, said in (("cut.png", "cut off"), ("text.jpg", "not an image"), ("phone.heic", "not read"),
                       ("short.mp4", "not a video")):  # fmt: skip
        assert said in files[name]["error"]
        assert said in printed
    assert "nobody.png: no face" in printed
    assert "=two\\n<b>.png: " in printed, "a name is only a name"
    assert "4 with an error (files.csv)" in printed

    found = rows(out)
    assert len(found) == 32
    assert list(found[0])[-3:] == ["p_angry", "p_happy", "p_sad"]
    of = {Path(row["file"]).name: row for row in found}
    assert [float(of["one.png"][key]) for key in ("left", "top", "right", "bottom")] == [30, 40, 70, 80]
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    for row, line in zip(found, lines, strict=True):
        assert float(row["confidence"]) == pytest.approx(line["confidence"], abs=1e-6)
        assert row["emotion"] == line["emotion"] == max(line["probabilities"], key=line["probabilities"].get)
    assert {path.name for path in (out / "annotated").iterdir()} == {"one.jpg", "two_n_b.jpg", "film.mp4"}


def test_a_video_keeps_its_face_and_is_drawn(run: Path, run_here: Here, tmp_path: Path, bright: None) -> None:
    write_video(tmp_path / "film.mp4")
    out = run_here("fer.predict", f"ckpt={run}", "source=film.mp4", "detect_every=4", "smooth=1", *CPU)
    found = rows(out)
    assert [int(row["frame"]) for row in found] == list(range(30))
    assert [float(row["time"]) for row in found] == pytest.approx([number / 20 for number in range(30)])
    assert {row["track"] for row in found} == {"1"}
    for number, row in enumerate(found):  # followed between the frames in which it was looked for
        assert float(row["left"]) == pytest.approx(20 + 4 * number, abs=4)
    film = cv2.VideoCapture(str(out / "annotated" / "film.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert film.get(cv2.CAP_PROP_FPS) == 20


def test_a_repeated_command_goes_on(
    run: Path, run_here: Here, tmp_path: Path, bright: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for number in range(6):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(square(10 * number)).save(tmp_path / "photos" / f"{number}.png")
    args = (f"ckpt={run}", "source=photos", "batch_size=2", "annotated=0", *CPU)
    whole = run_here("fer.predict", *args, name="whole")
    expected = (whole / "predictions.csv").read_bytes()
    settle, times = photographs._settle, []

    def stopped(*given: Any) -> None:
        times.append(1)
        if len(times) == 3:
            raise KeyboardInterrupt
        settle(*given)

    with monkeypatch.context() as patch:
        patch.setattr(photographs, "_settle", stopped)
        patch.setattr("fer.predicting.record._EVERY", -1.0)
        with pytest.raises(SystemExit) as stop:
            run_here("fer.predict", *args, name="parts")
    assert stop.value.code == 130
    folder = tmp_path / "parts"
    assert len(rows(folder)) == 4, "what was done is kept"
    with (folder / "predictions.csv").open("a") as file:
        file.write("half a li")  # of a process that was killed
    capsys.readouterr()
    run_here("fer.predict", *args, name="parts")
    assert "4 files were dealt with before" in capsys.readouterr().out
    assert (folder / "predictions.csv").read_bytes() == expected
    with pytest.raises(SystemExit) as refused:
        run_here("fer.predict", *args, "tta=flip", name="parts")
    assert refused.value.code == 2
    assert "tta=none, not flip" in capsys.readouterr().err
    run_here("fer.predict", *args, name=None)
    run_here("fer.predict", *args, name=None)
    assert len(list((tmp_path / "outputs" / "predict").iterdir())) == 1, "the same command, the same folder"
    assert "6 files were dealt with before" in capsys.readouterr().out


def test_faces_of_several_pictures_go_through_the_network_together(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fer

    model = fer.load(run, detector="none", device="cpu", batch_size=4)
    for number in range(10):
        write_image(tmp_path / f"{number}.png", face(number % 7, np.random.default_rng(number), 24))
    sizes = []
    classify = model.classify
    monkeypatch.setattr(model, "classify", lambda crops: sizes.append(len(crops)) or classify(crops))
    record = Record(tmp_path, model.classes, {})
    photographs.run(model, sorted(tmp_path.glob("*.png")), record, photographs.Told(), 2, 0, 0.0, False, lambda: None)
    record.close()
    assert sizes == [4, 4, 2]
    assert [Path(row["file"]).stem for row in rows(tmp_path)] == [str(number) for number in range(10)]


def test_no_more_than_a_few_pictures_wait() -> None:
    begun = []
    done = photographs._ahead(lambda item: begun.append(item) or item, range(1000), threads=2)
    assert next(done) == 0
    assert len(begun) <= 6
    done.close()


def test_undecided(run: Path, run_here: Here, tmp_path: Path, bright: None) -> None:
    Image.fromarray(square(30)).save(tmp_path / "one.png")
    out = run_here("fer.predict", f"ckpt={run}", "source=one.png", "min_confidence=1", "annotated=0", *CPU)
    assert rows(out)[0]["emotion"] == "undecided"
    assert json.loads((out / "predictions.jsonl").read_text())["emotion"] is None
    assert not (out / "annotated").exists()


def test_a_list_and_a_glob(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    for name in ("x.png", "y.jpg", "z.mp4", "notes.md"):
        (tmp_path / "a" / name).touch()
    (tmp_path / "list.txt").write_text("# mine\na/y.jpg\n\ngone.png\n")
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in sources.Files("list.txt").of_kind(video=False)] == ["y.jpg", "gone.png"]
    files = sources.Files("a/*")
    assert [path.name for path in files.of_kind(video=False)] == ["x.png", "y.jpg"]
    assert [path.name for path in files.of_kind(video=True)] == ["z.mp4"]
    assert len(sources.Files("a")) == 3
    # What a prediction into that folder has drawn there is no source; whatever else stands beside it is.
    for name in ("predictions.csv", "annotated/x.jpg", "explained/x.jpg"):
        (Path("a") / name).parent.mkdir(exist_ok=True)
        (Path("a") / name).touch()
    assert len(sources.Files("a")) == 5, "another program's predictions.csv"
    (Path("a") / "progress.json").touch()
    for source in ("a", "a/*", "a/**/*.*"):
        assert len(sources.Files(source)) == 3, source
    (tmp_path / "list.txt").write_text("\ufeffa/y.jpg\na/x.png\na/y.jpg\n")  # Notepad's; one file is named twice
    assert [path.name for path in sources.Files("list.txt").of_kind(video=False)] == ["y.jpg", "x.png"]


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("day1", "day2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").touch()
    scan = os.scandir

    def refuse(path: object) -> object:
        if str(path).endswith("day2"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigError, match=r"day2: cannot be read \(Permission denied\)"):
        sources.Files(str(tmp_path))


def test_a_relative_source_means_other_files_elsewhere(
    run: Path, run_here: Here, tmp_path: Path, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(square(30)).save(tmp_path / name / "one.png")
    where = (f"ckpt={run}", "source=one.png", f"output_dir={tmp_path}/out", "annotated=0", *CPU)
    monkeypatch.chdir(tmp_path / "a")
    run_here("fer.predict", *where, name=None)
    monkeypatch.chdir(tmp_path / "b")
    with pytest.raises(SystemExit):
        run_here("fer.predict", *where, name=None)
    assert len(rows(tmp_path / "out")) == 1


def test_names_that_begin_with_a_tilde(run: Path, run_here: Here, tmp_path: Path, bright: None) -> None:
    Image.fromarray(square(30)).save(tmp_path / "~backup.png")
    (tmp_path / "list.txt").write_text("~backup.png\n")
    for number, source in enumerate(("~backup.png", "list.txt", "*.png", ".")):
        out = run_here("fer.predict", f"ckpt={run}", f"source={source}", "annotated=0", *CPU, name=f"out{number}")
        assert [row["file"] for row in rows(out)] == ["~backup.png"], source


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "which model?"),
        (("ckpt={run}",), "source: of what?"),
        (("ckpt={run}", "source=gone.jpg"), "no such file or folder"),
        (("ckpt={run}", "source=empty"), "holds no picture and no video"),
        (("ckpt={run}", "source=empty/*.jpg"), "holds no picture and no video"),
        (("ckpt={run}", "source=https://a.b/c.jpg"), "is an address"),
        (("ckpt={run}", "source=63"), "no camera"),
        (("ckpt={run}", "source=no.mp4"), "not a video"),
        (("ckpt={run}", "source=empty", "detector=fasst"), "'fast'"),
        (("ckpt={run}", "source=empty", "min_confidence=60"), "min_confidence=60"),
        (("ckpt=gone", "source=empty"), "ckpt=gone: no such file"),
        (("ckpt=~gone/x", "source=empty"), "ckpt=~gone/x: no such file"),
        (("ckpt={run}", "source=~gone.jpg"), "source=~gone.jpg: no such file"),
        (("ckpt={run}", "source=empty", "explain=true", "annotated=0"), "annotated=0 writes none"),
    ],
)
def test_mistakes_are_said_before_torch(
    run: Path, run_here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.mp4").write_text("no video")
    monkeypatch.setattr("fer.environment.check", lambda: pytest.fail("torch would be imported now"))
    with pytest.raises(SystemExit) as stop:
        run_here("fer.predict", *(arg.format(run=run) for arg in args), *CPU, name=None)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").rglob("*.csv"))


def test_nothing_usable_is_an_error(
    run: Path, run_here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(SystemExit) as stop:
        run_here("fer.predict", f"ckpt={run}", "source=a.jpg", "detector=none", *CPU)
    assert stop.value.code == 2
    assert "nothing in it could be used" in capsys.readouterr().err


def test_a_camera_that_goes_away(
    run: Path, run_here: Here, tmp_path: Path, bright: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    class Camera:
        def __init__(self, *_: object) -> None:
            self.left = 12

        def isOpened(self) -> bool:
            return True

        def get(self, _: int) -> float:
            return 0.0

        def read(self) -> tuple[bool, np.ndarray | None]:
            self.left -= 1
            return self.left >= 0, square(30) if self.left >= 0 else None

        def release(self) -> None: ...

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with pytest.raises(SystemExit) as stop:
        run_here("fer.predict", f"ckpt={run}", "source=0", *CPU)
    assert stop.value.code == 2
    assert "source=0: the camera went away. What it saw until then stands in" in capsys.readouterr().err
    out = tmp_path / "out"
    assert len(rows(out)) == 12
    (file,) = rows(out, "files.csv")
    assert file["file"] == "camera 0"
    assert file["error"].startswith("gives no more frames after 0.")
    assert (out / "annotated" / "camera_0.mp4").is_file()


def test_two_faces_that_pass_each_other_keep_their_numbers() -> None:
    tracks, numbers = Tracks(), []
    for frame in range(40):
        left, right = 100 + 8 * frame, 420 - 8 * frame
        faces = [Face((left, 100, left + 80, 190), None, 0.9), Face((right, 130, right + 70, 210), None, 0.9)]
        numbers.append(tracks.update(faces[: 1 if frame % 7 == 3 else 2], frame / 10))
    assert all(one == [1, 2][: len(one)] for one in numbers)
    assert tracks.update([], 10.0) == []
    assert tracks.update([Face((0, 0, 50, 50), None, 0.3)], 10.1) == [None], "too uncertain to begin a track"


def test_a_face_is_followed_with_its_picture() -> None:
    picture, _ = photograph([(100, 80, 96)])
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    moved = np.roll(grey, (3, 5), (0, 1))
    points = np.full((5, 2), 120, np.float32)
    (found,) = follow(grey, moved, [Face((100.0, 80.0, 196.0, 176.0), points, 0.9)])
    assert found.box == pytest.approx((105, 83, 201, 179), abs=0.5)
    assert found.landmarks is not None
    assert found.landmarks[0] == pytest.approx((125, 123), abs=0.5)


def test_smoothing_forgets_at_the_stated_rate() -> None:
    smoothing = Smoothing(0.5)
    before, now = np.array((1, 0), np.float32), np.array((0, 1), np.float32)
    assert smoothing(1, 0.0, before).tolist() == [1, 0]
    assert smoothing(1, 0.5, now)[0] == pytest.approx(np.exp(-1))
    assert smoothing(2, 0.5, now).tolist() == [0, 1], "another face"
    assert Smoothing(0)(1, 1.0, now).tolist() == [0, 1]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("mine")
    with pytest.raises(ConfigError, match="which no prediction left"):
        Record(tmp_path, ["a", "b"], {})
    assert (tmp_path / "predictions.csv").read_text() == "mine"


def test_the_config_is_whole() -> None:
    assert composed(config="predict")["detector"] == "fast"


def test_a_colon_in_a_videos_name_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "x.mp4", 2)
    (tmp_path / "x.mp4").rename(tmp_path / "12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert sources.open_video(Path("12:30.mp4")).read()[0]
