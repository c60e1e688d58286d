from __future__ import annotations

import pytest
import torch
from torch import nn

from edgexfer.errors import RecipeError, TrainingError
from edgexfer.training.optim import (
    LayerPlan,
    build_optimizer,
    learning_rate,
    parameter_groups,
    refuse_single_pictures,
    set_learning_rate,
    training_mode,
)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_only_weights_decay() -> None:
    decaying, still = parameter_groups(net(), 0.1)
    assert decaying["weight_decay"] == 0.1 and still["weight_decay"] == 0.0
    assert [p.ndim for p in decaying["params"]] == [4, 2]  # type: ignore[attr-defined]
    assert [p.ndim for p in still["params"]] == [1, 1, 1, 1]  # type: ignore[attr-defined]


def test_the_schedule_by_hand() -> None:
    rates = [learning_rate(step, 10, 2, 1.0) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)
    assert rates[9] == pytest.approx((1 + -0.9238795325) / 2, abs=1e-9)
    assert all(a > b for a, b in zip(rates[2:], rates[3:], strict=False))


def test_frozen_batchnorm_stays_in_inference_mode() -> None:
    model = net()
    model[1].requires_grad_(False)
    before = model[1].running_mean.clone()
    training_mode(model)
    assert model.training and not model[1].training
    model[1](torch.randn(8, 4, 5, 5) + 3)
    assert torch.equal(model[1].running_mean, before)
    model[1].requires_grad_(True)
    training_mode(model)
    assert model[1].training


def test_frozen_layers_are_not_handed_to_the_optimizer() -> None:
    model = net()
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, "sgd", 0.1, 5e-4)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 4
    with pytest.raises(TrainingError, match="nothing is left to train"):
        build_optimizer(model.requires_grad_(False), "sgd", 0.1, 5e-4)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(TrainingError, match="'lion'; allowed: adamw, sgd"):
        build_optimizer(net(), "lion", 0.1, 0.0)


def test_layers_learn_at_their_own_rate_and_from_their_own_epoch() -> None:
    model = net()
    plan = LayerPlan(
        scales={"0.weight": 0.1, "0.bias": 0.1}, thaws={"0.weight": 2, "0.bias": 2, "1.weight": None, "1.bias": None}
    )
    optimizer = build_optimizer(model, "sgd", 1.0, 0.1, plan)
    assert len(optimizer.param_groups) == 4
    assert not any(p is model[1].weight for group in optimizer.param_groups for p in group["params"])
    set_learning_rate(optimizer, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(model[0].weight)] == rates[id(model[0].bias)] == pytest.approx(0.05)
    assert rates[id(model[3].weight)] == 0.5
    for epoch, learns in ((0, False), (1, False), (2, True), (5, True), (0, False)):
        plan.thaw(model, epoch)
        assert model[0].weight.requires_grad is learns
        assert not model[1].weight.requires_grad and model[3].weight.requires_grad


def test_batches_of_one_picture_are_refused_where_batchnorm_learns() -> None:
    model = net()
    names = [name for name, _ in model.named_parameters() if name.startswith("1.")]
    for plan in (None, LayerPlan(), LayerPlan(thaws=dict.fromkeys(names, 3))):
        with pytest.raises(RecipeError, match="batch_size is 1, and BatchNorm learns .* --batch-size 2 or more") as met:
            refuse_single_pictures(model, 1, plan)
        assert ("--bn frozen" in str(met.value)) is (plan is not None)
        refuse_single_pictures(model, 2, plan)
    refuse_single_pictures(model, 1, LayerPlan(thaws=dict.fromkeys(names)))
    refuse_single_pictures(nn.Linear(2, 2), 1)
    with pytest.raises(RecipeError):
        refuse_single_pictures(nn.Sequential(nn.BatchNorm1d(2, affine=False)), 1)
