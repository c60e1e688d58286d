"""Drawings inside the page: themed, with unique names, and with text that is only text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from math import nan
from pathlib import Path

import numpy as np
import pytest

from edgexfer.report import svg
from edgexfer.report.bars import Bars, draw_bars
from edgexfer.report.course import Line, Panel, draw_course
from edgexfer.report.curves import Curve, draw_curves
from edgexfer.report.distributions import Row, draw_distributions
from edgexfer.report.front import write_front
from edgexfer.report.heatmap import draw_heatmap
from edgexfer.report.scatter import Point, draw_scatter
from edgexfer.report.strips import Strip, draw_strips

HOSTILE = "<script>$\\frac{1}{2}$ & \"'> 日本語 😀"


def drawings(name: str) -> list[str]:
    curve = Curve(name, [1, 2, 3], [0.2, 0.5, 0.9], 0, 3)
    points = [Point(name, 0.002, 0.97, 0), Point(name + " b", 0.004, 0.98, 1, is_int8=True)]
    rows = [Row(name, [0.001 * (1 + i % 7) for i in range(100)], 0), Row("constant", [0.002] * 5, 1)]
    panels = [Panel("ms", [Line([1, 2], [0.3, 0.4], [0.5, nan], [name, name], 0)]), Panel("°C", [])]
    strips = [Strip(name, [-0.01, 0.02], [name, name], 0.03, True), Strip("b", [0.0], [name], None, False)]
    bars = [Bars(name, [1.0, nan], [name, ""]), Bars("negative", [-0.2, 0.1], [name, name])]
    return [
        draw_curves("a", [curve], fraction=True, description=name),
        draw_curves("b", [Curve(name, [1], [0.5], 1)], fraction=False, description=name),
        draw_scatter("c", points, wide=True, description=name),
        draw_scatter("d", points[:1], wide=False, description=name),
        draw_distributions("e", rows, wide=True, description=name),
        draw_heatmap("f", np.eye(30, dtype=np.int64), name),
        draw_course("g", panels, wide=True, description=name),
        draw_strips("h", strips, limit=0.05, wide=False, description=name),
        draw_bars("i", bars, [0, 1], axis="ms", write=str, width=780, description=name),
    ]


@pytest.fixture(scope="module")
def drawn() -> list[str]:
    return drawings(HOSTILE)


def test_each_is_well_formed_and_says_what_it_shows(drawn: list[str]) -> None:
    for text in drawn:
        root = ElementTree.fromstring(text.replace("xlink:href", "href"))
        assert root.get("role") == "img"
        assert root.get("aria-label") == HOSTILE
        assert not list(root.iter("script"))


def test_text_stays_text_and_is_never_mathematics(drawn: list[str]) -> None:
    root = ElementTree.fromstring(drawn[2].replace("xlink:href", "href"))
    words = [element.text for element in root.iter("text")]
    assert HOSTILE in words


def test_ids_carry_the_figures_name(drawn: list[str]) -> None:
    for letter, text in zip("abcdefghi", drawn, strict=True):
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert ids and all(i.startswith(f"{letter}-") for i in ids)
        assert len(ids) == len(set(ids))
        for target in re.findall(r'(?:href="#|url\(#)([^")]+)', text):
            assert target in ids


def test_colours_are_the_pages_own(drawn: list[str]) -> None:
    for text in drawn:
        assert "var(--" in text
        for colour in (svg.INK, svg.MUTED, svg.GRID, svg.SURFACE, svg.ACCENT, *svg.SERIES):
            assert colour not in re.sub(r"<text.*?</text>", "", text)


def test_what_is_left_out_to_save_room_is_never_text() -> None:
    words = 'font-family: Ünï; 1.23456 transform="rotate(-0 1 2)" x="3.14159"'
    bars = [Bars(words, [1.23456], ["0.98765"])]
    text = draw_bars("i", bars, [0], axis=words, write=lambda v: f"{v:.5f}", width=780, description="4.56789")
    root = ElementTree.fromstring(text.replace("xlink:href", "href"))
    said = {element.text for element in root.iter("text")}
    assert {words, "1.23456"} <= said
    assert root.get("aria-label") == "4.56789" and "0.98765" in text
    assert "DejaVu" not in text and "opacity: 0" not in text


def test_nothing_is_loaded_and_no_date_is_kept(drawn: list[str]) -> None:
    for text in drawn:
        assert "<metadata" not in text
        assert not re.search(r'href="(?!#|data:image/png)', text)


def test_points_say_their_values_on_hover(drawn: list[str]) -> None:
    root = ElementTree.fromstring(drawn[2].replace("xlink:href", "href"))
    tips = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert tips == [f"{HOSTILE}: 2.00 ms, 97.0%", f"{HOSTILE} b: 4.00 ms, 98.0%"]


def test_a_colour_in_a_name_is_left_alone() -> None:
    text = draw_scatter("g", [Point(svg.INK, 0.001, 0.5, 0)], wide=True, description="d")
    assert f">{svg.INK}</text>" in text


def test_ten_thousand_times_are_one_shape() -> None:
    times = np.random.default_rng(0).gamma(4, 0.001, 10_000).tolist()
    text = draw_distributions("h", [Row("many", times, 0)], wide=True, description="d")
    assert len(text) < 20_000


@pytest.mark.parametrize(
    ("low", "high"), [(0.001, 0.0011), (0.00057, 0.00083), (0.002, 0.03), (1e-6, 10.0), (0.0099, 0.0101), (0.1, 0.1001)]
)
def test_time_axes_have_a_few_round_ticks(low: float, high: float) -> None:
    ticks = svg.log_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert all(low <= tick <= high * (1 + 1e-12) for tick in ticks)


def test_ticks_of_percent_are_written_as_finely_as_they_stand() -> None:
    points = [Point("a", 0.001, 0.9765, 0), Point("b", 0.002, 0.9727, 0)]
    text = draw_scatter("i", points, wide=True, description="d")
    written = [float(t) for t in re.findall(r">([\d.]+)%</text>", text)]
    steps = np.diff(written)
    assert len(written) > 2
    assert steps == pytest.approx([steps[0]] * len(steps), abs=1e-9)


def test_long_names_are_shortened_in_the_middle_and_layouts_hold() -> None:
    assert svg.shortened("student \n int8", 40) == "student int8"
    assert svg.shortened("a" * 30 + "b" * 30, 11) == "aaaaa…bbbbb"
    assert all(len(text) > 1000 for text in drawings("very long " * 60))


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (0.99, 1.0), (0.0, 0.0), (0.2, 1.0)])
def test_accuracy_is_never_marked_beyond_0_and_100_percent(low: float, high: float) -> None:
    points = [Point("a", 0.002, low, 0), Point("b", 0.004, high, 1)]
    drawn = str(draw_scatter("s", points, wide=True, description="accuracy against latency"))
    marked = [float(text) for text in re.findall(r">(−?-?[\d.]+)%<", drawn)]
    assert marked and all(0 <= value <= 100 for value in marked)


@pytest.mark.parametrize("times", [(0.0,), (0.0, 0.0), (0.0, 0.004), (5e-324, 0.004), (0.004, 9e8)])
def test_times_that_no_clock_gives_have_a_place_too(times: tuple[float, ...], tmp_path: Path) -> None:
    points = [Point(f"m{number}", time, 0.5 + number / 10, number) for number, time in enumerate(times)]
    text = draw_scatter("z", points, wide=True, description="accuracy against latency")
    assert all(f">m{number}</text>" in text for number in range(len(times)))
    assert text.count("<title>m0: ") == 1
    write_front(tmp_path / "f.svg", points, title="t", statistic="median", budget_s=0.001, chosen=0)
    assert ">m0<" in (tmp_path / "f.svg").read_text()
