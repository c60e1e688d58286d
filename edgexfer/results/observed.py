"""What was seen while a model was timed: it is shown beside the times, not compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def observation(observed: Mapping[str, Any]) -> dict[str, Any]:
    """The extremes of what was observed; ``None`` where the board does not tell.

    Args:
        observed: ``{before, during, after}`` as ``bench.py`` keeps it; anything else counts as nothing.

    Returns:
        ``temperature_c`` (highest), ``clock_hz`` (lowest), ``load_1min`` (highest), ``throttled`` (what was live, by
        name) and ``note``, a few words where the board was throttled, else an empty text.
    """
    states = moments_of(observed)
    throttled = sorted({word for state in states for word in _live(state)})
    return {
        "temperature_c": max(_numbers(states, "temperature_c"), default=None),
        "clock_hz": min(_numbers(states, "clock_hz"), default=None),
        "load_1min": max(_numbers(states, "load_1min"), default=None),
        "throttled": throttled,
        "note": f"the board reported {', '.join(throttled)} meanwhile" if throttled else "",
    }


def moments_of(observed: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The states before, during and after, in their order; what is none is left out."""
    during = observed.get("during")
    moments = [observed.get("before"), *(during if isinstance(during, list) else []), observed.get("after")]
    return [moment for moment in moments if isinstance(moment, Mapping)]


def _live(state: Mapping[str, Any]) -> list[str]:
    found = state.get("throttled")
    live = found.get("live") if isinstance(found, Mapping) else None
    return [str(word) for word in live] if isinstance(live, list) else []


def _numbers(states: list[Mapping[str, Any]], key: str) -> list[float]:
    values = [state.get(key) for state in states]
    return [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
