"""Numbers as a person reads them in a sentence."""

from __future__ import annotations

import math


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 epoch``, ``2,000 pictures``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def people_time(seconds: float) -> str:
    """Seconds as a person says them: ``45 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def people_size(count: float) -> str:
    """Bytes as ``4.21 MB`` (decimal units)."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit * 0.9995:
            return f"{significant(count / unit)} {name}"
    return f"{count:g} B"


def significant(number: float, digits: int = 3) -> str:
    """``number`` with so many significant digits, never in powers of ten and never fewer than its whole part."""
    if number == 0:
        return "0"
    rounded = float(f"{number:.{digits - 1}e}")  # 9.996 has its decimals counted as 10.0
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{number:,.{decimals}f}"
