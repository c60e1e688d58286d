"""The section on speed: accuracy against latency, distributions, and the table of every configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgexfer.report.configurations import configurations, facts, percentile_cell
from edgexfer.report.distributions import Row as DistributionRow
from edgexfer.report.distributions import draw_distributions
from edgexfer.report.layers import layer_costs
from edgexfer.report.lineage import Lineage
from edgexfer.report.machines import by_machine, machine_names
from edgexfer.report.measured import SUSTAINED, Config
from edgexfer.report.models import Naming
from edgexfer.report.scatter import Point, draw_scatter
from edgexfer.report.steadiness import steadiness
from edgexfer.report.sustained import under_load
from edgexfer.report.tables import Figure, Row, Table
from edgexfer.report.values import Value, duration, percent, shown
from edgexfer.results.pareto import pareto_front
from edgexfer.results.statistics import ENOUGH, percentile

MOST_ROWS = 16
_Scored = tuple[Config, int, Value]


@dataclass(frozen=True)
class Machine:
    """Everything measured on one machine.

    Attributes:
        name: Its name.
        is_emulated: Whether it was no real machine.
        figures: Accuracy against latency, distributions, time under load, cost of layers, steadiness: those that the
            results allow.
        table: Every configuration.
        facts: What the results tell of the machine.
    """

    name: str
    is_emulated: bool
    figures: Sequence[Figure]
    table: Table
    facts: Table


def machines(lineage: Lineage, naming: Naming) -> list[Machine]:
    """One entry a machine; times of two machines never share a figure, emulated ones are never shown."""
    groups = by_machine(lineage.configs)
    names = machine_names(groups)
    return [_machine(i, group, name, naming) for i, (group, name) in enumerate(zip(groups, names, strict=True))]


def tables_of(lineage: Lineage) -> list[tuple[str, Table, bool]]:
    """For each machine its name, the table of every configuration, and whether it was emulated."""
    groups = by_machine(lineage.configs)
    named = zip(machine_names(groups), groups, strict=True)
    return [(name, configurations(group), group[0].result.emulated) for name, group in named]


def _machine(number: int, configs: list[Config], name: str, naming: Naming) -> Machine:
    timed = [config for config in configs if config.refusal is None]
    colours = dict(zip(map(id, timed), _colours(timed, naming), strict=True))
    single = [config for config in timed if config.is_single]
    compared = [config for config in single if config.scenario != SUSTAINED] or single
    figures = (
        _scatter(number, compared, [colours[id(c)] for c in compared]),
        _distributions(number, single, [colours[id(c)] for c in single]),
        under_load(number, [c for c in single if c.scenario == SUSTAINED]),
        *layer_costs(number, timed),
        steadiness(number, timed),
    )
    return Machine(
        name=name,
        is_emulated=configs[0].result.emulated,
        figures=[figure for figure in figures if figure is not None],
        table=configurations(configs),
        facts=facts(configs[0]),
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
    front = set(pareto_front([(p.p50_s, -p.top1) for p in points]))
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
        if config.artifact is None:
            return None
        value = shown(config.artifact.int8_proof.get("top1"), percent, f"{config.artifact.proof_label}#/int8/top1")
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
            *(percentile_cell(config, percent) for percent in ENOUGH),
            shown(max(times), duration, f"{origin} | max"),
        ),
        colour=colour,
    )
