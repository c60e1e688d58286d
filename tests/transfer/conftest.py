from __future__ import annotations

from pathlib import Path

import pytest

from edgexfer import nets
from edgexfer.data import PixelStore, Splits, build_store, load_splits
from edgexfer.preprocessing import Preprocessing


@pytest.fixture(autouse=True)
def own_cache(own_cache: Path) -> Path:
    """Every test here has a cache of its own."""
    return own_cache


@pytest.fixture(scope="session")
def digits() -> Splits:
    return load_splits("digits", seed=0)


@pytest.fixture(scope="session")
def rule() -> Preprocessing:
    return nets.preprocessing_for("cifar-resnet20", 32)


@pytest.fixture(scope="session")
def val_store(digits: Splits, rule: Preprocessing) -> PixelStore:
    return build_store(digits.val, rule)
