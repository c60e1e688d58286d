"""What has to be equal for two measurements to be compared, and what a declared variable may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgexfer.errors import DeviceError
from edgexfer.results.result import BenchmarkResult, Config

# What may differ with a variable; "x." stands for every key below x. The rest has to be equal.
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "sha256", "network", "parent_sha256", "input."),
    "precision": ("precision", "model", "sha256", "parent_sha256"),
    "threads": ("threads", "session.intra_op_num_threads", "session.inference_num_threads"),
    "spinning": ("session.allow_spinning",),
    "affinity": ("affinity",),
    "head": ("head",),
    "runtime": ("runtime", "runtime_version", "session."),
    "machine": ("machine.", "affinity"),
    "settings": ("settings.",),
    "edgexfer_version": ("edgexfer_version",),
}
MEMORY = "machine.memory_bytes"
SAME_MEMORY = 0.02  # the kernel keeps a little for itself, and not always the same


def check_known(vary: str) -> None:
    """Refuses a variable that nobody knows.

    Raises:
        DeviceError: It is none of ``VARIABLES``.
    """
    if vary not in VARIABLES:
        raise DeviceError(f"nothing is called {vary!r} that could vary; allowed: {', '.join(VARIABLES)}")


def facts_of(result: BenchmarkResult, config: Config) -> dict[str, Any]:
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
        "head": config.head,
        "affinity": None if config.affinity is None else list(config.affinity),
        "edgexfer_version": result.edgexfer_version,
    }
    groups = {"machine": result.machine, "session": config.session, "input": config.input, "settings": result.settings}
    for name, group in groups.items():
        facts |= {f"{name}.{key}": value for key, value in group.items()}
    return facts


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Both values of every key whose values differ."""
    keys = [*first, *(key for key in second if key not in first)]
    pairs = {key: [first.get(key), second.get(key)] for key in keys}
    return {key: both for key, both in pairs.items() if both[0] != both[1] and not _same_memory(key, both)}


def _same_memory(key: str, both: Sequence[Any]) -> bool:
    if key != MEMORY or not all(isinstance(value, int) for value in both):
        return False
    return bool(abs(both[0] - both[1]) <= SAME_MEMORY * max(both))


def forbidden(found: Mapping[str, list[Any]], vary: str) -> dict[str, list[Any]]:
    """The differences that ``vary`` does not explain; another name of the same file is none."""
    allowed = VARIABLES[vary]
    return {
        key: both
        for key, both in found.items()
        if key not in allowed
        and not any(name.endswith(".") and key.startswith(name) for name in allowed)
        and not (key == "model" and "sha256" not in found)
    }


def akin(first: Config, second: Config, vary: str) -> bool:
    """Whether two precisions come from the same weights: an int8 file is made of the float32 one, or both of one."""
    if vary != "precision":
        return True
    ours, theirs = {first.sha256, first.parent_sha256}, {second.sha256, second.parent_sha256}
    return bool((ours & theirs) - {None})
