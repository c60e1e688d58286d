"""Two benchmark results side by side: compared only where everything but the declared variable is equal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.errors import DeviceError
from edgexfer.results.observed import observation
from edgexfer.results.result import BenchmarkResult, Config, read_result
from edgexfer.results.statistics import CONFIDENCE, Interval, ratio_of_medians, summary

# What may differ with a variable; "x." stands for every key below x. The rest has to be equal.
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "sha256", "network", "parent_sha256", "input."),
    "precision": ("precision", "model", "sha256", "parent_sha256"),
    "threads": ("threads", "session.intra_op_num_threads"),
    "runtime": ("runtime", "runtime_version", "session."),
    "machine": ("machine.", "affinity"),
    "settings": ("settings.",),
    "edgexfer_version": ("edgexfer_version",),
}
MEMORY = "machine.memory_bytes"
SAME_MEMORY = 0.02  # the kernel keeps a little for itself, and not always the same


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
                    "differs": _differences(_facts(self.first, pair.first), _facts(self.second, pair.second)),
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
        return "; ".join([said, *notes])

    def _name(self, result: BenchmarkResult, config: Config) -> str:
        threads = f"{config.threads} thread{'s' if config.threads != 1 else ''}"
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
    _known(vary)
    return compare(read_result(first), read_result(second), vary)


def compare(first: BenchmarkResult, second: BenchmarkResult, vary: str) -> Comparison:
    """Compares two results.

    Configurations are paired where everything but ``vary`` is equal; where no two are, the nearest ones are named.

    Raises:
        DeviceError: The variable is unknown, one result was emulated or timed nothing, more than ``vary`` differs,
            or one configuration has several counterparts.
    """
    _known(vary)
    ours, theirs = _timed(first), _timed(second)
    matches = [
        (a, b)
        for a in ours
        for b in theirs
        if not _forbidden(_differences(_facts(first, a), _facts(second, b)), vary) and _akin(a, b, vary)
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
    pairs = tuple(Pair(a, b, ratio_of_medians(a.latency_s, b.latency_s)) for a, b in matches)
    left_out = [
        f"left out: {config.model} with {config.threads} threads in {str(result.path)!r} ({_why(config)})"
        for side, result in ((0, first), (1, second))
        for config in result.configs
        if not any(match[side] is config for match in matches)
    ]
    return Comparison(vary, first, second, pairs, tuple(left_out))


def _known(vary: str) -> None:
    if vary not in VARIABLES:
        raise DeviceError(f"nothing is called {vary!r} that could vary; allowed: {', '.join(VARIABLES)}")


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


def _facts(result: BenchmarkResult, config: Config) -> dict[str, Any]:
    """Everything that could have moved a time and is not merely observed, by key."""
    facts: dict[str, Any] = {
        "model": config.model,
        "sha256": config.sha256,
        "network": config.network,
        "parent_sha256": config.parent_sha256,
        "precision": config.precision,
        "runtime": config.runtime,
        "runtime_version": config.runtime_version,
        "threads": config.threads,
        "scenario": config.scenario,
        "batch": config.batch,
        "affinity": None if config.affinity is None else list(config.affinity),
        "edgexfer_version": result.edgexfer_version,
    }
    groups = {"machine": result.machine, "session": config.session, "input": config.input, "settings": result.settings}
    for name, group in groups.items():
        facts |= {f"{name}.{key}": value for key, value in group.items()}
    return facts


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Both values of every key whose values differ."""
    keys = [*first, *(key for key in second if key not in first)]
    pairs = {key: [first.get(key), second.get(key)] for key in keys}
    return {key: both for key, both in pairs.items() if both[0] != both[1] and not _same_memory(key, both)}


def _same_memory(key: str, both: Sequence[Any]) -> bool:
    if key != MEMORY or not all(isinstance(value, int) for value in both):
        return False
    return bool(abs(both[0] - both[1]) <= SAME_MEMORY * max(both))


def _forbidden(differences: Mapping[str, list[Any]], vary: str) -> dict[str, list[Any]]:
    """The differences that ``vary`` does not explain; another name of the same file is none."""
    allowed = VARIABLES[vary]
    return {
        key: both
        for key, both in differences.items()
        if key not in allowed
        and not any(name.endswith(".") and key.startswith(name) for name in allowed)
        and not (key == "model" and "sha256" not in differences)
    }


def _akin(first: Config, second: Config, vary: str) -> bool:
    """Whether two precisions come from the same weights: an int8 file is made of the float32 one, or both of one."""
    if vary != "precision":
        return True
    ours, theirs = {first.sha256, first.parent_sha256}, {second.sha256, second.parent_sha256}
    return bool((ours & theirs) - {None})


def _nearest(first: BenchmarkResult, second: BenchmarkResult, vary: str) -> str:
    """Why nothing could be paired: the two configurations that differ least, key by key."""
    found = []
    for a in _timed(first):
        for b in _timed(second):
            differences = _forbidden(_differences(_facts(first, a), _facts(second, b)), vary)
            if not differences and not _akin(a, b, vary):
                differences = {"parent_sha256": [a.parent_sha256, b.parent_sha256]}
            found.append(differences)
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
        "verified": config.verified,
        "top1": config.top1,
        "observed": observation(config.observed),
        **summary(config.latency_s),
    }


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.4g} ms"
