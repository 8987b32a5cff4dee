"""Data and disks that are not as they should be: said clearly, exit code 2, nothing lost."""

from collections.abc import Callable
from pathlib import Path

import fakes
import pytest
import torch
from conftest import TINY

Train = Callable[..., Path]
OWN = tuple(option for option in TINY if not option.startswith("data.num_samples"))


def fails(train: Train, capfd: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as end:
        train(*args)
    printed = capfd.readouterr()
    assert end.value.code == 2, printed.err
    assert "Traceback" not in printed.err
    return printed.err


def test_missing_dataset_says_where_it_looked_and_leaves_no_run(
    train_here: Train, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = fails(train_here, capfd, *OWN, "data=fer2013", "data.root=nowhere")
    for part in ("dataset 'fer2013' was not found", "/nowhere.", "fer2013.csv", "Expected:", "Source:", "data.root="):
        assert part in message
    assert not (tmp_path / "run").exists()


def test_wrong_rows_are_named_by_line(train_here: Train, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fakes.write_fer2013_csv(tmp_path / "fer2013.csv")
    lines = (tmp_path / "fer2013.csv").read_text().splitlines()
    lines[3] = "9" + lines[3][1:]
    lines[5] = lines[5].replace(" ", " x", 1)
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    message = fails(train_here, capfd, *OWN, "data=fer2013", f"data.root={tmp_path}")
    assert "fer2013.csv:4:" in message
    assert "fer2013.csv:6:" in message


def test_broken_images_are_named_all_at_once(
    train_here: Train, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fakes.write_image_folder(tmp_path / "faces")
    images = sorted(p for p in (tmp_path / "faces").rglob("*") if p.is_file())
    for image in images[2:4]:
        image.write_bytes(image.read_bytes()[:40])
    message = fails(train_here, capfd, *OWN, "data=folder", f"data.root={tmp_path}/faces", "data.image_size=32")
    assert "2 of 63 images" in message
    for image in images[2:4]:
        assert image.name in message


def test_too_small_for_the_network(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    message = fails(train_here, capfd, *TINY, "model=inception_v3")
    assert "needs images of at least 75x75; data.image_size=48" in message


def test_another_run_is_not_overwritten(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    run = train_here(*TINY)
    before = {p: p.stat().st_mtime_ns for p in (run / "checkpoints").iterdir()}
    assert "already holds a run" in fails(train_here, capfd, *TINY)
    assert {p: p.stat().st_mtime_ns for p in (run / "checkpoints").iterdir()} == before


def test_damaged_checkpoint_to_resume_from(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    run = train_here(*TINY)
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    content["optimizer_states"][0]["param_groups"] *= 2
    whole = last.read_bytes()
    torch.save(content, last)
    message = fails(train_here, capfd, f"resume={run}", "trainer.max_epochs=3")
    assert "cannot be gone on from: its optimizer_states are of other groups of weights" in message
    last.write_bytes(whole[:1000])
    message = fails(train_here, capfd, f"resume={run}", "trainer.max_epochs=3")
    assert "cannot be read (1000 bytes)" in message
    assert "best.ckpt is whole; to go on from it: ckpt=" in message


def test_pretrained_weights_that_cannot_be_had(train_here: Train, capfd: pytest.CaptureFixture[str]) -> None:
    message = fails(train_here, capfd, *TINY, "model=resnet18", "model.pretrained=true")
    assert "model.checkpoint_path" in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("+model.width=3",), "model.width: SimpleConv has no such option"),
        (("+trainer.max_epoch=3",), "Did you mean 'max_epochs'"),
        (("callbacks.best.filenam=x",), "callbacks.best.filenam: there is no such key"),
        (("transforms.flip._target_=albumentations.HorizontalFlop",), "Did you mean 'HorizontalFlip'"),
        (("model.name=x",), "model.name: there is no such key"),
        (("loss.class_weights=[1,2]",), "loss.class_weights=[1, 2]: must be null, balanced, or 7 numbers"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_options_that_do_not_fit(
    train_here: Train, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], expected: str
) -> None:
    assert expected in fails(train_here, capfd, *TINY, *options)


def test_fer2013_trains_in_each_form(train_here: Train, tmp_path: Path) -> None:
    fakes.write_fer2013_csv(tmp_path / "csv" / "fer2013.csv")
    fakes.write_kaggle_folders(tmp_path / "kaggle")
    for form in ("csv", "kaggle"):
        run = train_here(*OWN, "data=fer2013", f"data.root={tmp_path / form}", "data.batch_size=8", name=f"run-{form}")
        assert (run / "metrics.json").exists()
