"""A benchmark result as a value: every single time, and everything that could have moved it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.errors import FormatError
from edgexfer.files import read_json

MOST_SECONDS = 1e9


@dataclass(frozen=True)
class Config:
    """A model with a thread count in a runtime.

    Attributes:
        model: Name of the ONNX file.
        sha256: SHA-256 of its content.
        network: The network's name, ``None`` for a foreign file.
        parent_sha256: What it was made of, ``None`` for a foreign file.
        precision: ``"float32"`` or ``"int8"``, ``None`` for a foreign file.
        runtime: ``"onnxruntime"``.
        runtime_version: Its version.
        threads: Threads within one operator.
        scenario: ``"single-stream"`` or ``"verify-only"``.
        batch: Pictures an inference.
        session: The runtime's settings.
        affinity: Cores that the process was allowed to use.
        input: Type and shape of every input.
        latency_s: The time of every inference, in the order they were taken.
        load_s: Opening the model.
        first_s: The first inference.
        peak_rss_bytes: Largest resident memory.
        size_bytes: Size of the file.
        top1: Accuracy on the bundle's labelled samples, from 0 to 1.
        verified: Whether the golden samples were answered rightly; ``None`` where it cannot be proven.
        status: ``"ok"``, or what went wrong.
        error: The message that goes with it.
        observed: Temperature, clock, load and throttling before, during and after.
        head: The head of adapt.py that was timed on top, if any.
        runs: How many of the times belong to each round, a process of its own; empty for a single one.
        stable: The device's own verdict on its times, ``None`` where it gave none.
    """

    model: str
    sha256: str
    network: str | None
    parent_sha256: str | None
    precision: str | None
    runtime: str
    runtime_version: str | None
    threads: int
    scenario: str
    batch: int
    session: Mapping[str, Any]
    affinity: tuple[int, ...] | None
    input: Mapping[str, Any]
    latency_s: tuple[float, ...]
    load_s: float | None
    first_s: float | None
    peak_rss_bytes: int | None
    size_bytes: int | None
    top1: float | None
    verified: bool | None
    status: str
    error: str | None
    observed: Mapping[str, Any]
    head: str | None = None
    runs: tuple[int, ...] = ()
    stable: bool | None = None

    @property
    def timed(self) -> bool:
        """Whether its times can be used."""
        return self.status == "ok" and bool(self.latency_s)


@dataclass(frozen=True)
class BenchmarkResult:
    """What ``bench.py`` wrote.

    Attributes:
        path: The file.
        created: When, in UTC.
        edgexfer_version: The version that measured.
        machine: What stays as it is during a measurement: host, processor, system, governor.
        emulated: Whether the processor was an emulated one, whose times mean nothing.
        settings: Least seconds and least runs.
        configs: What was measured.
    """

    path: Path
    created: str
    edgexfer_version: str
    machine: Mapping[str, Any]
    emulated: bool
    settings: Mapping[str, Any]
    configs: tuple[Config, ...]


def read_result(path: Path) -> BenchmarkResult:
    """Reads and validates a benchmark result.

    Raises:
        FormatError: The file is missing, damaged, incomplete, no benchmark result, or of a newer format.
    """
    value = read_json(path, "benchmark result")
    if not isinstance(value.get("configs"), list):
        raise FormatError(
            f"{str(path)!r} is not a benchmark result: it holds no list of 'configs'; name a file that edgexfer bench"
            " or bench.py wrote"
        )
    try:
        return BenchmarkResult(
            path=path,
            created=_take(value, "created", str),
            edgexfer_version=_take(value, "edgexfer_version", str),
            machine=_take(value, "machine", dict),
            emulated=_take(value, "emulated", bool),
            settings=_take(value, "settings", dict, optional=True) or {},
            configs=tuple(_config(c, f"configs[{i}]") for i, c in enumerate(value["configs"])),
        )
    except ValueError as error:
        raise FormatError(f"the benchmark result {str(path)!r} is malformed: {error}; bench again") from error


def _config(value: Any, where: str) -> Config:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}; expected an object")

    def must(key: str, kind: type) -> Any:
        return _take(value, key, kind, where=where)

    def may(key: str, kind: type) -> Any:
        return _take(value, key, kind, where=where, optional=True)

    affinity = may("affinity", list)
    top1 = may("top1", float)
    if top1 is not None and top1 > 1:
        raise ValueError(f"{where}.top1 is {top1!r}; expected a fraction from 0 to 1")
    return Config(
        model=must("model", str),
        sha256=must("sha256", str),
        network=may("network", str),
        parent_sha256=may("parent_sha256", str),
        precision=may("precision", str),
        runtime=must("runtime", str),
        runtime_version=may("runtime_version", str),
        threads=must("threads", int),
        scenario=must("scenario", str),
        batch=1 if value.get("batch") is None else must("batch", int),
        session=may("session", dict) or {},
        affinity=None if affinity is None else tuple(affinity),
        input=may("input", dict) or {},
        latency_s=_times(must("latency_s", list), where),
        load_s=may("load_s", float),
        first_s=may("first_s", float),
        peak_rss_bytes=may("peak_rss_bytes", int),
        size_bytes=may("size_bytes", int),
        top1=top1,
        verified=may("verified", bool),
        status=must("status", str),
        error=may("error", str),
        observed=may("observed", dict) or {},
        head=may("head", str),
        runs=_runs(may("rounds", list) or [], where),
        stable=_take(may("stability", dict) or {}, "stable", bool, where=f"{where}.stability", optional=True),
    )


def _runs(rounds: list[Any], where: str) -> tuple[int, ...]:
    counts: list[int] = []
    for number, one in enumerate(rounds):
        count = one.get("count") if isinstance(one, dict) else one
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{where}.rounds[{number}].count is {count!r}; expected a whole number from 0 up")
        counts.append(count)
    return tuple(counts)


def _times(values: list[Any], where: str) -> tuple[float, ...]:
    for number, value in enumerate(values):
        if not _is_number(value) or not 0 <= value < MOST_SECONDS:
            raise ValueError(f"{where}.latency_s[{number}] is {value!r}; expected seconds from 0 up")
    return tuple(float(v) for v in values)


def _take(value: Mapping[str, Any], key: str, kind: type, *, where: str = "", optional: bool = False) -> Any:
    """``value[key]``, once it is of ``kind``; numbers are finite and not below zero.

    Raises:
        ValueError: It is not.
    """
    name = f"{where}.{key}" if where else key
    found = value.get(key)
    if found is None:
        if optional:
            return None
        raise ValueError(f"{name} is missing")
    if kind in (int, float):
        if not _is_number(found) or found < 0 or (kind is int and not isinstance(found, int)):
            raise ValueError(f"{name} is {found!r}; expected a {'whole ' if kind is int else ''}number from 0 up")
    elif not isinstance(found, kind):
        raise ValueError(f"{name} is {found!r}; expected {_WORDS[kind]}")
    return found


_WORDS = {str: "a text", bool: "true or false", dict: "an object", list: "a list"}


def _is_number(value: Any) -> bool:
    """Whether ``value`` is a number that is finite as a float, too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
