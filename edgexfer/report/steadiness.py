"""Whether the figures of a measurement can be relied on: its rounds, its verdict, and what moved meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edgexfer.report.configurations import steady_word
from edgexfer.report.measured import Config, mapping, objects
from edgexfer.report.strips import Strip, draw_strips
from edgexfer.report.tables import Figure, Row, Table
from edgexfer.report.values import MISSING, Value, duration, is_number, percent, plain, shown, times
from edgexfer.results.statistics import percentile

MOST_ROWS = 16
AGREE = 0.05
"""Medians of rounds that differ by more are not one figure; the device's own limit."""
THIRDS = 30
"""Inferences from which one round is looked at in thirds; the device's own limit."""
HEADS = ("configuration", "steady", "rounds", "lowest", "highest", "apart", "median of all", "known to ±")


@dataclass(frozen=True)
class Rounds:
    """The medians that a configuration was measured to have.

    Attributes:
        config: The configuration.
        medians: Of each round; of each third, where there was one round.
        are_rounds: Whether they are of rounds.
    """

    config: Config
    medians: Sequence[Value]
    are_rounds: bool

    @property
    def lowest(self) -> Value:
        """The smallest of the medians."""
        return min(self.medians, key=_exact)

    @property
    def highest(self) -> Value:
        """The largest of the medians."""
        return max(self.medians, key=_exact)

    @property
    def is_steady(self) -> bool:
        """The verdict of the measurement itself."""
        return mapping(self.config.value, "stability").get("stable") is not False


def steadiness(number: int, configs: Sequence[Config]) -> Figure | None:
    """The figure of a machine's rounds and verdicts; ``None`` where no result carries any."""
    judged = [rounds for config in configs if (rounds := rounds_of(config)) is not None]
    drawn = sorted(judged, key=lambda rounds: rounds.is_steady)[:MOST_ROWS]
    if not drawn:
        return None
    strips = [_strip(rounds) for rounds in drawn]
    shaky = [rounds for rounds in judged if not rounds.is_steady]
    count = f"{len(shaky)} of {len(judged)} configurations wavered" if shaky else "every configuration held still"
    description = f"Medians of the rounds around the median of all: {count}"
    left_out = f" {MOST_ROWS} of {len(judged)} are drawn, what wavered first." if len(judged) > MOST_ROWS else ""
    return Figure(
        title="How far the figures can be relied on",
        caption=Markup("{}{} {}").format(_caption(count), left_out, _remarks(judged)),
        wide=draw_strips(f"rounds-{number}-wide", strips, limit=AGREE, wide=True, description=description),
        narrow=draw_strips(f"rounds-{number}-narrow", strips, limit=AGREE, wide=False, description=description),
        table=Table("Rounds and verdicts", HEADS, [_row(rounds) for rounds in judged], frozenset({1})),
    )


def _caption(count: str) -> str:
    return (
        "Each dot is the median of a round of fresh processes, taken by turns with the other configurations (of a third"
        " of the inferences, where there was one round); the bar is the 95% interval of the median, the shaded middle"
        f" where rounds agree. Here {count}."
    )


def rounds_of(config: Config) -> Rounds | None:
    """The medians of a configuration's rounds, else of its thirds; ``None`` where no verdict was reached."""
    if not mapping(config.value, "stability"):
        return None
    told = objects(config.value, "rounds")
    medians = [shown(r.get("p50_s"), duration, config.origin(f"rounds/{i}/p50_s")) for i, r in enumerate(told)]
    medians = [median for median in medians if median.exact]
    if len(medians) > 1:
        return Rounds(config, medians, are_rounds=True)
    if len(config.latency_s) < THIRDS or not percentile(config.latency_s, 50):
        return None
    count = len(config.latency_s)
    cuts = [(0, count // 3), (count // 3, count - count // 3), (count - count // 3, count)]
    thirds = [
        shown(percentile(config.latency_s[a:b], 50), duration, config.origin(f"latency_s | p50 {a} {b}"))
        for a, b in cuts
    ]
    return Rounds(config, thirds, are_rounds=False)


def _strip(rounds: Rounds) -> Strip:
    whole = percentile(rounds.config.latency_s, 50) or 1.0
    apart = [_exact(median) / whole - 1 for median in rounds.medians]
    word = "round" if rounds.are_rounds else "third"
    tips = [
        f"{rounds.config.title}: {word} {i + 1} of {len(apart)}, median {median}, {gap:+.1%}"
        for i, (median, gap) in enumerate(zip(rounds.medians, apart, strict=True))
    ]
    width = rounds.config.value.get("median_half_width")
    return Strip(rounds.config.title, apart, tips, width if is_number(width) else None, rounds.is_steady)


def _row(rounds: Rounds) -> Row:
    config, low, high = rounds.config, rounds.lowest, rounds.highest
    symptoms = mapping(config.value, "stability").get("symptoms")
    width = config.value.get("median_half_width")
    told = objects(config.value, "rounds")
    return Row(
        name=config.title,
        note="; ".join(map(str, symptoms)) if isinstance(symptoms, list) else "",
        cells=(
            steady_word(config),
            Value(plain(len(told)), len(told), config.origin("rounds | count")) if told else MISSING,
            low,
            high,
            shown(_exact(high) / _exact(low), times, f"{high.origin} ÷ {low.origin}"),
            shown(percentile(config.latency_s, 50), duration, config.origin("latency_s | p50")),
            shown(width, percent, config.origin("median_half_width")),
        ),
    )


def _remarks(judged: Sequence[Rounds]) -> Markup:
    """What was seen to disturb, each kind once: causes where something wavered, remarks where nothing did."""
    told: dict[str, str] = {}
    for rounds in sorted(judged, key=lambda r: r.is_steady):
        for cause, remedy in _causes(mapping(rounds.config.value, "stability")):
            told.setdefault(remedy or cause, f"{cause}; {remedy}" if remedy else cause)
    if not told:
        return Markup("")
    return Markup("What moved meanwhile: {}.").format(". ".join(told.values()))


def _causes(verdict: Any) -> Iterator[tuple[str, str]]:
    for one in objects(verdict, "causes"):
        yield str(one.get("cause") or ""), str(one.get("remedy") or "")


def _exact(value: Value) -> float:
    return float(value.exact or 0.0)
