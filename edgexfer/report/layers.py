"""What each layer costs on the device, by ONNX Runtime's own profiler; float32 and int8 side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgexfer.report.bars import Bars, draw_bars
from edgexfer.report.measured import Config, objects
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import MISSING, Value, duration, is_number, milliseconds, percent, shown

MOST_FIGURES = 4
MOST_SERIES = 3
MOST_BARS = 14
MOST_ROWS = 80


@dataclass(frozen=True)
class Cost:
    """One layer in one configuration.

    Attributes:
        layer: Its name; that of the operator, where it belongs to no layer.
        ops: The operators that it runs as.
        mean_s: Their time.
        share: Of the time of all operators, 0 to 1.
        origin: Where the operators stand.
    """

    layer: str
    ops: str
    mean_s: float
    share: float
    origin: str

    def value(self) -> Value:
        """The time, for the table."""
        return shown(self.mean_s, milliseconds, f"{self.origin} | mean_s of {self.layer}")

    def share_value(self) -> Value:
        """The share, for the table."""
        return shown(self.share, percent, f"{self.origin} | share of {self.layer}")


def layer_costs(number: int, configs: Sequence[Config]) -> Iterator[Figure]:
    """A figure for each network that was profiled on a machine."""
    groups: dict[str, list[tuple[Config, dict[str, Cost]]]] = {}
    for config in configs:
        found = costs(config)
        if found:
            groups.setdefault(config.run.label if config.run else config.name, []).append((config, found))
    for place, group in enumerate(list(groups.values())[:MOST_FIGURES]):
        yield _figure(f"layers-{number}-{place}", sorted(group, key=lambda g: -_total(g[1]))[:MOST_SERIES])


def costs(config: Config) -> dict[str, Cost]:
    """The layers of a profiled configuration, the slowest first; operators of one layer are added."""
    merged: dict[str, list[Mapping[str, Any]]] = {}
    for one in objects(config.value, "profile"):
        if is_number(one.get("mean_s")) and is_number(one.get("share")):
            merged.setdefault(str(one.get("layer") or one.get("name")), []).append(one)
    found = {
        layer: Cost(
            layer,
            " + ".join(dict.fromkeys(str(p.get("op")) for p in parts)),
            sum(p["mean_s"] for p in parts),
            sum(p["share"] for p in parts),
            config.origin("profile"),
        )
        for layer, parts in merged.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].mean_s))


def _figure(name: str, group: Sequence[tuple[Config, dict[str, Cost]]]) -> Figure:
    layers = sorted({layer for _, found in group for layer in found}, key=lambda layer: -_most(layer, group))
    rows = [_bars(layer, group) for layer in layers[:MOST_BARS]]
    titles = [config.title for config, _ in group]
    first, found = group[0]
    slowest = next(iter(found.values()))
    description = f"Time of each layer in {', '.join(titles)}; the slowest of {first.title} is {slowest.layer}"
    rest = f" The {len(layers) - MOST_BARS} quickest are in the table." if len(layers) > MOST_BARS else ""
    drawings = [
        draw_bars(
            f"{name}-{'wide' if wide else 'narrow'}", rows, list(range(len(group))), axis="mean time, ms",
            write=lambda v: f"{v:.3g}", width=780 if wide else 320, description=description,
        )
        for wide in (True, False)
    ]  # fmt: skip
    return Figure(
        title="What each layer costs",
        caption=(
            "Mean time of the operators of each layer, by the runtime's own profiler, which itself takes a little time;"
            f" what the runtime made of a layer stands in the table.{rest}"
        ),
        wide=drawings[0],
        narrow=drawings[1],
        table=_table(layers[:MOST_ROWS], group),
        keys=[Key(title, i) for i, title in enumerate(titles)],
    )


def _bars(layer: str, group: Sequence[tuple[Config, dict[str, Cost]]]) -> Bars:
    values, tips = [], []
    for config, found in group:
        cost = found.get(layer)
        values.append(cost.mean_s * 1e3 if cost else float("nan"))
        tips.append(
            f"{layer} ({cost.ops}) in {config.title}: {duration(cost.mean_s)}, {percent(cost.share)}" if cost else ""
        )
    return Bars(layer, values, tips)


def _table(layers: Sequence[str], group: Sequence[tuple[Config, dict[str, Cost]]]) -> Table:
    heads = ["layer"]
    for config, _ in group:
        heads += [config.title, "ms", "share"]
    rows = []
    for layer in layers:
        cells: list[Any] = []
        for _, found in group:
            cost = found.get(layer)
            cells += [cost.ops, cost.value(), cost.share_value()] if cost else [MISSING] * 3
        rows.append(Row(layer, cells))
    return Table("What each layer costs", heads, rows, frozenset(range(1, 3 * len(group), 3)))


def _most(layer: str, group: Sequence[tuple[Config, dict[str, Cost]]]) -> float:
    return max(found[layer].mean_s for _, found in group if layer in found)


def _total(found: Mapping[str, Cost]) -> float:
    return sum(cost.mean_s for cost in found.values())
