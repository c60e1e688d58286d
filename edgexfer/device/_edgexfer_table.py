"""Prints results as tables of plain text. Standard library only."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence, Tuple

import _edgexfer_statistics as statistics

Config = Mapping[str, Any]
PROFILE_ROWS = 15
COURSE_ROWS = 10


def render(configs: Sequence[Config]) -> str:
    """The table; ``-`` where a figure does not exist, or too few queries carry it.

    What is the same for all and usual (a single stream, onnxruntime, threads that spin on any core) has no column.
    """
    columns = [c for c in _COLUMNS if c[0] not in _USUAL or any(c[1](one) not in _USUAL[c[0]] for one in configs)]
    return _laid_out([c[0] for c in columns], [[c[1](one) for c in columns] for one in configs], _LEFT)


def render_profile(config: Config) -> str:
    """The slowest operators of a configuration."""
    rows = config["profile"] or []
    shown = [
        [str(r["layer"] or r["name"]), str(r["op"]), milliseconds(r["mean_s"]), f"{r['share']:.1%}"]
        for r in rows[:PROFILE_ROWS]
    ]
    rest = rows[PROFILE_ROWS:]
    if rest:
        time, share = sum(r["mean_s"] for r in rest), sum(r["share"] for r in rest)
        shown.append([f"{len(rest)} more", "", milliseconds(time), f"{share:.1%}"])
    return f"operators of {config['model']}:\n" + _laid_out(
        ["layer", "operator", "time", "share"], shown, ("layer", "operator")
    )


def render_course(config: Config) -> str:
    """A sustained run over time: latency beside temperature and clock, in at most ten steps."""
    states = [s for s in config["observed"].get("during", ()) if s.get("runs")]
    step = -(-len(states) // COURSE_ROWS) or 1
    rows, begun = [], (config["observed"].get("before") or {}).get("time_s")
    first = 0
    for state in [*states[step - 1 :: step], *(states[-1:] if len(states) % step else [])]:
        times = sorted(config["latency_s"][first : state["runs"]])
        first = state["runs"]
        if not times:
            continue
        heat, clock = state.get("temperature_c"), state.get("clock_hz") or state.get("requested_hz")
        rows.append(
            [
                "-" if begun is None else f"{state['time_s'] - begun:.0f} s",
                milliseconds(statistics.percentile(times, 50)),
                "-" if heat is None else f"{heat:.1f} C",
                "-" if clock is None else f"{clock / 1e6:.0f} MHz",
                ", ".join((state.get("throttled") or {}).get("live", ())) or "-",
            ]
        )
    headings = ("after", "p50", "temperature", "clock", "throttled")
    threads = f"{config['threads']} thread{'s' if config['threads'] != 1 else ''}"
    return f"{config['model']} under load, {threads}:\n" + _laid_out(headings, rows, ("throttled",))


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


def _laid_out(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> str:
    table = [list(headings), *rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(headings))]
    lines = [
        "  ".join(
            word.ljust(widths[i]) if headings[i] in left else word.rjust(widths[i]) for i, word in enumerate(line)
        ).rstrip()
        for line in table
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _time(name: str) -> Callable[[Config], str]:
    return lambda config: milliseconds(statistics.summary(config["latency_s"])[name])


def _rate(config: Config) -> str:
    mean = statistics.summary(config["latency_s"])["mean_s"]
    return f"{config['batch'] / mean:.1f}" if mean else "-"


def _answers(config: Config) -> str:
    if config["status"] != "ok":
        return str(config["status"])
    return "right" if config["verified"] else "not provable"


def _steady(config: Config) -> str:
    verdict = config.get("stability")
    return "-" if verdict is None else "yes" if verdict["stable"] else "NO"


def _cores(config: Config) -> str:
    return ",".join(map(str, config["affinity"])) if config.get("pinned") and config["affinity"] else "any"


_COLUMNS: Tuple[Tuple[str, Callable[[Config], str]], ...] = (
    ("model", lambda c: str(c["model"]) + (f" + {c['head']}" if c.get("head") else "")),
    ("runtime", lambda c: str(c["runtime"])),
    ("threads", lambda c: str(c["threads"])),
    ("spins", lambda c: "yes" if c.get("spinning", True) or c["threads"] == 1 else "no"),
    ("cores", _cores),
    ("query", lambda c: str(c["scenario"]) + (f" x{c['batch']}" if c["batch"] > 1 else "")),
    ("answers", _answers),
    *((name, _time(f"{name}_s")) for name in ("p50", "p90", "p95", "p99", "mean")),
    ("images/s", _rate),
    ("stable", _steady),
    ("load", lambda c: milliseconds(c["load_s"])),
    ("cold", lambda c: milliseconds(c.get("load_cold_s"))),
    ("memory", lambda c: size(c["peak_rss_bytes"])),
    ("size", lambda c: size(c["size_bytes"])),
    ("top-1", lambda c: "-" if c["top1"] is None else f"{c['top1']:.1%}"),
)
_LEFT = ("model", "answers", "query", "runtime")
_USUAL = {
    "runtime": ("onnxruntime",), "spins": ("yes",), "cores": ("any",), "query": ("single-stream", "verify-only"),
    "cold": ("-",), "stable": ("-",),
}  # fmt: skip
