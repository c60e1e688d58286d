"""Sentences of the studies' pages, made from what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgexfer.studies.values import ABSENT, APPEARED, Claim, StudyResult


def percent_of(shares: Sequence[float]) -> str:
    """Mean of some shares in percent, with their spread in percentage points where there are several."""
    mean = f"{statistics.fmean(shares):.1%}"
    return mean if len(shares) < 2 else f"{mean} (spread {statistics.stdev(shares) * 100:.1f})"


def joined(values: Sequence[int | None], never: str = "never") -> str:
    """Whole numbers one after the other, as ``110, 71 and 90``; ``None`` is ``never``, said once where all are."""
    if all(value is None for value in values):
        return never
    return listed([never if value is None else f"{value:,}" for value in values])


def listed(names: Sequence[str]) -> str:
    """Words one after the other, as ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def claim_words(claim: Claim) -> str:
    """Whether an effect appeared, as the end of a sentence."""
    if claim.verdict == APPEARED:
        return "as expected"
    return "short of what was expected" if claim.verdict == ABSENT else "the opposite of what was expected"


def seeds_words(result: StudyResult) -> str:
    """What the lines of a figure are."""
    count = len(result.measured)
    if count == 1:
        return f"A single seed ({result.measured[0].seed}): no spread is known."
    return f"Lines are means over {count} seeds, bands reach from the lowest to the highest."
