"""How many pictures an export looks at."""

from __future__ import annotations

import pytest

from edgexfer.preprocessing import Preprocessing
from edgexfer.workflows.export import TUNING, WITNESSES, as_many


@pytest.mark.parametrize(("side", "witnesses", "tuning"), [(32, 2048, 1024), (96, 2048, 1024), (224, 512, 256)])
def test_of_large_pictures_fewer_are_looked_at(side: int, witnesses: int, tuning: int) -> None:
    rule = Preprocessing((side, side), None, "none")
    assert as_many(WITNESSES, rule) == witnesses and as_many(TUNING, rule) == tuning


def test_between_small_and_large_the_time_is_the_same() -> None:
    assert as_many(WITNESSES, Preprocessing((128, 128), None, "none")) * 128 * 128 == 2048 * 96 * 96
