"""Every key of every command, with values of a wrong type or out of range: refused, naming the key and the value."""

import math
from fnmatch import fnmatchcase
from typing import Any

import pytest
from conftest import REPO, composed, composition
from omegaconf import OmegaConf

from fer.config import option_types, signatures
from fer.config.groups import flat
from fer.errors import ConfigError

CONF = REPO / "conf"
CALLBACKS = "callbacks=[default,early_stopping,ema,finetuning,progressive_resizing]"
COMMANDS = {
    "train": ("train", "transforms=strong", CALLBACKS),
    "train cnn": ("train", "model=cnn", "optimizer=sgd", "scheduler=onecycle", "loss=focal", "data=jaffe"),
    "train timm": ("train", "model=resnet18", "optimizer=muon", "scheduler=step", "loss=multi_target", "data=ckplus"),
    "train fusion": ("train", "model=fusion", "scheduler=plateau", "data=expw", "mixup=both"),
    "train dense": ("train", "model=fully_connected", "scheduler=cyclic", "data=kdef", "trainer=ddp_cpu"),
    "test": ("test", "ckpt=x", "data=rafdb"),
    "audit": ("audit", "data=ferplus", "data@against=affectnet"),
    "report": ("report",),
    "faces": ("faces", "source=x", "to=y"),
    "pack": ("pack", "data=sfew", "to=y"),
}
NO_LOWEST = ("transforms.light.*",)  # of these any number is right
ALSO_RIGHT = {
    "trainer.fast_dev_run": 3, "data.min_confidence": 1.5, "shard_mb": 1.5, "model.freeze": [True], "trust": True,
}  # fmt: skip


def wrong_values_for(default: Any) -> list[Any]:
    """Return values that no key like this one can have, by what its default is."""
    never = [math.nan, math.inf, -math.inf, [math.nan], [[["x"]]]]
    if isinstance(default, bool):
        return [*never, 3, "abc", [True], {"a": 1}, 0.5]
    if isinstance(default, int):
        return [*never, "abc!", 1.5, {"a": "b"}, ["abc"], -7_777_777, True]
    if isinstance(default, float):
        return [*never, "abc", {"a": 1}, ["abc"], True, -7_777_777.0]
    if isinstance(default, str):
        return [*never, {"a": 1}, [1.5], True]
    if isinstance(default, list):
        return [*never, {"a": 1}, "abc", 5.5, True]
    return [*never, [{"a": {"b": [1]}}]]


def refusal(config: dict[str, Any], command: str) -> str:
    return "\n".join(option_types.wrong_values(config, CONF / f"{command}.yaml"))


def plain(name: str) -> dict[str, Any]:
    command, *overrides = COMMANDS[name]
    return OmegaConf.to_container(composition(*overrides, config=command), resolve=True)


def parent(config: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    *groups, last = key.split(".")
    for group in groups:
        config = config[group]
    return config, last


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_types_and_numbers_are_refused_by_name(name: str) -> None:
    config, command = plain(name), COMMANDS[name][0]
    assert not refusal(config, command)
    keys = flat(config)
    # A wrong target changes what the options beside it are checked by, so it has a round of its own.
    targets = {key: default for key, default in keys.items() if key.endswith("_target_")}
    others = {key: default for key, default in keys.items() if key not in targets}
    tried, missed = 0, []
    for group in (targets, others):
        wrong = {key: _wrong_values(key, default) for key, default in group.items()}
        for number in range(max(map(len, wrong.values()), default=0)):
            given = {key: values[number] for key, values in wrong.items() if number < len(values)}
            for key, value in given.items():
                node, last = parent(config, key)
                node[last] = value
            lines = refusal(config, command).splitlines()
            named = [key for key in given if any(line.startswith((f"{key}=", f"{key}:")) for line in lines)]
            tried += len(given)
            missed += [f"{key}={given[key]!r}" for key in given if key not in named]
            for key in given:
                node, last = parent(config, key)
                node[last] = keys[key]
    assert not missed, f"{len(missed)} of {tried}:\n" + "\n".join(missed)
    assert tried > (15 if command in ("report", "faces") else 60)


def _wrong_values(key: str, default: Any) -> list[Any]:
    no_lowest = any(fnmatchcase(key, pattern) for pattern in NO_LOWEST)
    return [
        value
        for value in wrong_values_for(default)
        if not (no_lowest and value == -7_777_777.0) and value != ALSO_RIGHT.get(key, math.nan)
    ]


@pytest.mark.parametrize("value", [True, False, ["my_package"]])
@pytest.mark.parametrize("needed", [("test", "ckpt=x"), ("ensemble", "runs=x"), ("export", "ckpt=x")])
def test_a_run_folder_or_packages_can_be_trusted(needed: tuple[str, str], value: object) -> None:
    command, option = needed
    assert not refusal(composed(option, config=command) | {"trust": value}, command)


@pytest.mark.parametrize("name", COMMANDS)
def test_deleted_and_new_keys_are_refused_by_name(name: str) -> None:
    config, command = plain(name), COMMANDS[name][0]
    missed = []
    for key in config:
        if key not in ("data", "against") or command == "train":
            rest = {other: value for other, value in config.items() if other != key}
            missed += [] if f"{key}: is missing" in refusal(rest, command) else [f"~{key}"]
    for key in ("lr_search", "data.nothing_reads_this", "against.nothing_reads_this", "mixup.alpha", "trainer.logger"):
        group = key.rpartition(".")[0]
        if group and config.get(group) is None:
            continue
        more = {**config, group: {**config[group], key.rpartition(".")[2]: True}} if group else {**config, key: True}
        missed += [] if key in refusal(more, command) else [f"+{key}"]
    assert not missed


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lr=null", "optimizer.lr=null: must be a number."),
        ("optimizer.lr=[0.1,0.2]", "optimizer.lr=[0.1,0.2]: must be a number."),
        ("seed=null", "seed=null: must be a whole number."),
        ("data.mean=abc", "data.mean=abc: must be a number, a list of numbers or null"),
        ("data.sampler=weigted", "must be one of shuffle, weighted. Did you mean 'weighted'?"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs=1.5: must be a whole number or null."),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: must be at least 1, or -1."),
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0: must be at least 1."),
        ("trainer.limit_train_batches=1.5", "at most 1 (a share of the batches;"),
        ("ckpt=''", "ckpt=: needs a path, or null for none."),
        ("output_dir=''", "output_dir=: needs a path."),
        ("trainer.num_nodes=3", "trainer.num_nodes=3: nothing has started this on several machines"),
        ("trainer.max_time=abc", "trainer.max_time=abc: must be days:hours:minutes:seconds"),
        ("trainer.enable_progress_bar=null", "trainer.enable_progress_bar=null: must be true or false."),
        ("transforms.affine.rotate=[1]", "transforms.affine.rotate=[1]: must be a list of 2 numbers"),
        ("trainer.devices=[0,0]", "trainer.devices=[0,0]: must be a number of devices from 1"),
        ("trainer.accelerator=gppu", "Did you mean 'gpu'?"),
        ("scheduler.warmup_epochs=-1", "scheduler.warmup_epochs=-1: must be at least 0."),
        ("~optimizer.lr", "optimizer.lr is missing: optimizer.lr=..."),
        ("~trainer.enable_progress_bar", "trainer.enable_progress_bar is missing"),
        ("callbacks=[]", "callbacks: is missing. callbacks=[default] is the least"),
        ("+lr_search=true", "lr_search=true: nothing reads this key."),
        ("+optimizers=3", "optimizers=3: nothing reads this key. Did you mean 'optimizer'?"),
        ("+trainer.logger=false", "trainer.logger: is filled in by the program; leave it out."),
        ("+model.num_classes=7", "model.num_classes: is filled in by the program"),
        ("transforms.flip=3", "transforms.flip=3: needs a _target_"),
        ("loss.class_weights=balancd", "Did you mean 'balanced'?"),
        ("callbacks.best.monitor=val/loss", "callbacks.best.monitor=val/loss: it must be that of the run."),
        (
            "callbacks.best.mode=min",
            "callbacks.best.mode=min: with callbacks.best.monitor=val/f1_macro it must be max.",
        ),
        ("callbacks.best.filename=x", "callbacks.best.filename=x: must stay as it is"),
        ("+callbacks.best.every_n_epochs=2", "callbacks.best.every_n_epochs=2: must stay as it is"),
        ("+callbacks.last.save_weights_only=true", "callbacks.last.save_weights_only=true: must stay as it is"),
        ("callbacks.best=null", "callbacks.best=null: no best checkpoint would be kept"),
        ("callbacks=early_stopping", "Say callbacks=[default,early_stopping]."),
        (
            "+trainer.val_check_interval='00:00:30:00'",
            "trainer.val_check_interval=00:00:30:00: is a time, so no epoch need",
        ),
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches=0: without validation there is no best checkpoint"),
        ("trainer.check_val_every_n_epoch=11", "the training ends after 10 epochs"),
        ("+trainer.enable_checkpointing=false", "trainer.enable_checkpointing=false: no best checkpoint"),
    ],
)
def test_what_is_refused_and_how(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        composed(override)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("scheduler=step", "scheduler.step_size=0"), "scheduler.step_size=0: must be at least 1."),
        (("transforms=strong", "transforms.blur.blur_limit=-1"), "transforms.blur.blur_limit=-1: must be at least 0"),
        (("model=timm", "model.name=null"), "model.name=null: must be a text."),
        (("model=cnn", "model.filters=[]"), "model.filters=[]: needs at least one."),
        (("model=resnet18", "+model.head.foo=3"), "model.head.foo: Head has no such option."),
        (
            ("data=combined", "data.datasets=[ferplus,jaffe]", "+data.options.ferplus.mode=multi_target"),
            "data.options.ferplus.mode=multi_target: its targets are no distribution; it needs loss=multi_target.",
        ),
        (("scheduler=plateau", "scheduler.factor=0"), "scheduler.factor=0: must be above 0 and at most 1."),
        (("optimizer.lr=1e9",), "optimizer.lr=1000000000.0: must be above 0 and at most 1000."),
        (
            ("mixup=both", "mixup.mixup_alpha=1e9"),
            "mixup.mixup_alpha=1000000000.0: must be at least 0 and at most 100.",
        ),
        (("data=jaffe", "data.folds=losso"), "must be a whole number or loso. Did you mean 'loso'?"),
        (
            ("scheduler=plateau", "trainer.check_val_every_n_epoch=2"),
            "trainer.check_val_every_n_epoch=2: scheduler=plateau looks at the validation score after each epoch.",
        ),
        (
            ("model=resnet18", "model.freeze=true", "callbacks=[default,finetuning]"),
            "model.freeze=true: keeps the backbone frozen for good, and callbacks.finetuning is to unfreeze it. Say "
            "model.freeze=false: finetuning itself freezes it in the first epochs.",
        ),
        (
            ("model=fusion", "model.freeze=[true,true,true]", "callbacks=[default,finetuning]"),
            "model.freeze=[true,true,true]: keeps the backbone",
        ),
        (
            ("test_last_epoch=true", "callbacks.last=null"),
            "test_last_epoch=true: callbacks.last=null keeps no last epoch. Leave one of them out.",
        ),
        (("scheduler=plateau", "scheduler.mode=min"), "scheduler.mode=min: with monitor=val/f1_macro it must be max."),
        (
            ("callbacks=[default,early_stopping]", "callbacks.early_stopping.monitor=val_loss"),
            "callbacks.early_stopping.monitor=val_loss: no such score. Did you mean 'val/loss'?",
        ),
        (
            ("callbacks=[default,early_stopping]", "callbacks.early_stopping.mode=min"),
            "callbacks.early_stopping.mode=min: with callbacks.early_stopping.monitor=val/f1_macro it must be max.",
        ),
        (
            ("+callbacks.mine._target_=pytorch_lightning.callbacks.ModelCheckpoint", "+callbacks.mine.filename=best"),
            "callbacks.mine.filename=best: would overwrite the run's own checkpoint",
        ),
    ],
)
def test_what_is_refused_of_other_choices(overrides: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        composed(*overrides)
    assert expected in str(error.value)


def test_a_callback_of_its_own_monitor_gets_its_direction() -> None:
    stop = ("callbacks=[default,early_stopping]", "callbacks.early_stopping.monitor=val/loss")
    assert composed(*stop)["callbacks"]["early_stopping"]["mode"] == "min"
    assert composed("monitor=val/loss")["callbacks"]["best"]["mode"] == "min"
    assert composed(*stop)["callbacks"]["best"]["mode"] == "max"


@pytest.mark.parametrize(
    "overrides",
    [
        ("data=jaffe", "data.folds=loso", "data.fold=0"),
        ("trainer.fast_dev_run=true", "trainer.limit_val_batches=0"),
        ("trainer.devices=[0,1]",),
        ("trainer.devices=auto", "trainer.max_epochs=-1", "scheduler=constant"),
        ("trainer.max_time=00:00:08:00", "trainer.gradient_clip_val=0.5"),
        ("+optimizer.amsgrad=true", "+trainer.overfit_batches=1"),
        ("model=resnet18", "+model.kwargs.drop_path_rate=0.1"),
        ("+callbacks.mine._target_=nowhere.MyCallback", "+callbacks.mine.anything=[1,2]"),
        ("callbacks.last=null", "callbacks.progress=null", "transforms.flip=null"),
        ("loss.class_weights=[1,2,3,4,5,6,7]",),
        ("model=cnn", "model.pooling=[max,null,avg]", "model.dropout=[0.1,0.2,0.3]"),
    ],
)
def test_what_is_right_is_not_refused(overrides: tuple[str, ...]) -> None:
    composed(*overrides)


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(option_types.importlib.util, "find_spec", lambda name: None)
    signatures.read.cache_clear()
    with pytest.raises(ConfigError) as error:
        composed("+logger.w._target_=pytorch_lightning.loggers.WandbLogger", "trainer.accelerator=tpu")
    message = str(error.value)
    signatures.read.cache_clear()
    assert "logger.w: this needs the package wandb, which is not installed: pip install 'fer-" in message
    assert "trainer.accelerator=tpu: this needs the package torch_xla, which is not installed: pip install" in message
