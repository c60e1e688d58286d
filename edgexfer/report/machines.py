"""How a machine is called, and what else its result tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgexfer.report.records import FoundResult


def machine_name(result: FoundResult) -> str:
    """The board or processor, and the host."""
    machine = result.machine
    board, cpu, host = (str(machine.get(key) or "").strip() for key in ("board", "cpu", "host"))
    what = board if "raspberry" in board.lower() or not cpu else cpu
    if not what:
        what = str(machine.get("architecture") or "an unnamed machine")
    return f"{what} ({host})" if host and host != what else what


def same_machine(first: FoundResult, second: FoundResult) -> bool:
    """Whether two results come from one machine and so may share a figure."""
    keys = ("host", "board", "cpu", "architecture", "cores", "governor")
    return first.emulated == second.emulated and all(first.machine.get(k) == second.machine.get(k) for k in keys)


def flat(value: Any, prefix: str = "") -> list[tuple[str, str, Any]]:
    """``(name, JSON pointer, value)`` of every leaf of nested mappings; lists stay whole."""
    if not isinstance(value, Mapping):
        return [(prefix.removeprefix("/").replace("/", " · "), prefix, value)]
    return [
        leaf for key in value for leaf in flat(value[key], f"{prefix}/{str(key).replace('~', '~0').replace('/', '~1')}")
    ]


def words(value: Any) -> str:
    """A leaf as a person reads it."""
    if value is None or value == [] or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
