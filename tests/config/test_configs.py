"""Every shipped config composes, and every node in it fits what it builds."""

import copy
import inspect
from pathlib import Path

import pytest
import torch
from conftest import REPO, composed
from torch import nn

from fer.build import check_options, locate
from fer.config.groups import group_names, option_names
from fer.data.base import FERDataModule
from fer.training.optim import GROUPING, build_optimizer, parameter_groups

CONF = REPO / "conf"
REQUIRED = {
    "data=csv": ["data.root=x"],
    "data=folder": ["data.root=x"],
    "data=shards": ["data.root=x"],
    "data=combined": ["data.datasets=[fer2013,rafdb]"],
    "optimizer=timm": ["optimizer.name=radam"],
    "model=custom": ["model._target_=torch.nn.Identity"],
    "model=timm": ["model.name=resnet18"],
}
# Each command beside fer.train, with what it cannot do without.
COMMANDS = {
    "test": ["ckpt=x"],
    "report": [],
    "ensemble": ["runs=x"],
    "audit": ["data=synthetic"],
    "faces": ["source=x", "to=y"],
    "pack": ["data=synthetic", "to=y"],
    "predict": [],
    "export": [],
    "demo": ["ckpt=x"],
}
# Not options of a choice but of what is built from it.
NOT_THE_TARGETS = {"scheduler": {"interval"}, "loss": {"class_weights"}}


def options() -> list[str]:
    found = []
    for group in group_names(CONF):
        for name in option_names(CONF, group):
            several = group == "callbacks" and name != "default"
            found.append(f"{group}=[default,{name}]" if several else f"{group}={name}")
    return found


def test_every_yaml_is_covered() -> None:
    every = {p.relative_to(CONF).as_posix() for p in CONF.rglob("*.yaml")}
    named = {f"{o.partition('=')[0]}/{o.partition('=')[2].strip('[]').split(',')[-1]}.yaml" for o in options()}
    rest = every - named - {f"{command}.yaml" for command in ("train", *COMMANDS)}
    assert all(Path(name).name.startswith("_") or name.startswith("hydra/") for name in rest), rest


@pytest.mark.parametrize(
    "group", [*sorted(set(group_names(CONF)) - {"experiment", "sweep", "transforms"}), "transforms/light"]
)
def test_every_option_has_a_comment(group: str) -> None:
    """Beside it or above it; recipes and other transforms change values of what is explained where it is defined."""
    for file in [CONF / f"{group}.yaml"] if "/" in group else sorted((CONF / group).glob("*.yaml")):
        before = ""
        for line in file.read_text().splitlines():
            key, _, value = line.strip().partition(":")
            explained = "  # " in line or before.lstrip().startswith("#") or key.startswith(("#", "-"))
            if value.strip() and key not in ("defaults", "_target_"):
                assert explained, f"{file}: {line}"
            before = line


@pytest.mark.parametrize("option", options())
def test_composes_and_fits_its_targets(option: str) -> None:
    if option.startswith("sweep="):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    config = composed(option, *REQUIRED.get(option, []))
    nodes = {"data": config["data"], "model": config["model"], "trainer": config["trainer"]}
    nodes |= {"loss": config["loss"], "scheduler": config["scheduler"]}
    for group in ("callbacks", "logger", "transforms"):
        nodes |= {f"{group}.{name}": node for name, node in config[group].items()}
    given = {
        "model": {"num_classes", "in_channels", "image_size"},
        "scheduler": {"optimizer", "total_steps", "steps_per_epoch", "max_lr"},
    }
    for where, node in nodes.items():
        target = locate(node["_target_"], where)
        values = {k: v for k, v in node.items() if k != "_target_" and k not in NOT_THE_TARGETS.get(where, set())}
        if where == "data":  # the base's options go through **loading
            own = inspect.signature(target).parameters.keys() | inspect.signature(FERDataModule).parameters.keys()
            assert values.keys() <= own, f"{option}: {values.keys() - own}"
            continue
        check_options(target, values, where, given.get(where, set()))


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_compose(name: str) -> None:
    composed(*COMMANDS[name], config=name)


@pytest.mark.parametrize("name", option_names(CONF, "optimizer"))
def test_every_optimizer_takes_a_step(name: str) -> None:
    node = composed(f"optimizer={name}", *REQUIRED.get(f"optimizer={name}", []))["optimizer"]
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
    before = copy.deepcopy(net.state_dict())
    optimizer = build_optimizer(node, parameter_groups(net, **{key: node[key] for key in GROUPING}))
    torch.nn.functional.cross_entropy(net(torch.rand(6, 1, 8, 8)), torch.arange(6) % 3).backward()
    optimizer.step()
    for key, parameter in net.named_parameters():
        assert parameter.isfinite().all(), key
        if key != "0.bias":  # which the batch norm takes out again
            assert not torch.equal(parameter, before[key]), key


def test_every_config_says_what_it_is() -> None:
    for path in CONF.rglob("*.yaml"):
        text = path.read_text().replace("# @package _global_", "")
        assert "#" in text or path.parent.name == "help", f"{path}: says nothing of itself"
