"""Whether a measurement can be trusted: what was seen to waver, what most likely made it, and what to do about it.

Standard library only. Symptoms are in the times; causes are in what was observed beside them. A cause without a
symptom is a remark: the figures held still all the same.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from _edgexfer_statistics import percentile

APART = 0.05  # medians of rounds, or of the run's first and last third, that differ by more are not one figure
FEW = 4
SPREAD = 0.25  # interquartile range over the median
HOT_C = 80.0  # where a Raspberry Pi begins to slow down
OTHERS_CORES = 0.15
PRESSURE = 1.0  # percent of time waiting for memory
SCARCE_BYTES = 64 << 20
CLOCK = 0.03

Cause = Tuple[str, str]


def judge(config: Mapping[str, Any], governor: Optional[str]) -> Dict[str, Any]:
    """The verdict on a configuration that was timed.

    Returns:
        ``{stable, symptoms: [text], causes: [{cause, remedy}]}``.
    """
    symptoms = _symptoms(config)
    states = _states(config.get("observed") or {})
    causes = [*_throttling(states), *_heat_and_clock(states, governor), *_company(states)]
    if symptoms and not causes:
        causes = [("nothing that the board tells of", "repeat it, with more --rounds or a larger --min-seconds")]
    return {
        "stable": not symptoms,
        "symptoms": symptoms,
        "causes": [{"cause": cause, "remedy": remedy} for cause, remedy in causes],
    }


def sentences(configs: Sequence[Mapping[str, Any]]) -> List[str]:
    """The verdicts in words; where many are unstable, the causes they share are told once."""
    judged = [c for c in configs if c.get("stability")]
    shaky = [c for c in judged if not c["stability"]["stable"]]
    found = []
    if len(shaky) > FEW:
        symptoms = "; ".join(shaky[0]["stability"]["symptoms"])
        found.append(f"unstable: {len(shaky)} of {len(judged)} configurations, {_name(shaky[0])} for one: {symptoms}")
    else:
        found += [f"unstable: {_name(c)}: {'; '.join(c['stability']['symptoms'])}" for c in shaky]
    told: Dict[str, str] = {}
    for config in sorted(judged, key=lambda c: bool(c["stability"]["stable"])):
        word = "remark" if config["stability"]["stable"] else "cause"
        for one in config["stability"]["causes"]:
            kind = str(one["remedy"]).partition(",")[0] or str(one["cause"])
            told.setdefault(kind, f"{word}: {one['cause']}; {one['remedy']}")
    return found + list(told.values())


def _name(config: Mapping[str, Any]) -> str:
    return f"{config['model']} with {config['threads']} thread{'s' if config['threads'] != 1 else ''}"


def _symptoms(config: Mapping[str, Any]) -> List[str]:
    times: Sequence[float] = config["latency_s"]
    found: List[str] = []
    if len(times) < 30:
        return found
    medians = [one["p50_s"] for one in config.get("rounds") or [] if one["p50_s"]]
    if len(medians) > 1 and max(medians) > (1 + APART) * min(medians):
        found.append(f"the medians of the rounds differ by {max(medians) / min(medians) - 1:.0%}")
    third = len(times) // 3
    first, last = percentile(sorted(times[:third]), 50), percentile(sorted(times[-third:]), 50)
    if len(medians) < 2 and max(first, last) > (1 + APART) * min(first, last):
        word = "slower" if last > first else "faster"
        found.append(f"the last third was {max(first, last) / min(first, last) - 1:.0%} {word} than the first")
    ordered = sorted(times)
    spread = (percentile(ordered, 75) - percentile(ordered, 25)) / percentile(ordered, 50)
    if spread > SPREAD:
        found.append(f"half of the times are spread over {spread:.0%} of their median")
    if (config.get("observed") or {}).get("warmup", {}).get("stable") is False:
        found.append("it had not settled when the warm-up ended")
    return found


def _throttling(states: Sequence[Mapping[str, Any]]) -> List[Cause]:
    live = {word for state in states for word in (state.get("throttled") or {}).get("live", ())}
    sticky = {word for state in states for word in (state.get("throttled") or {}).get("sticky", ())} - live
    remedies = {
        "under-voltage": "use the board's own power supply and a short cable",
        "clock capped": "mend the power supply or cool the board",
        "throttled": "cool the board: a heat sink, a fan, an open case",
        "soft temperature limit": "cool the board: a heat sink, a fan, an open case",
    }
    found = [(f"the board reported {word}", remedies.get(word, "see the board's manual")) for word in sorted(live)]
    return found + [(f"the board reported {word} since it started", remedies.get(word, "")) for word in sorted(sticky)]


def _heat_and_clock(states: Sequence[Mapping[str, Any]], governor: Optional[str]) -> List[Cause]:
    found = []
    hottest = max(_numbers(states, "temperature_c"), default=None)
    if hottest is not None and hottest >= HOT_C:
        found.append((f"the processor reached {hottest:.0f} degrees", "cool it, or wait between measurements"))
    clocks = _numbers(states, "clock_hz") or _numbers(states, "requested_hz")
    if clocks and min(clocks) < (1 - CLOCK) * max(clocks):
        moved = f"the clock moved between {min(clocks) / 1e6:.0f} and {max(clocks) / 1e6:.0f} MHz"
        if governor and governor != "performance":
            remedy = (
                f"the governor is {governor}; echo performance | sudo tee"
                " /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            )
        else:
            remedy = "cool the board and see to its power supply"
        found.append((moved, remedy))
    return found


def _company(states: Sequence[Mapping[str, Any]]) -> List[Cause]:
    found = []
    others = _numbers(states, "others_cores")
    middle = sorted(others)[len(others) // 2] if others else 0.0
    if middle > OTHERS_CORES:
        found.append((f"other processes kept {middle:.1f} cores busy", "stop them, and see top"))
    pressure = max(_numbers(states, "memory_pressure"), default=0.0)
    if pressure > PRESSURE:
        found.append((f"processes waited for memory {pressure:.0f}% of the time", "stop what needs it, see free -m"))
    available = _numbers(states, "memory_available_bytes")
    if available and min(available) < SCARCE_BYTES:
        found.append((f"only {min(available) / 1e6:.0f} MB of memory were free", "stop what needs it, see free -m"))
    jumps = [jump for jump in _numbers(states, "clock_jump_s") if abs(jump) > 1]
    if jumps:
        found.append((f"the system's clock was set by {jumps[0]:+.0f} s", "nothing: times are taken on another clock"))
    return found


def _states(observed: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    moments = [observed.get("before"), *observed.get("during", ()), observed.get("after")]
    return [moment for moment in moments if moment]


def _numbers(states: Sequence[Mapping[str, Any]], key: str) -> List[float]:
    values = [state.get(key) for state in states]
    return [float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
