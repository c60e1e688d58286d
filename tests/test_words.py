"""Numbers in sentences."""

from __future__ import annotations

import pytest

from edgexfer.words import counted, people_time


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs"), (12_345, "12,345 epochs")]
)
def test_a_count_is_said_with_its_noun(count: int, said: str) -> None:
    assert counted(count, "epoch") == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (9000, "2.5 h")]
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert people_time(seconds) == said
