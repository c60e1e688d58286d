"""The section on speed: accuracy against latency, distributions, and the table of every configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edgexfer.report.distributions import Row as DistributionRow
from edgexfer.report.distributions import draw_distributions
from edgexfer.report.latency import ENOUGH, mean, pareto_front, percentile
from edgexfer.report.lineage import Config, Lineage
from edgexfer.report.machines import by_machine, flat, machine_names, words
from edgexfer.report.models import Naming
from edgexfer.report.scatter import Point, draw_scatter
from edgexfer.report.tables import Figure, Row, Table
from edgexfer.report.values import MISSING, Value, duration, milliseconds, percent, plain, shown, significant, size

MOST_ROWS = 16
_Scored = tuple[Config, int, Value]
TIMES = ("p50 ms", "p90 ms", "p95 ms", "p99 ms", "mean ms")
HEADS = ("configuration", "answers", *TIMES, "images/s", "load ms", "first ms", "memory", "file", "top-1")


@dataclass(frozen=True)
class Machine:
    """Everything measured on one machine.

    Attributes:
        name: Its name.
        is_emulated: Whether it was no real machine.
        scatter: Accuracy against latency, or ``None``.
        distributions: Latency distributions, or ``None``.
        table: Every configuration.
        facts: What the results tell of the machine.
    """

    name: str
    is_emulated: bool
    scatter: Figure | None
    distributions: Figure | None
    table: Table
    facts: Table


def machines(lineage: Lineage, naming: Naming) -> list[Machine]:
    """One entry a machine; times of two machines never share a figure, emulated ones are never shown."""
    groups = by_machine(lineage.configs)
    names = machine_names(groups)
    return [_machine(i, group, name, naming) for i, (group, name) in enumerate(zip(groups, names, strict=True))]


def _machine(number: int, configs: list[Config], name: str, naming: Naming) -> Machine:
    timed = [config for config in configs if config.refusal is None]
    colours = _colours(timed, naming)
    return Machine(
        name=name,
        is_emulated=configs[0].result.emulated,
        scatter=_scatter(number, timed, colours),
        distributions=_distributions(number, timed, colours),
        table=_table(configs),
        facts=_facts(configs[0]),
    )


def _colours(timed: Sequence[Config], naming: Naming) -> list[int]:
    """The run's colour where a run is known; else one for each model name."""
    strangers: dict[str, int] = {}
    found = []
    for config in timed:
        if config.run is not None:
            found.append(naming.colours[config.run.label])
        else:
            found.append(strangers.setdefault(config.name, 3 + len(naming.colours) + len(strangers)))
    return found


def _scatter(number: int, timed: Sequence[Config], colours: Sequence[int]) -> Figure | None:
    scored, source = _scored(list(zip(timed, colours, strict=True)))
    if not scored:
        return None
    points = [
        Point(c.title, percentile(c.latency_s, 50) or 0.0, float(top1.exact or 0.0), k, c.precision == "int8")
        for c, k, top1 in scored
    ]
    front = set(pareto_front([(p.p50_s, p.top1) for p in points]))
    description = f"Accuracy against median latency of {len(points)} configurations. Not beaten in both: " + "; ".join(
        f"{points[i].name} at {duration(points[i].p50_s)} and {percent(points[i].top1)}" for i in sorted(front)
    )
    return Figure(
        title="Accuracy against latency",
        caption=(
            f"Up and to the left is better. {source} Discs are float32, diamonds int8. No configuration off the dashed"
            " line is faster and as accurate as one on it."
        ),
        wide=draw_scatter(f"scatter-{number}-wide", points, wide=True, description=description),
        narrow=draw_scatter(f"scatter-{number}-narrow", points, wide=False, description=description),
        table=_scatter_table(scored, points, front),
    )


def _scatter_table(scored: Sequence[_Scored], points: Sequence[Point], front: set[int]) -> Table:
    rows = [
        Row(
            point.name,
            (
                shown(point.p50_s, duration, config.origin("latency_s | p50")),
                top1,
                "on the front" if i in front else "",
            ),
            colour=colour,
        )
        for i, ((config, colour, top1), point) in enumerate(zip(scored, points, strict=True))
    ]
    heads = ("configuration", "p50", "top-1", "Pareto front")
    return Table("Accuracy against latency", heads, rows, frozenset({3}))


def _scored(timed: Sequence[tuple[Config, int]]) -> tuple[list[_Scored], str]:
    """Configurations with their accuracy, and a sentence on where it comes from; the two sources are never mixed."""
    told = [(c, k, shown(c.value.get("top1"), percent, c.origin("top1"))) for c, k in timed]
    measured = [entry for entry in told if entry[2].exact is not None]
    if measured:
        images = sorted({n for c, _, _ in measured if isinstance(n := c.value.get("top1_images"), int) and n})
        counted = f" on {' or '.join(f'{n:,}' for n in images)} labelled pictures" if images else ""
        return measured, f"Accuracy is what the device itself scored{counted}."
    known = [(c, k, value) for c, k in timed if (value := workstation_top1(c)) is not None]
    return known, "Accuracy is what the workstation scored, since the device was given no labelled pictures."


def workstation_top1(config: Config) -> Value | None:
    """The run's accuracy on test (val where there is none); an int8 file's own one from its proof, else ``None``."""
    if config.precision == "int8":
        if config.artifact is None or config.artifact.proof is None:
            return None
        proof = config.artifact.proof.get("int8")
        origin = f"{config.artifact.label.removesuffix('.onnx')}.proof.json#/int8/top1"
        value = shown(proof.get("top1") if isinstance(proof, dict) else None, percent, origin)
    elif config.run is not None:
        key = "test_top1" if config.run.run.scores.get("test_top1") is not None else "val_top1"
        value = shown(config.run.run.scores.get(key), percent, config.run.origin(f"/scores/{key}"))
    else:
        return None
    return value if value.exact is not None else None


def _distributions(number: int, timed: Sequence[Config], colours: Sequence[int]) -> Figure | None:
    order = sorted(range(len(timed)), key=lambda i: percentile(timed[i].latency_s, 50) or 0.0)[:MOST_ROWS]
    if not order:
        return None
    rows = [DistributionRow(timed[i].title, timed[i].latency_s, colours[i]) for i in order]
    description = "Latency distributions, fastest first: " + "; ".join(
        f"{row.name} median {duration(percentile(row.latency_s, 50) or 0.0)}" for row in rows
    )
    left_out = f" The {MOST_ROWS} fastest of {len(timed)} are drawn." if len(timed) > MOST_ROWS else ""
    table = Table(
        "Latency distributions",
        ("configuration", "inferences", "fastest", "p50", "p90", "p95", "p99", "slowest"),
        [_spread_row(timed[i], colours[i]) for i in order],
    )
    return Figure(
        title="Latency, every inference",
        caption=(
            "Each shape is the histogram of all measured inferences of one configuration; the strong stroke is the"
            f" median, the small one at the right the slowest.{left_out}"
        ),
        wide=draw_distributions(f"latency-{number}-wide", rows, wide=True, description=description),
        narrow=draw_distributions(f"latency-{number}-narrow", rows, wide=False, description=description),
        table=table,
    )


def _spread_row(config: Config, colour: int) -> Row:
    times, origin = config.latency_s, config.origin("latency_s")
    return Row(
        config.title,
        (
            Value(f"{len(times):,}", len(times), f"{origin} | count"),
            shown(min(times), duration, f"{origin} | min"),
            *(_percentile(config, percent) for percent in ENOUGH),
            shown(max(times), duration, f"{origin} | max"),
        ),
        colour=colour,
    )


def _percentile(config: Config, percent: int, write: Callable[[Any], str] = duration) -> Any:
    value = percentile(config.latency_s, percent)
    if value is None:
        return Markup('<span class="missing" title="needs {} inferences, {} were measured">–</span>').format(
            ENOUGH[percent], len(config.latency_s)
        )
    return shown(value, write, config.origin(f"latency_s | p{percent}"))


def _table(configs: Sequence[Config]) -> Table:
    rows = [_config_row(config) for config in configs]
    return Table("Every configuration measured", HEADS, rows, frozenset({1}))


def _config_row(config: Config) -> Row:
    value, origin, refusal = config.value, config.origin, config.refusal
    timed = refusal is None
    average = mean(config.latency_s) if timed else None
    speed = 1 / average if average else None
    error = str(value.get("error") or "")
    return Row(
        name=config.title,
        note=error,
        cells=(
            answers_word(config),
            *(_percentile(config, percent, milliseconds) if timed else MISSING for percent in ENOUGH),
            shown(average, milliseconds, origin("latency_s | mean")),
            shown(speed, significant, origin("latency_s | rate")),
            shown(value.get("load_s") if timed else None, milliseconds, origin("load_s")),
            shown(value.get("first_s") if timed else None, milliseconds, origin("first_s")),
            shown(value.get("peak_rss_bytes") if timed else None, size, origin("peak_rss_bytes")),
            shown(value.get("size_bytes"), size, origin("size_bytes")),
            shown(value.get("top1"), percent, origin("top1")),
        ),
        is_quiet=not timed,
    )


def answers_word(config: Config) -> Markup:
    """What the device's answers proved, as a badge."""
    refusal, verified = config.refusal, config.value.get("verified")
    if refusal not in (None, "emulated", "not timed"):
        kind, text = "bad", str(refusal)
    elif verified:
        kind, text = "good", "right" if refusal is None else f"right, {refusal}"
    else:
        kind, text = "unsure", "not provable" if refusal is None else f"not provable, {refusal}"
    return Markup('<span class="badge {}">{}</span>').format(kind, text)


def _facts(config: Config) -> Table:
    """The machine as it was described, and what was observed around the measurement."""
    result = config.result
    leaves = flat(result.machine, "/machine")
    known = [("created", "/created", result.value.get("created")), *leaves]
    runtime = " ".join(str(config.value.get(k) or "") for k in ("runtime", "runtime_version")).strip()
    rows = [
        Row(
            name.removeprefix("machine · ").replace("_", " "),
            (shown(v, plain, f"{result.label}#{pointer}") if _is_number(v) else words(v),),
        )
        for name, pointer, v in known
    ]
    rows.append(Row("runtime", (runtime or "–",)))
    for moment in ("before", "after"):
        observed = config.value.get("observed") or {}
        temperature = (observed.get(moment) or {}).get("temperature_c") if isinstance(observed, dict) else None
        if _is_number(temperature):
            origin = config.origin(f"observed/{moment}/temperature_c")
            rows.append(Row(f"temperature {moment}", (shown(temperature, lambda t: f"{t:.1f} °C", origin),)))
    return Table("The machine", ("", result.label), rows, frozenset({1}))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
