"""Numbers as a person reads them in a sentence."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 epoch``, ``2,000 pictures``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def people_time(seconds: float) -> str:
    """Seconds as a person says them: ``45 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
