"""A benchmark result as its file holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.errors import FormatError
from edgexfer.files import read_json

NEEDED = ("model", "precision", "runtime", "threads", "status", "latency_s")


@dataclass(frozen=True)
class BenchmarkResult:
    """What one call of ``bench.py`` measured.

    Attributes:
        path: The file.
        machine: What the device is.
        emulated: Whether an emulator ran it; then nothing in it is a latency.
        configs: One mapping a model and thread count, every single latency (seconds) in ``latency_s``.
        created: UTC time, ISO 8601.
    """

    path: Path
    machine: Mapping[str, Any]
    emulated: bool
    configs: tuple[Mapping[str, Any], ...]
    created: str


def read_result(path: Path) -> BenchmarkResult:
    """Reads and checks a benchmark result.

    Raises:
        FormatError: It is missing, damaged, incomplete, or of a newer format.
    """
    value = read_json(path, "benchmark result")
    try:
        configs = tuple(value["configs"])
        result = BenchmarkResult(path, value["machine"], bool(value["emulated"]), configs, str(value["created"]))
        lacking = {key for config in configs for key in NEEDED if key not in config}
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"the benchmark result {str(path)!r} is incomplete: {error} is missing or malformed"
        ) from error
    if lacking:
        raise FormatError(
            f"the benchmark result {str(path)!r} is incomplete: a configuration lacks {', '.join(sorted(lacking))}"
        )
    return result
