from __future__ import annotations

import pytest

from edgexfer.errors import UnknownNameError
from edgexfer.registry import Registry


def shelf() -> Registry[int]:
    registry: Registry[int] = Registry("network")
    registry.add("tiny-darknet", 1)
    registry.add("resnet18", 2)
    return registry


def test_a_name_gives_its_value() -> None:
    registry = shelf()
    assert registry["resnet18"] == 2
    assert list(registry) == ["tiny-darknet", "resnet18"]
    assert "resnet18" in registry and "vgg" not in registry


def test_a_duplicate_is_refused() -> None:
    with pytest.raises(ValueError, match="network 'resnet18' is registered already"):
        shelf().add("resnet18", 3)


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(UnknownNameError, match="no network is called 'tiny-darkent'; did you mean 'tiny-darknet'"):
        shelf()["tiny-darkent"]
    with pytest.raises(UnknownNameError, match="known: tiny-darknet, resnet18"):
        shelf()["x"]
