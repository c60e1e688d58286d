from __future__ import annotations

import pytest
import torch
from torch import nn

from edgexfer import nets
from edgexfer.data import PixelStore, Splits, build_store, load_splits
from edgexfer.nets import Normalized
from edgexfer.preprocessing import Preprocessing


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Each test has a cache of its own."""
    monkeypatch.setenv("EDGEXFER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def digits() -> Splits:
    return load_splits("digits", seed=0)


@pytest.fixture(scope="session")
def rule() -> Preprocessing:
    return nets.preprocessing_for("cifar-resnet20", 32)


@pytest.fixture(scope="session")
def val_store(digits: Splits, rule: Preprocessing) -> PixelStore:
    return build_store(digits.val, rule)


def trained_like(name: str, rule: Preprocessing, classes: int = 10) -> Normalized:
    """A network whose BatchNorm layers have statistics as training leaves them."""
    net = nets.create(name, classes, input_size=rule.input_size)
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return Normalized(net, rule)
