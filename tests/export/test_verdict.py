"""What is said of an int8 file: its speed, its accuracy, and whether to ship it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from edgexfer.export import figures
from edgexfer.export.exporter import ExportResult
from edgexfer.export.speed import Race
from edgexfer.export.verdict import recommended, recommended_by_threads, verdict_of


def quiet(first_s: float, second_s: float, threads: int = 1) -> Race:
    """A race on a machine on which nothing varies."""
    return Race((first_s,) * 20, (second_s,) * 20, threads)


UNCLEAR = Race((1.0, 4.0) * 10, (3.0, 3.0) * 10, threads=2)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((2.0, 1.0), "int8 is 2.00x faster than float32 here"),
        ((1.0, 1.25), "int8 is 1.25x slower than float32 here .*: ship the float32 file"),
        ((1.0, 1.01), "no faster than float32 here .*: ship the float32 file, or int8 only for its smaller size"),
    ],
)
def test_speed_is_said_plainly(
    quantized: tuple[ExportResult, list[str]], times: tuple[float, float], words: str
) -> None:
    assert quantized[0].int8 is not None
    timed = replace(quantized[0].int8.made, races=(quiet(*times),))
    assert any(re.search(words, s) for s in verdict_of(timed, "x86"))


def test_lost_accuracy_and_float_islands_are_said_plainly(quantized: tuple[ExportResult, list[str]]) -> None:
    assert quantized[0].int8 is not None
    drop = figures.Drop(5.0, (2.1, 7.9))
    made = replace(quantized[0].int8.made, island_s=None)
    worse = replace(made, top1=0.90, top1_float32=0.95, drop=drop, islands={"HardSwish": 3})
    words = "\n".join(verdict_of(worse, "x86"))
    assert "int8 top-1 0.9000, float32 0.9500: 5.0 points lost (95% interval 2.1 to 7.9, paired)" in words
    assert "int8 loses 5.0 points of accuracy, 1 are allowed: that is no improvement, ship the float32 file" in words
    assert "in float32 between the int8 layers: HardSwish x3; a network with ReLU instead would be faster" in words
    timed = "\n".join(verdict_of(replace(worse, island_s={"HardSwish": 0.00125}), "x86"))
    assert "in float32 between the int8 layers: HardSwish x3 (1.25 ms); a network" in timed
    swapped = replace(worse, info=replace(worse.info, model="mobilenet-v3-small+relu"))
    for other in (swapped, replace(worse, islands={"Einsum": 2}), replace(worse, islands={"HardSigmoid": 2})):
        told = "\n".join(verdict_of(other, "x86"))
        assert "in float32 between the int8 layers: " in told and "ReLU" not in told
    assert "loses" not in "\n".join(verdict_of(replace(worse, drop=figures.Drop(1.0, (0.5, 1.5))), "x86"))


def test_a_slower_or_worse_file_is_not_recommended(quantized: tuple[ExportResult, list[str]]) -> None:
    assert quantized[0].int8 is not None
    one, four = quiet(2.0, 1.0), quiet(1.2, 1.0, threads=4)
    good = replace(quantized[0].int8.made, drop=figures.Drop(0.5, (0, 1)), races=(one, four))
    assert recommended(good) == "int8"
    assert recommended(replace(good, drop=figures.Drop(1.5, (1, 2)))) == "float32"
    assert recommended(replace(good, races=(quiet(1.0, 1.0),))) == "float32"
    assert recommended(replace(good, races=())) is None


def test_int8_that_wins_on_one_thread_only_is_not_recommended(
    quantized: tuple[ExportResult, list[str]],
) -> None:
    assert quantized[0].int8 is not None
    races = (quiet(2.0, 1.0), quiet(0.5, 0.75, threads=4))
    mixed = replace(quantized[0].int8.made, drop=None, races=races)
    assert recommended(mixed) == "float32"
    assert recommended(replace(mixed, races=races[::-1])) == "float32"
    assert recommended_by_threads(mixed) == {"1": "int8", "4": "float32"}
    words = list(verdict_of(mixed, "x86"))
    assert "int8 is 2.00x faster than float32 here (1000.00 ms against 2000.00 ms, one picture on one thread)" in words
    assert "int8 is 1.50x slower than float32 here (750.00 ms against 500.00 ms, one picture on 4 threads)" in words
    assert (
        "int8 wins on one thread only: ship it where it runs so, and the float32 file where it runs on 4 threads"
        in words
    )


def test_no_speed_recommends_a_file_that_lost_too_much(quantized: tuple[ExportResult, list[str]]) -> None:
    assert quantized[0].int8 is not None
    races = (quiet(2.0, 1.0), quiet(0.5, 0.75, threads=4))
    mixed = replace(quantized[0].int8.made, drop=figures.Drop(1.5, (1, 2)), races=races)
    words = list(verdict_of(mixed, "x86"))
    assert sum("ship the float32 file" in sentence for sentence in words) == 1
    assert not any("ship it where it runs so" in sentence for sentence in words)
    assert any("int8 is 2.00x faster" in sentence for sentence in words)


def test_a_race_that_tells_nothing_is_said_and_counts_for_neither(quantized: tuple[ExportResult, list[str]]) -> None:
    assert quantized[0].int8 is not None
    made = replace(quantized[0].int8.made, drop=None)
    won, lost, even = quiet(2.0, 1.0), quiet(1.0, 2.0), quiet(1.0, 1.0)
    for races, file in (((won, UNCLEAR), "int8"), ((lost, UNCLEAR), "float32"), ((even, UNCLEAR), "float32")):
        assert recommended(replace(made, races=races)) == file
    assert recommended(replace(made, races=(UNCLEAR,))) is None
    assert recommended_by_threads(replace(made, races=(won, UNCLEAR))) == {"1": "int8", "2": None}
    words = list(verdict_of(replace(made, races=(won, UNCLEAR)), "x86"))
    assert (
        "whether int8 is faster than float32 here cannot be told (3000.00 ms against 2500.00 ms, one picture on"
        " 2 threads; 0.33x to 1.33x as fast over 20 rounds): measure again when the machine has nothing else to do"
        in words
    )
    assert not any(" only: ship" in sentence for sentence in words)
