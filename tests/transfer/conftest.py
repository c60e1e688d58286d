from __future__ import annotations

import pytest

from edgexfer import nets
from edgexfer.data import PixelStore, Splits, build_store, load_splits
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
