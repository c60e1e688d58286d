"""The table of every configuration measured on a machine, and what its results tell of the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from edgexfer.report.machines import flat, words
from edgexfer.report.measured import Config, mapping
from edgexfer.report.tables import Row, Table
from edgexfer.report.values import (
    MISSING,
    Value,
    celsius,
    duration,
    is_number,
    milliseconds,
    percent,
    plain,
    shown,
)
from edgexfer.results.statistics import ENOUGH, mean, percentile
from edgexfer.words import people_size, significant

TIMES = ("p50 ms", "p90 ms", "p95 ms", "p99 ms", "mean ms")
HEADS = ("configuration", "answers", "steady", *TIMES, "images/s", "load ms", "first ms", "memory", "file", "top-1")


def configurations(configs: Sequence[Config]) -> Table:
    """Every configuration, also those whose times may not be shown; times are those of a query."""
    sources = {config.result.label for config in configs}
    rows = [_row(config, config.result.label if len(sources) > 1 else "") for config in configs]
    return Table("Every configuration measured", HEADS, rows, frozenset({1, 2}))


def _row(config: Config, source: str) -> Row:
    value, origin, refusal = config.value, config.origin, config.refusal
    timed = refusal is None
    return Row(
        name=config.title,
        tag=f"best {' and '.join(config.best)}" if config.best and timed else "",
        note=", ".join(filter(None, (str(value.get("error") or ""), source))),
        cells=(
            answers_word(config),
            steady_word(config) if timed else MISSING,
            *(percentile_cell(config, percent, milliseconds) if timed else MISSING for percent in ENOUGH),
            shown(mean(config.latency_s) if timed else None, milliseconds, origin("latency_s | mean")),
            images_per_s(config) if timed else MISSING,
            shown(value.get("load_s") if timed else None, milliseconds, origin("load_s")),
            shown(value.get("first_s") if timed else None, milliseconds, origin("first_s")),
            shown(value.get("peak_rss_bytes") if timed else None, people_size, origin("peak_rss_bytes")),
            shown(value.get("size_bytes"), people_size, origin("size_bytes")),
            shown(value.get("top1"), percent, origin("top1")),
        ),
        is_quiet=not timed,
    )


def images_per_s(config: Config) -> Value:
    """Pictures a second, one query after the other."""
    average = mean(config.latency_s)
    rate = config.batch / average if average else None
    return shown(rate, significant, config.origin(f"latency_s | rate {config.batch}"))


def percentile_cell(config: Config, percent: int, write: Callable[[Any], str] = duration) -> Any:
    """A percentile, or a dash that says how many inferences it would need."""
    value = percentile(config.latency_s, percent)
    if value is None:
        return Markup('<span class="missing" title="needs {} inferences, {} were measured">–</span>').format(
            ENOUGH[percent], len(config.latency_s)
        )
    return shown(value, write, config.origin(f"latency_s | p{percent}"))


def answers_word(config: Config) -> Markup:
    """What the device's answers proved, as a badge."""
    refusal, verified = config.refusal, config.value.get("verified")
    if refusal not in (None, "emulated", "not timed"):
        return badge("bad", str(refusal))
    if verified:
        return badge("good", "right" if refusal is None else f"right, {refusal}")
    return badge("unsure", "not provable" if refusal is None else f"not provable, {refusal}")


def steady_word(config: Config) -> Markup:
    """The measurement's own verdict on whether its times held still, as a badge."""
    stable = mapping(config.value, "stability").get("stable")
    if not isinstance(stable, bool):
        return MISSING
    return badge("good", "yes") if stable else badge("unsure", "wavers")


def badge(kind: str, text: str) -> Markup:
    """A word in colour: ``good``, ``bad`` or ``unsure``."""
    return Markup('<span class="badge {}">{}</span>').format(kind, text)


def facts(config: Config) -> Table:
    """The machine as it was described, and what was observed around the measurement."""
    result = config.result
    leaves = flat(result.machine, "/machine")
    known = [("created", "/created", result.value.get("created")), *leaves]
    runtime = " ".join(str(config.value.get(k) or "") for k in ("runtime", "runtime_version")).strip()
    rows = [
        Row(
            name.removeprefix("machine · ").replace("_", " "),
            (shown(v, plain, f"{result.label}#{pointer}") if is_number(v) else words(v),),
        )
        for name, pointer, v in known
    ]
    rows.append(Row("runtime", (runtime or "–",)))
    for moment in ("before", "after"):
        temperature = mapping(mapping(config.value, "observed"), moment).get("temperature_c")
        if is_number(temperature):
            origin = config.origin(f"observed/{moment}/temperature_c")
            rows.append(Row(f"temperature {moment}", (shown(temperature, celsius, origin),)))
    return Table("The machine", ("", result.label), rows, frozenset({1}))
