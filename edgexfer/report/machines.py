"""Machines: which results belong to one, how it is called, and what its result tells of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgexfer.report.measured import Config
from edgexfer.report.records import FoundResult

SAME = ("host", "board", "cpu", "architecture", "cores", "governor")


def by_machine(configs: Sequence[Config]) -> list[list[Config]]:
    """The configurations machine by machine: boards first, then other real machines, emulated ones last."""
    groups: list[list[Config]] = []
    for config in configs:
        for group in groups:
            if same_machine(group[0].result, config.result):
                group.append(config)
                break
        else:
            groups.append([config])
    return sorted(groups, key=lambda group: (group[0].result.emulated, not _is_board(group[0].result)))


def _is_board(result: FoundResult) -> bool:
    return str(result.machine.get("architecture") or "").lower().startswith(("aarch64", "arm"))


def same_machine(first: FoundResult, second: FoundResult) -> bool:
    """Whether two results come from one machine and so may share a figure."""
    return first.emulated == second.emulated and all(first.machine.get(k) == second.machine.get(k) for k in SAME)


def machine_name(result: FoundResult) -> str:
    """The board if it is a well-known one, else the processor, else what is known."""
    board, cpu, host, architecture = (
        str(result.machine.get(key) or "").strip() for key in ("board", "cpu", "host", "architecture")
    )
    known = [re.sub(r" Rev [\d.]+$", "", board)] if "raspberry" in board.lower() else []
    return next(filter(None, [*known, cpu, board, host, architecture]), "an unnamed machine")


def machine_names(groups: Sequence[Sequence[Config]]) -> list[str]:
    """A name for each machine; the host is added where two would be called the same."""
    names = [machine_name(group[0].result) for group in groups]
    hosts = [str(group[0].result.machine.get("host") or f"machine {i + 1}") for i, group in enumerate(groups)]
    return [f"{n} ({h})" if names.count(n) > 1 else n for n, h in zip(names, hosts, strict=True)]


def flat(value: Any, prefix: str = "") -> list[tuple[str, str, Any]]:
    """``(name, JSON pointer, value)`` of every leaf of nested mappings; lists stay whole."""
    if not isinstance(value, Mapping):
        return [(prefix.removeprefix("/").replace("/", " · "), prefix, value)]
    return [leaf for key in value for leaf in flat(value[key], f"{prefix}/{_escaped(str(key))}")]


def _escaped(key: str) -> str:
    """A key inside a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def words(value: Any) -> str:
    """A leaf as a person reads it."""
    if value is None or value == [] or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
