"""A fast selection of torchvision's networks, small pictures, random statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from torch import nn

from edgexfer.fold import Folded
from edgexfer.torchvision_import import import_torchvision


@pytest.fixture(scope="session")
def models() -> Iterator[ModuleType]:
    """torchvision.models."""
    yield import_torchvision().models


NETWORKS = {
    "resnet18": (20, 20, 32, {}),
    "mobilenet_v2": (52, 52, 32, {"width_mult": 0.25}),
    "mobilenet_v3_small": (34, 34, 32, {}),
    "shufflenet_v2_x0_5": (56, 56, 32, {}),
    "googlenet": (57, 57, 32, {"aux_logits": False, "init_weights": False}),
    "mnasnet0_5": (52, 52, 32, {}),
    "densenet121": (59, 121, 32, {}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, models: ModuleType, fold: Callable[..., Folded]) -> None:
    folds, total, size, options = NETWORKS[name]
    torch.manual_seed(0)
    folded = fold(models.get_model(name, weights=None, num_classes=10, **options), 1, 3, size, size)
    assert (folded.plan.folded, folded.plan.total) == (folds, total)
    remaining = sum(isinstance(module, nn.BatchNorm2d) for module in folded.module.modules())
    assert remaining == len(folded.plan.kept) == total - folds
    assert all("comes from a concatenation" in k.reason or "pool" in k.reason for k in folded.plan.kept), folded.plan
