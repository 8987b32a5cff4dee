"""Parameter groups, optimisers by name, and the course of each schedule."""

import math
from typing import Any

import pytest
import torch
from timm.optim import create_optimizer_v2
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

from fer.errors import ConfigError
from fer.models import build_model
from fer.models.cnn import CNN
from fer.training.module import FERModule
from fer.training.optim import OF_TORCH, build_optimizer, build_scheduler, parameter_groups

ADAM = {"name": "adam", "lr": 1e-3, "weight_decay": 0.0, "backbone_lr_factor": 1.0, "layer_decay": None}


def tiny_timm(**options: object) -> nn.Module:
    config = {"_target_": "fer.models.timm_model.TimmModel", "name": "test_vit", **options}
    return build_model(config, 7, 3, 160)


def lr_of(groups: list[dict[str, object]], parameter: nn.Parameter) -> float:
    return next(g["lr"] for g in groups if any(p is parameter for p in g["params"]))  # type: ignore[attr-defined]


def test_every_trainable_parameter_stands_in_one_group() -> None:
    net = tiny_timm()
    groups = parameter_groups(net, 1e-3, 0.1, 0.5, 0.7)
    listed = [id(p) for g in groups for p in g["params"]]
    assert sorted(listed) == sorted(id(p) for p in net.parameters())


def test_biases_norms_and_embeddings_are_not_decayed() -> None:
    net = tiny_timm()
    decay = {id(p): g["weight_decay"] for g in parameter_groups(net, 1e-3, 0.1) for p in g["params"]}
    for name, p in net.named_parameters():
        exempt = p.ndim <= 1 or name.removeprefix("backbone.") in net.backbone.no_weight_decay()
        assert decay[id(p)] == (0.0 if exempt else 0.1), name


def test_lower_lr_for_the_backbone_and_lower_still_for_its_first_blocks() -> None:
    net = tiny_timm()
    groups = parameter_groups(net, 1e-3, 0.1, backbone_lr_factor=0.1)
    assert lr_of(groups, next(net.head.parameters())) == 1e-3
    assert lr_of(groups, net.backbone.blocks[0].attn.qkv.weight) == pytest.approx(1e-4)
    groups = parameter_groups(net, 1e-3, 0.1, layer_decay=0.5)
    first, last = (lr_of(groups, net.backbone.blocks[i].attn.qkv.weight) for i in (0, -1))
    assert first == pytest.approx(last * 0.5 ** (len(net.backbone.blocks) - 1))


def test_layers_whose_order_is_unknown_have_no_decay_of_rates() -> None:
    net = CNN(7, 1, 48, filters=[8, 8])
    with pytest.raises(ConfigError, match=r"optimizer\.layer_decay=0\.5: CNN does not say which of its layers"):
        parameter_groups(net, 1e-3, 0.1, layer_decay=0.5)


def test_frozen_parameters_are_left_out() -> None:
    net = tiny_timm(freeze=True)
    listed = {id(p) for g in parameter_groups(net, 1e-3, 0.1) for p in g["params"]}
    assert listed == {id(p) for p in net.head.parameters()}


@pytest.mark.parametrize("option", [{"backbone_lr_factor": 0.1}, {"layer_decay": 0.75}])
def test_rates_of_a_frozen_backbone_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"are of the backbone, which model\.freeze does not train"):
        parameter_groups(tiny_timm(freeze=True), 1e-3, 0.1, **option)


def test_fsdp_trains_the_same_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    module = FERModule(
        classes=["happy", "sad"],
        preprocessing={"image_size": 160, "channels": 3, "mean": [0.5], "std": [0.25]},
        model={"_target_": "fer.models.timm_model.TimmModel", "name": "test_vit"},
        loss={"_target_": "torch.nn.CrossEntropyLoss"},
        optimizer={**ADAM, "name": "adamw", "weight_decay": 0.1, "layer_decay": 0.5},
        scheduler={"_target_": "fer.training.optim.warmup_cosine", "interval": "step"},
        mixup={"mixup_alpha": 0, "cutmix_alpha": 0},
    )
    names = {id(p): name for name, p in module.named_parameters()}
    expected = {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(module.net, 1e-3, 0.1, layer_decay=0.5)
        for p in group["params"]
    }
    monkeypatch.setattr(FERModule, "_epoch_length", lambda self: (10, 10))
    monkeypatch.setattr(FERModule, "total_steps", lambda self: 10)
    module.setup("fit")
    # One process of two: each parameter is cut down to its own share of one long row, as under trainer.strategy=fsdp.
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        FullyShardedDataParallel(module, device_id=torch.device("cpu"), use_orig_params=True)
        assert {p.ndim for p in module.parameters()} == {1}
        groups = module.configure_optimizers()["optimizer"].param_groups
    finally:
        torch.distributed.destroy_process_group()
    trained = {id(p): (group["initial_lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert {names[id(p)]: trained[id(p)] for p in module.parameters()} == expected


def test_what_cannot_be() -> None:
    flat = build_model({"_target_": "fer.models.fully_connected.FullyConnected"}, 7, 1, 8)
    with pytest.raises(ConfigError, match="need a model with a backbone"):
        parameter_groups(flat, 1e-3, 0.0, backbone_lr_factor=0.1)
    groups = parameter_groups(flat, 1e-3, 0.0)
    with pytest.raises(ConfigError, match=r"optimizer.name=adm is unknown. Did you mean 'adam'"):
        build_optimizer({**ADAM, "name": "adm"}, groups)
    with pytest.raises(ConfigError, match=r"optimizer.betas: sgd has no such option"):
        build_optimizer({**ADAM, "name": "sgd", "betas": [0.9, 0.99]}, groups)
    with pytest.raises(ConfigError, match=r"optimizer\.name=adahessian: needs gradients of gradients"):
        build_optimizer({**ADAM, "name": "adahessian"}, groups)
    with pytest.raises(
        ConfigError, match=r"optimizer.wings: adam has no such option\. Leave it out; .* say ~optimizer\.wings\."
    ):
        build_optimizer({**ADAM, "wings": 2}, groups)


def test_names_mean_what_they_say() -> None:
    flat = build_model({"_target_": "fer.models.fully_connected.FullyConnected"}, 7, 1, 8)
    groups = parameter_groups(flat, 1e-3, 0.0)
    plain = build_optimizer({**ADAM, "name": "sgd", "momentum": 0.9, "nesterov": False}, groups)
    assert isinstance(plain, torch.optim.SGD)
    assert not plain.defaults["nesterov"]
    assert isinstance(build_optimizer(ADAM, groups), torch.optim.Adam)


@pytest.mark.parametrize("name", OF_TORCH)
def test_torchs_own_are_what_timm_would_build(name: str) -> None:
    def groups() -> list[dict[str, object]]:
        return [{"params": [torch.nn.Parameter(torch.ones(3))], "weight_decay": 0.01}]

    ours = build_optimizer({"name": name, "lr": 0.1, "weight_decay": 0.02}, groups())
    timms = create_optimizer_v2(groups(), opt=name, lr=0.1, weight_decay=0.02)
    assert type(ours) is type(timms)
    assert ours.defaults == timms.defaults


def course(node: dict[str, object], steps: int = 40, per_epoch: int = 10) -> list[float]:
    """Return the learning rate of each step of a run of ``steps``."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=0.9)
    config = build_scheduler(node, optimizer, steps, per_epoch)
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if config["interval"] == "step" or (step + 1) % per_epoch == 0:
            config["scheduler"].step()
    return rates


def test_cosine_with_warmup() -> None:
    rates = course(
        {"_target_": "fer.training.optim.warmup_cosine", "interval": "step", "warmup_epochs": 1.0, "min_factor": 0.1}
    )
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[25] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_onecycle_peaks_at_the_learning_rate_and_ends_low() -> None:
    target = "torch.optim.lr_scheduler.OneCycleLR"
    rates = course({"_target_": target, "interval": "step", "pct_start": 0.3, "div_factor": 25.0})
    assert max(rates) == pytest.approx(1.0)
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[-1] < 0.01


ONECYCLE, CYCLIC = "torch.optim.lr_scheduler.OneCycleLR", "torch.optim.lr_scheduler.CyclicLR"


def momenta(node: dict[str, Any], optimizer: torch.optim.Optimizer, steps: int = 20) -> list[list[float]]:
    """Return each group's momentum, or first beta, of each step."""
    up = {"base_lr": 0.01, "step_size_up": steps // 2} if node["_target_"] == CYCLIC else {}
    scheduler = build_scheduler({"interval": "step", **up, **node}, optimizer, steps, steps)["scheduler"]
    found = []
    for _ in range(steps):
        found.append([group.get("momentum", group.get("betas", [None])[0]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return [list(group) for group in zip(*found, strict=True)]


def sgd(*momentum: float) -> torch.optim.Optimizer:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "momentum": each} for each in momentum]
    return torch.optim.SGD(groups, lr=0.1)


@pytest.mark.parametrize("node", [{"_target_": ONECYCLE}, {"_target_": CYCLIC, "cycle_momentum": True}], ids=str)
def test_the_momentum_falls_from_the_optimisers_own_while_the_rate_rises(node: dict[str, Any]) -> None:
    for group, own in zip(momenta(node, sgd(0.9, 0.5)), (0.9, 0.5), strict=True):
        assert group[0] == max(group) == pytest.approx(own)
        assert min(group) == pytest.approx(own - 0.1, abs=0.02)
    assert set(momenta(node, sgd(0.0))[0]) == {0.0}
    assert min(momenta(node, sgd(0.05))[0]) >= 0
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.1, betas=(0.8, 0.99))
    assert max(momenta(node, adam)[0]) == pytest.approx(0.8)
    given = {**node, "max_momentum": 0.95, "base_momentum": 0.85}
    assert max(momenta(given, sgd(0.5))[0]) == pytest.approx(0.95)
    assert min(momenta(given, sgd(0.5))[0]) == pytest.approx(0.85, abs=0.02)
    assert set(momenta({**node, "cycle_momentum": False}, sgd(0.5))[0]) == {0.5}
    without = torch.optim.Adagrad([nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ConfigError, match="must support momentum"):
        momenta(node, without)


def test_a_given_number_of_steps_must_last_for_the_run() -> None:
    node = {"_target_": ONECYCLE, "interval": "step", "total_steps": 30}
    build_scheduler(node, sgd(0.9), 30, 10)
    with pytest.raises(ConfigError, match=r"total_steps=30: the run has 31 steps.*Leave it out.*max_steps=30"):
        build_scheduler(node, sgd(0.9), 31, 10)


def test_step_and_exponential_change_by_the_epoch() -> None:
    torch_lr = "torch.optim.lr_scheduler"
    step = course({"_target_": f"{torch_lr}.StepLR", "interval": "epoch", "step_size": 2, "gamma": 0.5})
    assert step == pytest.approx([1.0] * 20 + [0.5] * 20)
    exponential = course({"_target_": f"{torch_lr}.ExponentialLR", "interval": "epoch", "gamma": 0.9})
    assert exponential[::10] == pytest.approx([1.0, 0.9, 0.81, 0.729])


def test_cyclic_goes_up_to_the_learning_rate() -> None:
    node = {"_target_": "torch.optim.lr_scheduler.CyclicLR", "interval": "step", "base_lr": 0.1, "step_size_up": 10}
    rates = course({**node, "cycle_momentum": False})
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(1.0)
    assert rates[20] == pytest.approx(0.1)


def test_slower_groups_cycle_below_their_own_rates() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.01)]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    node = {"_target_": "torch.optim.lr_scheduler.CyclicLR", "interval": "step", "base_lr": 0.1, "step_size_up": 10}
    build_scheduler({**node, "cycle_momentum": False}, optimizer, 40, 10)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.001])
    with pytest.raises(ConfigError, match=r"scheduler\.base_lr=1: must be below optimizer\.lr=1\."):
        build_scheduler({**node, "base_lr": 1.0}, torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0), 40, 10)


@pytest.mark.parametrize("target", ["fer.training.optim.warmup_cosine", "torch.optim.lr_scheduler.OneCycleLR"])
def test_a_run_without_an_end_has_no_planned_schedule(target: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    with pytest.raises(ConfigError, match="which has no end: set trainer"):
        build_scheduler({"_target_": target, "interval": "step"}, optimizer, None, 10)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": "fer.training.optim.warmup_cosine", "interval": "epoch"}, "interval=epoch: warmup_cosine plans"),
        ({"_target_": "torch.optim.lr_scheduler.OneCycleLR", "interval": "epoch"}, "interval=epoch: OneCycleLR plans"),
        ({"_target_": "torch.optim.lr_scheduler.OneCycleLR", "interval": "step", "max_lr": 0.01}, "optimizer.lr=0.01"),
        ({"_target_": "torch.optim.lr_scheduler.ConstantLR", "interval": "epoch", "factor": 0.5}, "torch undoes it"),
    ],
    ids=str,
)
def test_a_schedule_that_would_do_another_thing_is_refused(node: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_scheduler(node, sgd(0.9), 40, 10)
