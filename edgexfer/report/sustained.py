"""Latency under lasting load, beside the temperature and the clock that explain it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edgexfer.report.course import Line, Panel, draw_course
from edgexfer.report.measured import SUSTAINED, Config, mapping, objects
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import MISSING, Value, celsius, clock, duration, is_number, shown, times
from edgexfer.results.statistics import percentile

MOST_WINDOWS = 40
MOST_CONFIGS = 6
HEADS = ("configuration", "after", "p50", "p90", "temperature", "clock", "throttled")
_CAPTION = (
    "Each point is the median of the inferences since the point before, the band above it reaches to their p90, and the"
    " temperature and the clock are those at its end."
)


@dataclass(frozen=True)
class Window:
    """The inferences between two looks at the sensors.

    Attributes:
        config: What was measured.
        first: The first inference.
        last: The one behind the last.
        state: What the sensors told at the end.
        moment: Where that stands: ``observed/during/7``.
    """

    config: Config
    first: int
    last: int
    state: Mapping[str, Any]
    moment: str

    @property
    def latency_s(self) -> Sequence[float]:
        """Its inferences."""
        return self.config.latency_s[self.first : self.last]

    @property
    def after(self) -> Value:
        """Seconds from the start of the load to the end of the window."""
        begun = mapping(mapping(self.config.value, "observed"), "before").get("time_s")
        now = self.state.get("time_s")
        gap = now - begun if is_number(now) and is_number(begun) else None
        origin = f"{self.config.origin(f'{self.moment}/time_s')} − {self.config.origin('observed/before/time_s')}"
        return shown(gap, duration, origin)

    def percentile(self, percent: int) -> Value:
        """A percentile of its inferences."""
        origin = self.config.origin(f"latency_s | p{percent} {self.first} {self.last}")
        return shown(percentile(self.latency_s, percent), duration, origin)

    @property
    def temperature(self) -> Value:
        """Of the processor."""
        return self._sensed("temperature_c", celsius)

    @property
    def clock(self) -> Value:
        """The real clock, else the one that was asked for."""
        real = self._sensed("clock_hz", clock)
        return real if real.exact is not None else self._sensed("requested_hz", clock)

    @property
    def throttled(self) -> str:
        """What held the processor back just then, in words."""
        live = mapping(self.state, "throttled").get("live")
        return ", ".join(map(str, live)) if isinstance(live, list) else ""

    def _sensed(self, key: str, write: Callable[[float], str]) -> Value:
        return shown(self.state.get(key), write, self.config.origin(f"{self.moment}/{key}"))


def name_of(config: Config) -> str:
    """Its title without the word that all of the figure share."""
    return config.title.replace(f" · {SUSTAINED}", "")


def under_load(number: int, configs: Sequence[Config]) -> Figure | None:
    """The figure of a machine's sustained measurements; ``None`` where there is none that was looked at in between."""
    courses = [(config, found) for config in configs if len(found := windows(config)) > 1][:MOST_CONFIGS]
    if not courses:
        return None
    panels = list(_panels([found for _, found in courses]))
    description = "Latency under lasting load: " + "; ".join(
        f"{name_of(config)} from {found[0].percentile(50)} to {found[-1].percentile(50)}" for config, found in courses
    )
    return Figure(
        title="Under lasting load",
        caption=Markup(" ").join([_CAPTION, *(_change(config, found) for config, found in courses), *_unseen(panels)]),
        wide=draw_course(f"load-{number}-wide", panels, wide=True, description=description),
        narrow=draw_course(f"load-{number}-narrow", panels, wide=False, description=description),
        table=Table("Under lasting load", HEADS, [_row(w) for _, found in courses for w in found], frozenset({6})),
        keys=[Key(name_of(config), i) for i, (config, _) in enumerate(courses)],
    )


def windows(config: Config) -> list[Window]:
    """The measurement cut where the sensors were read, in at most ``MOST_WINDOWS`` pieces."""
    states = objects(mapping(config.value, "observed"), "during")
    step = -(-len(states) // MOST_WINDOWS) or 1
    found, first = [], 0
    for place in [*range(step - 1, len(states), step), *([len(states) - 1] if len(states) % step else [])]:
        last = states[place].get("runs")
        if isinstance(last, int) and first < last <= len(config.latency_s):
            found.append(Window(config, first, last, states[place], f"observed/during/{place}"))
            first = last
    return [window for window in found if window.after.exact is not None]


def _panels(courses: Sequence[Sequence[Window]]) -> Iterator[Panel]:
    latency = []
    for colour, course in enumerate(courses):
        medians = [_number(w.percentile(50)) * 1e3 for w in course]
        tops = [_number(w.percentile(90)) * 1e3 for w in course]
        latency.append(Line(_times(course), medians, tops, [_tip(w) for w in course], colour))
    yield Panel("latency of one picture, ms", latency)
    kinds: tuple[tuple[str, Callable[[Window], Value], float], ...] = (
        ("temperature, °C", lambda w: w.temperature, 1.0),
        ("clock, MHz", lambda w: w.clock, 1e-6),
    )
    for title, of, scale in kinds:
        lines = []
        for colour, course in enumerate(courses):
            told = [w for w in course if of(w).exact is not None]
            values = [_number(of(w)) * scale for w in told]
            lines.append(Line(_times(told), values, (), [_tip(w) for w in told], colour))
        if any(line.values for line in lines):
            yield Panel(title, [line for line in lines if line.values])


def _times(course: Sequence[Window]) -> list[float]:
    return [_number(w.after) for w in course]


def _number(value: Value) -> float:
    return float("nan") if value.exact is None else float(value.exact)


def _tip(window: Window) -> str:
    told = [str(v) for v in (window.temperature, window.clock) if v.exact is not None]
    told += [window.throttled] if window.throttled else []
    words = ", ".join([f"median {window.percentile(50)}", *told])
    return f"{name_of(window.config)} after {window.after}: {words}"


def _change(config: Config, course: Sequence[Window]) -> Markup:
    """How far the end of the load is from its beginning."""
    first, last = course[0].percentile(50), course[-1].percentile(50)
    if not first.exact or last.exact is None:
        return Markup("")
    ratio = shown(last.exact / first.exact, times, f"{last.origin} ÷ {first.origin}")
    return Markup("{}: {} at first, {} at the end ({}).").format(name_of(config), first, last, ratio)


def _unseen(panels: Sequence[Panel]) -> Iterator[str]:
    titles = " ".join(panel.title for panel in panels)
    missing = [word for word in ("temperature", "clock") if word not in titles]
    if missing:
        yield f"This machine told no {' and no '.join(missing)} meanwhile."


def _row(window: Window) -> Row:
    config = window.config
    cells = (window.after, window.percentile(50), window.percentile(90), window.temperature, window.clock)
    return Row(name_of(config), (*cells, window.throttled or MISSING))
