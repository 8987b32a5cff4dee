"""A run's folder is data: what of it is followed, and whose it is."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import TINY
from hydra.types import RunMode

from fer.cli import continuing
from fer.compat import parse_override
from fer.errors import ConfigError, FERError
from fer.files import run_record
from fer.training import opening
from fer.training.module import FERModule

Train = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def stamped(run: Path, *overrides: str) -> Path:
    run.mkdir(exist_ok=True)
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "checkpoints" / "last.ckpt").touch()
    run_record.write(run, run_record.RunRecord(list(overrides), data={"_target_": "fer.datasets.synthetic.Synthetic"}))
    return run


def strangers(run: Path) -> Path:
    """Make a run's folder somebody else's: its stamp was made with another key."""
    (Path(run).parent / "state" / "fer" / "key").unlink()
    return run


CODE = (
    "+callbacks.x._target_=os.system",
    "callbacks.samples.num_images=4",
    "+logger.y._target_=os.system",
    "model._target_=evil.Net",
    "+model={_target_: evil.Net}",
    "hydra.searchpath=[/elsewhere]",
    "hydra/launcher=joblib",
    "hydra.job_logging.handlers.x.class=evil",
    "hydra.run.dir=/elsewhere",
    "data.cache_dir=/elsewhere",
    "+trainer.default_root_dir=/elsewhere",
    "experiment=evil",
    "seed=${oc.env:HOME}",
    "+transforms.x={_target_: evil.Step}",
)


def test_a_folder_whose_name_leads_elsewhere(tmp_path: Path) -> None:
    run = stamped(tmp_path / "${oc.env:HOME}", "seed=1")
    with pytest.raises(FERError, match="Give its folder another name"):
        continuing.continued([], [f"resume={run}"])


@pytest.mark.parametrize("override", CODE)
def test_what_names_code_is_followed_by_its_owner_or_on_trust(tmp_path: Path, override: str) -> None:
    run = stamped(tmp_path / "run", "optimizer.lr=0.01", override)
    assert override in continuing.continued([], [f"resume={run}"])
    strangers(run)
    with pytest.raises(FERError, match=r"(?s)not made by you on this machine.*trust=true") as error:
        continuing.continued([], [f"resume={run}"])
    assert override in str(error.value)
    assert "optimizer.lr" not in str(error.value)
    assert override in continuing.continued([], [f"resume={run}", "trust=true"])


def test_plain_choices_of_anybody_are_followed(tmp_path: Path) -> None:
    plain = ["optimizer.lr=0.01", "data.classes=[sad,happy]", "model=small_cnn", "callbacks.samples=null", "~mixup"]
    run = strangers(stamped(tmp_path / "run", *plain))
    assert set(plain) <= set(continuing.continued([], [f"resume={run}"]))


def test_an_edited_record_is_nobodys(tmp_path: Path) -> None:
    run = stamped(tmp_path / "run", "seed=1")
    path = run / run_record.FILE
    assert run_record.read(run).own
    path.write_text(path.read_text().replace("seed=1", "seed=2"))
    assert not run_record.read(run).own
    (tmp_path / "state" / "fer" / "key").chmod(0o644)  # others may have read it
    stamped(run, "seed=1")
    assert not run_record.read(run).own


@pytest.mark.parametrize(
    "content", ["", "[", "format: 1", "format: 99\noverrides: []", "- a", "format: 1\noverrides: 3"]
)
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    run = stamped(tmp_path / "run", "seed=1")
    (run / run_record.FILE).write_text(content)
    with pytest.raises(ConfigError, match=r"run\.yaml: (is damaged|is of format 99)"):
        run_record.read(run)
    with pytest.raises(FERError, match="cannot go on, because what it was started with is lost"):
        continuing.continued([], [f"resume={run}"])


def test_a_strangers_data_is_one_of_ours_with_its_own_options(tmp_path: Path) -> None:
    run = strangers(stamped(tmp_path / "run"))
    good = {"_target_": "fer.datasets.synthetic.Synthetic", "num_samples": 280, "seed": 0}
    del good["seed"]
    (run / "config.yaml").write_text(yaml.safe_dump({"data": good}))
    assert run_record.data_of(run) == good
    for bad in (
        {"_target_": "os.system", "command": "x"},
        {**good, "_args_": ["x"]},
        {**good, "num_samples": {"_target_": "os.system"}},
        {**good, "cache_dir": "/elsewhere"},
        {**good, "num_samples": "${oc.env:HOME}"},
        {**good, "zzz": 1},
    ):
        (run / "config.yaml").write_text(yaml.safe_dump({"data": bad}))
        with pytest.raises(ConfigError, match=r"trust=true"):
            run_record.data_of(run)
        assert run_record.data_of(run, trust=True) == bad


def test_a_folder_lists_its_runs_and_last_takes_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    for name in ("1", "2"):
        stamped(tmp_path / "outputs" / "a" / name, f"seed={name}")
    with pytest.raises(FERError, match=r"(?s)holds 2 runs, the newest first.*a/2  has a checkpoint.*a/1 "):
        continuing.continued([], ["resume=outputs/a"])
    assert "seed=2" in continuing.continued([], ["resume=last"])
    for words, said in (
        (["resume="], "needs a run"),
        (["resume=outputs/none"], "does not exist"),
        (["ckpt=none.ckpt"], "no such file"),
        (["resume=outputs/a/1", "output_dir=elsewhere"], "goes on in the run's own folder"),
    ):
        with pytest.raises(FERError, match=said):
            continuing.continued([], words)


def test_refused_overrides_and_lost_files_do_not_end_a_run(
    train_here: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = train_here(*TINY, "trainer.max_epochs=1")
    before = (run / "run.yaml").read_text(), (run / "config.yaml").read_text()
    for words in (["optimizer.lr=-1"], ["trainer.max_epochs=2", "model=small_cnn"], []):
        with pytest.raises(SystemExit) as end:
            train_here(f"resume={run}", *words)
        assert end.value.code == 2
        assert ((run / "run.yaml").read_text(), (run / "config.yaml").read_text()) == before
    assert "is finished, after 1 epochs" in capfd.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FERModule, "configure_optimizers", lambda self: 1 / 0)  # fails inside fit, before it trains
        with pytest.raises(SystemExit):
            train_here(f"resume={run}", "trainer.max_epochs=2")
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert ((run / "run.yaml").read_text(), (run / "config.yaml").read_text()) == before
    (run / "config.yaml").write_text("a: [1")  # cut off
    shutil.rmtree(run / ".hydra")
    (run / "checkpoints" / "last.ckpt").unlink()
    train_here(f"resume={run}", "trainer.max_epochs=2")
    assert (run / "history.csv").read_text().count("\n") == 3


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/../../b", "[/x]", "a\x1b[31m", "~x", "", " ", "$x$", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    from fer.cli.config_check import folder_name

    with pytest.raises(ConfigError, match="names a folder in outputs"):
        folder_name(name)
    assert folder_name("fer2013-small_cnn/try 2 (é)") == "fer2013-small_cnn/try 2 (é)"


@pytest.mark.parametrize("mode", [RunMode.RUN, RunMode.MULTIRUN])
def test_a_job_killed_before_its_first_checkpoint_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: RunMode
) -> None:
    composed = SimpleNamespace(output_subdir=".hydra", mode=mode)
    monkeypatch.setattr(opening.HydraConfig, "get", lambda: composed)
    monkeypatch.setattr(run_record, "of_this_command", lambda config: run_record.RunRecord(["seed=1"]))
    run = stamped(tmp_path / "job", "seed=1")
    (run / "checkpoints" / "last.ckpt").unlink()
    if mode == RunMode.RUN:
        with pytest.raises(ConfigError, match="already holds a run"):
            opening.open_run(run, {"ckpt": None})
    else:
        opening.open_run(run, {"ckpt": None})
        assert (run / "config.yaml").exists()


def test_paths_of_several_teachers_with_commas(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    written = run_record._absolute_override(f"teacher=['{tmp_path}/a,b','{tmp_path}']")
    assert parse_override(written).value() == [f"{tmp_path}/a,b", str(tmp_path)]
