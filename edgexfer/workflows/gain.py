"""What one training bought over another, on the same held-out pictures, compared one by one.

The interval covers which pictures were drawn, not which seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgexfer.proportions import paired_difference


@dataclass(frozen=True)
class Gain:
    """A difference of two accuracies on the same pictures.

    Attributes:
        top1: The difference, -1 to 1.
        low: Lower end of its 95% interval.
        high: Upper end.
        images: How many pictures.
        split: ``test``, or ``val`` where there is no test.
    """

    top1: float
    low: float
    high: float
    images: int
    split: str

    @property
    def verdict(self) -> str:
        """``helped``, ``hurt`` or ``made no difference that so many pictures can show``."""
        if self.low > 0:
            return "helped"
        return "hurt" if self.high < 0 else f"made no difference that {self.images:,} pictures can show"

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {**asdict(self), "verdict": self.verdict}


def paired_gain(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> Gain:
    """The gain of the first run over the second, from the lines of their ``predictions.jsonl``.

    Taken on the test split where there is one, else on validation.
    """
    split = "test" if any(line["split"] == "test" for line in mine) else "val"
    first, second = _right(mine, split), _right(theirs, split)
    files = sorted(first.keys() & second.keys())
    found = paired_difference([first[file] for file in files], [second[file] for file in files])
    return Gain(found.value, found.low, found.high, len(files), split)


def _right(lines: Sequence[Mapping[str, Any]], split: str) -> dict[str, bool]:
    """Which pictures of a split were answered right, by name."""
    return {
        line["file"]: max(range(len(line["logits"])), key=line["logits"].__getitem__) == line["label"]
        for line in lines
        if line["split"] == split
    }
