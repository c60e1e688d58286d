from __future__ import annotations

import math
from typing import Any

import pytest

from edgexfer.workflows.gain import paired_gain


def lines(right: str, split: str = "test") -> list[dict[str, Any]]:
    """One line a picture; 1 for those that were answered right."""
    return [
        {"file": str(number), "split": split, "label": 1, "logits": [0.0, 1.0] if c == "1" else [1.0, 0.0]}
        for number, c in enumerate(right)
    ]


def test_literal_gain_and_interval() -> None:
    """Of 100 pictures 15 are right in the first only and 5 in the second only."""
    mine, theirs = lines("1" * 75 + "0" * 25), lines("1" * 60 + "0" * 15 + "1" * 5 + "0" * 20)
    gain = paired_gain(mine, theirs)
    middle, reach = 10 / 102, 1.959964 * math.sqrt(21 - 100 / 102) / 102
    assert (gain.top1, gain.images, gain.split) == (pytest.approx(0.1), 100, "test")
    assert (gain.low, gain.high) == pytest.approx((middle - reach, middle + reach))
    assert gain.verdict == "helped" and gain.to_dict()["verdict"] == "helped"
    assert paired_gain(theirs, mine).verdict == "hurt"


def test_no_difference_and_too_few_pictures() -> None:
    same = paired_gain(lines("1101"), lines("1101"))
    assert same.top1 == 0.0 and same.low == -same.high < -0.3
    assert same.verdict == "made no difference that 4 pictures can show"
    assert paired_gain(lines("1110"), lines("1100")).verdict.startswith("made no difference")


def test_pictures_meet_by_name_and_validation_serves_where_there_is_no_test() -> None:
    turned = list(reversed(lines("1100", "val")))
    assert paired_gain(lines("1100", "val"), turned).top1 == 0.0
    assert paired_gain(lines("1100", "val"), turned).split == "val"
    both = lines("10") + [{**line, "split": "val"} for line in lines("00")]
    assert paired_gain(both, lines("00")).images == 2
