from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgexfer.errors import FormatError
from edgexfer.preprocessing import Preprocessing, square


def test_it_comes_back_from_its_json_form() -> None:
    value = Preprocessing((96, 128), 146, "center", "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert Preprocessing.from_dict(value.to_dict()) == value
    straight = dataclasses.replace(value, resize=None, crop="none")
    assert Preprocessing.from_dict(straight.to_dict()) == straight


def test_the_usual_rule() -> None:
    assert square(224).resize == 256
    assert square(32).resize == 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_size": (0, 32)}, "two numbers of pixels, 1 to 4,096"),
        ({"input_size": (32, 100_000)}, "two numbers of pixels, 1 to 4,096"),
        ({"resize": 100_000}, "resize is 100000; expected 8,192 pixels at most"),
        ({"resize": 90}, "resize is 90, smaller than the crop 96"),
        ({"crop": "left"}, "crop is 'left'; allowed: 'center', 'none'"),
        ({"crop": "none"}, "'none' with resize None"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'; allowed: bilinear, bicubic"),
        ({"std": (1.0, 1.0, 0.0)}, "std above 0"),
        ({"std": (1.0, 1.0, float("nan"))}, "three finite numbers each"),
        ({"mean": (0.0, float("inf"), 0.0)}, "three finite numbers each"),
        ({"channels": "BGR"}, "channels is 'BGR'; only 'RGB'"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        dataclasses.replace(square(96), **change)


def test_an_incomplete_form_is_refused() -> None:
    value = square(96).to_dict()
    del value["mean"]
    with pytest.raises(FormatError, match="incomplete or malformed: KeyError\\('mean'\\)"):
        Preprocessing.from_dict(value)
