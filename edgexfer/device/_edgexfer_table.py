"""Prints results as a table of plain text. Standard library only."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence

import _edgexfer_statistics as statistics

HEADINGS = tuple("model threads answers p50 p90 p95 p99 mean images/s load memory size top-1".split())


def rows(configs: Sequence[Mapping[str, Any]]) -> List[List[str]]:
    """One row of words a configuration, in the order of ``HEADINGS``."""
    return [_row(config) for config in configs]


def render(configs: Sequence[Mapping[str, Any]]) -> str:
    """The table; ``-`` where a figure does not exist, or too few inferences carry it."""
    table = [list(HEADINGS), *rows(configs)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEADINGS))]
    lines = [
        "  ".join(w.ljust(widths[i]) if i in (0, 2) else w.rjust(widths[i]) for i, w in enumerate(line)).rstrip()
        for line in table
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def milliseconds(seconds: Optional[float]) -> str:
    """Seconds as milliseconds with three significant figures or more."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    return f"{value:.3f} ms" if value < 10 else f"{value:.2f} ms" if value < 100 else f"{value:.0f} ms"


def size(count: Optional[int]) -> str:
    """Bytes as KB or MB."""
    if count is None:
        return "-"
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.0f} KB"


def _row(config: Mapping[str, Any]) -> List[str]:
    values = statistics.summary(config["latency_s"])
    mean = values["mean_s"]
    return [
        str(config["model"]),
        str(config["threads"]),
        _answers(config),
        *(milliseconds(values[name]) for name in ("p50_s", "p90_s", "p95_s", "p99_s", "mean_s")),
        f"{1 / mean:.1f}" if mean else "-",
        milliseconds(config["load_s"]),
        size(config["peak_rss_bytes"]),
        size(config["size_bytes"]),
        "-" if config["top1"] is None else f"{config['top1']:.1%}",
    ]


def _answers(config: Mapping[str, Any]) -> str:
    if config["status"] != "ok":
        return str(config["status"])
    return "right" if config["verified"] else "not provable"
