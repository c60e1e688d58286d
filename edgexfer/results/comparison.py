"""Two benchmark results side by side: compared only where everything but the declared variable is equal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer.errors import DeviceError
from edgexfer.results.facts import VARIABLES, akin, check_known, differences, facts_of, forbidden
from edgexfer.results.observed import moments_of, observation
from edgexfer.results.result import BenchmarkResult, Config, read_result
from edgexfer.results.statistics import CONFIDENCE, Interval, ratio_of_medians, summary
from edgexfer.words import counted


@dataclass(frozen=True)
class Pair:
    """A configuration of the first result beside its counterpart in the second.

    Attributes:
        first: From the first result.
        second: From the second.
        interval: Median of the second over median of the first.
    """

    first: Config
    second: Config
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """What two results say about one variable.

    Attributes:
        vary: The variable.
        first: The first result.
        second: The second result.
        pairs: The configurations that were compared.
        left_out: Sentences on the configurations that were not.
    """

    vary: str
    first: BenchmarkResult
    second: BenchmarkResult
    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The comparison for machines; seconds, ratios, and what was observed on either side."""
        return {
            "vary": self.vary,
            "confidence": CONFIDENCE,
            "first": _side(self.first),
            "second": _side(self.second),
            "pairs": [
                {
                    "first": _figures(pair.first),
                    "second": _figures(pair.second),
                    "differs": differences(facts_of(self.first, pair.first), facts_of(self.second, pair.second)),
                    "ratio": pair.interval.ratio,
                    "low": pair.interval.low,
                    "high": pair.interval.high,
                    "difference_shown": pair.interval.difference_shown,
                }
                for pair in self.pairs
            ],
            "left_out": list(self.left_out),
        }

    def sentence(self) -> str:
        """The comparison for people, a sentence a pair."""
        return "\n".join([*(self._of(pair) for pair in self.pairs), *self.left_out])

    def _of(self, pair: Pair) -> str:
        names = [self._name(result, c) for result, c in ((self.first, pair.first), (self.second, pair.second))]
        medians = [_milliseconds(summary(c.latency_s)["p50_s"] or 0.0) for c in (pair.first, pair.second)]
        found = pair.interval
        span = f"95% interval {found.low:.3f} to {found.high:.3f}"
        figures = f"medians {medians[0]} and {medians[1]}, ratio {found.ratio:.3f}, {span}"
        if not found.difference_shown:
            said = f"no difference shown between {names[0]} and {names[1]} ({figures})"
        else:
            word = "slower" if found.ratio > 1 else "faster"
            said = f"{names[1]} is {max(found.ratio, 1 / found.ratio):.2f} times {word} than {names[0]} ({figures})"
        notes = [
            f"{name}: {note}"
            for name, config in zip(names, (pair.first, pair.second), strict=True)
            if (note := observation(config.observed)["note"])
        ]
        notes += [
            f"{name} was unstable when it was measured"
            for name, config in zip(names, (pair.first, pair.second), strict=True)
            if config.stable is False
        ]
        return "; ".join([said, *notes])

    def _name(self, result: BenchmarkResult, config: Config) -> str:
        threads = counted(config.threads, "thread")
        value = {
            "precision": f"({config.precision}, {threads})",
            "runtime": f"({config.runtime} {config.runtime_version}, {threads})",
            "machine": f"({threads}) on {result.machine.get('host')!r} of {result.created}",
            "edgexfer_version": f"({threads}, edgexfer {result.edgexfer_version})",
        }.get(self.vary, f"({threads})")
        return f"{config.model} {value}"


def compare_files(first: Path, second: Path, vary: str) -> Comparison:
    """Reads and compares two results.

    Args:
        first: The result that is the measure.
        second: The result that is measured by it.
        vary: The only thing that may differ, one of ``VARIABLES``.

    Raises:
        DeviceError: They cannot be compared.
        FormatError: One of them is damaged or newer.
    """
    check_known(vary)
    return compare(read_result(first), read_result(second), vary)


def compare_many(paths: Sequence[Path], vary: str) -> list[Comparison]:
    """Reads several results and compares each kind of them with the first one's.

    Results that are alike in everything are repeated runs of one thing, and are put together, so that the interval
    tells of what differs from run to run too. Of two results each is a side of its own.

    Raises:
        DeviceError: There are fewer than two, they are all runs of one thing, or they cannot be compared.
        FormatError: One of them is damaged or newer.
    """
    check_known(vary)
    if len(paths) < 2:
        raise DeviceError(f"{len(paths)} result cannot be compared; name two or more")
    results = [read_result(path) for path in paths]
    if len(results) == 2:
        return [compare(results[0], results[1], vary)]
    groups: dict[str, list[BenchmarkResult]] = {}
    for result in results:
        groups.setdefault(_signature(result), []).append(result)
    sides = [_together(group) for group in groups.values()]
    if len(sides) < 2:
        raise DeviceError(
            f"all {len(results)} results are runs of one thing, so {vary} does not vary; name one with another {vary},"
            " or compare two of them at a time"
        )
    return [compare(sides[0], side, vary) for side in sides[1:]]


def _signature(result: BenchmarkResult) -> str:
    """Everything that could have moved a result's times: repeated runs have the same."""
    return json.dumps(sorted(json.dumps(facts_of(result, c), sort_keys=True) for c in _timed(result)))


def _together(group: Sequence[BenchmarkResult]) -> BenchmarkResult:
    """Repeated runs of one thing as one result, whose configurations remember where each run ends."""
    first = group[0]
    if len(group) == 1:
        return first
    configs = []
    for config in first.configs:
        same = [c for r in group for c in r.configs if c.timed and facts_of(r, c) == facts_of(first, config)]
        times = tuple(time for c in same for time in c.latency_s)
        runs = tuple(count for c in same for count in (c.runs or (len(c.latency_s),)))
        merged = replace(config, latency_s=times, runs=runs, stable=_stable(same), observed=_observed(same))
        configs.append(merged if config.timed else config)
    return replace(first, configs=tuple(configs))


def _stable(configs: Sequence[Config]) -> bool | None:
    """Whether all of them were; ``None`` where none says anything else."""
    verdicts = {config.stable for config in configs}
    return False if False in verdicts else None if None in verdicts else True


def _observed(configs: Sequence[Config]) -> dict[str, Any]:
    """Every moment at which something was observed in one of the runs."""
    return {"during": [moment for config in configs for moment in moments_of(config.observed)]}


def compare(first: BenchmarkResult, second: BenchmarkResult, vary: str) -> Comparison:
    """Compares two results.

    Configurations are paired where everything but ``vary`` is equal; where no two are, the nearest ones are named.

    Raises:
        DeviceError: The variable is unknown, one result was emulated or timed nothing, more than ``vary`` differs,
            or one configuration has several counterparts.
    """
    check_known(vary)
    ours, theirs = _timed(first), _timed(second)
    matches = [
        (a, b)
        for a in ours
        for b in theirs
        if not forbidden(differences(facts_of(first, a), facts_of(second, b)), vary) and akin(a, b, vary)
    ]
    if not matches:
        raise DeviceError(_nearest(first, second, vary))
    for side, result, configs in ((0, first, ours), (1, second, theirs)):
        for config in configs:
            if sum(match[side] is config for match in matches) > 1:
                raise DeviceError(
                    f"{config.model!r} with {config.threads} threads in {str(result.path)!r} has several counterparts"
                    f" that differ only in {vary}; bench one {vary} a file, or vary something else"
                )
    pairs = tuple(Pair(a, b, _ratio(a, b)) for a, b in matches)
    left_out = [
        f"left out: {config.model} with {config.threads} threads in {str(result.path)!r} ({_why(config)})"
        for side, result in ((0, first), (1, second))
        for config in result.configs
        if not any(match[side] is config for match in matches)
    ]
    return Comparison(vary, first, second, pairs, tuple(left_out))


def _ratio(first: Config, second: Config) -> Interval:
    return ratio_of_medians(first.latency_s, second.latency_s, first_runs=first.runs, second_runs=second.runs)


def _timed(result: BenchmarkResult) -> list[Config]:
    if result.emulated:
        raise DeviceError(
            f"{str(result.path)!r} was taken on an emulated processor, whose times are not latencies; bench on the"
            " device itself"
        )
    timed = [config for config in result.configs if config.timed]
    if not timed:
        states = ", ".join(sorted({_why(config) for config in result.configs})) or "no configuration"
        raise DeviceError(f"{str(result.path)!r} holds no times ({states}); bench again without --verify-only")
    return timed


def _why(config: Config) -> str:
    return "no counterpart" if config.timed else "not timed" if config.status == "ok" else config.status


def _nearest(first: BenchmarkResult, second: BenchmarkResult, vary: str) -> str:
    """Why nothing could be paired: the two configurations that differ least, key by key."""
    found = []
    for a in _timed(first):
        for b in _timed(second):
            found_here = forbidden(differences(facts_of(first, a), facts_of(second, b)), vary)
            if not found_here and not akin(a, b, vary):
                found_here = {"parent_sha256": [a.parent_sha256, b.parent_sha256]}
            found.append(found_here)
    least = min(found, key=len)
    told = "; ".join(f"{key} is {_shown(a)} and {_shown(b)}" for key, (a, b) in least.items())
    return (
        f"{str(first.path)!r} and {str(second.path)!r} differ in more than {vary}: {told}; bench again with these"
        f" equal, or declare another variable with --vary ({', '.join(VARIABLES)})"
    )


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _side(result: BenchmarkResult) -> dict[str, Any]:
    return {"file": str(result.path), "created": result.created, "machine": dict(result.machine)}


def _figures(config: Config) -> dict[str, Any]:
    return {
        "model": config.model,
        "sha256": config.sha256,
        "precision": config.precision,
        "runtime": config.runtime,
        "runtime_version": config.runtime_version,
        "threads": config.threads,
        "rounds": len(config.runs) or 1,
        "stable": config.stable,
        "verified": config.verified,
        "top1": config.top1,
        "observed": observation(config.observed),
        **summary(config.latency_s),
    }


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.4g} ms"
