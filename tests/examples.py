"""How many random examples a property test draws: a few, or ``EDGEXFER_EXAMPLES`` of them (`make test-thorough`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

MANY = int(os.environ.get("EDGEXFER_EXAMPLES", "0"))


def drawn(usual: int, *, same: bool = False) -> settings:
    """Settings of a property test.

    Args:
        usual: Examples where nobody asks for more.
        same: Whether these are always the same ones; where more are asked for, they are new ones each time.
    """
    return settings(
        max_examples=MANY or usual,
        deadline=None,
        derandomize=same and not MANY,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
