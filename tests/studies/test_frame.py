from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from edgexfer.cli.main import cli
from edgexfer.errors import FormatError, RecipeError, UnknownNameError, WouldOverwriteError
from edgexfer.registry import Registry
from edgexfer.report.bars import Bars
from edgexfer.report.tables import Figure
from edgexfer.studies import running
from edgexfer.studies.catalogue import Entry, studies
from edgexfer.studies.drawing import Band, Panel, draw_panels, draw_shares, mean_table
from edgexfer.studies.page import render, verdict
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.values import (
    ABSENT,
    APPEARED,
    REVERSED,
    Claim,
    Lab,
    Measured,
    Study,
    StudyResult,
    Telling,
    read_study,
)
from edgexfer.studies.words import joined, listed, percent_of
from edgexfer.workflows.data import DataChoice
from tests.heard import Heard

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "$\\frac{a}{b}$ & 'x'")
DIGITS = DataChoice("digits")


def claim(*values: float, unit: str = "points", threshold: float = 0.01, neutral: float = 0.0) -> Claim:
    return Claim("It grows.", "How much", values, unit, threshold, neutral)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (claim(0.02, 0.01), APPEARED),
        (claim(0.04, -0.001), ABSENT),  # one seed on the other side
        (claim(0.004, 0.003), ABSENT),  # too little
        (claim(-0.02, -0.01), REVERSED),
        (claim(-0.004, -0.003), ABSENT),
        (claim(1.6, 2.0, unit="times", threshold=1.5, neutral=1.0), APPEARED),
        (claim(0.5, 0.6, unit="times", threshold=1.5, neutral=1.0), REVERSED),
        (claim(0.8, 0.9, unit="times", threshold=1.5, neutral=1.0), ABSENT),
        (replace(claim(0.0, 0.009), at_most=True), APPEARED),
        (replace(claim(0.0, 0.011), at_most=True), ABSENT),
    ],
)
def test_an_effect_appears_only_where_the_mean_is_large_enough_and_every_seed_agrees(
    found: Claim, expected: str
) -> None:
    assert found.verdict == expected


def test_values_are_written_in_their_unit() -> None:
    assert claim(0.02, -0.01).measured == "+0.5 points (spread 2.1)"
    assert claim(-0.02).measured == "\N{MINUS SIGN}2.0 points"
    assert claim(3.0, unit="times").write(3.21) == "3.2 times"
    assert claim(0.3, unit="share").write(0.305) == "30.5%"
    assert claim(0.3, unit="number").write(0) == "0"
    assert percent_of([0.5]) == "50.0%"
    assert percent_of([0.5, 0.52]) == "51.0% (spread 1.4)"
    assert joined([1_200, None, 3]) == "1,200, never and 3"
    assert listed(["a", "b", "c"]) == "a, b and c"


@dataclass(frozen=True)
class Own(Entry):
    """An entry whose study was made here."""

    study: Study | None = None

    def load(self) -> Study:
        assert self.study is not None
        return self.study


def own_study(monkeypatch: pytest.MonkeyPatch, measure: Callable[[Lab], dict[str, Any]]) -> None:
    registry: Registry[Entry] = Registry("study")
    study = Study(
        measure,
        lambda all_numbers: [claim(*(numbers["gain"] for numbers in all_numbers))],
        lambda _: Telling([], "seen", "written", "other"),
    )
    registry.add("own", Own("own", "A study", 1, "none", study=study))
    monkeypatch.setattr(running, "studies", lambda: registry)


def test_an_interrupted_study_keeps_its_finished_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measure(lab: Lab) -> dict[str, Any]:
        asked.append(lab.seed)
        (lab.work / "run").mkdir(exist_ok=True)
        if lab.seed == 1 and asked.count(1) == 1:
            raise KeyboardInterrupt
        return {"gain": 0.1 * (lab.seed + 1)}

    own_study(monkeypatch, measure)
    out, heard = tmp_path / "out", Heard()
    with pytest.raises(KeyboardInterrupt):
        run_study("own", DIGITS, StudyTarget(out), heard, seeds=(0, 1))
    assert (out / "work" / "1" / "run").is_dir()
    result = run_study("own", DIGITS, StudyTarget(out, argv=("edgexfer", "study")), heard, seeds=(0, 1))
    assert asked == [0, 1, 1]
    assert "seed 0: measured already, in 0 s" in heard.lines
    assert not (out / "work").exists()
    assert result.claims[0].values == pytest.approx((0.1, 0.2), abs=1e-12)
    assert read_study(out / "study.json") == result
    assert "A study" in (out / "study.html").read_text()
    splits = [one.data["fingerprint"] for one in result.measured]
    assert splits[0] != splits[1]  # each seed draws its own split


def test_a_study_does_not_mix_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_study(monkeypatch, lambda lab: {"gain": float(lab.fast)})
    run_study("own", DIGITS, StudyTarget(tmp_path), Heard(), seeds=(0,))
    with pytest.raises(WouldOverwriteError, match="holds seed 0 of another study.*pass --force"):
        run_study("own", DIGITS, StudyTarget(tmp_path), Heard(), seeds=(0,), fast=True)
    forced = run_study("own", DIGITS, StudyTarget(tmp_path, force=True), Heard(), seeds=(0,), fast=True)
    assert forced.numbers == [{"gain": 1.0}]
    with pytest.raises(RecipeError, match=r"seeds are \[0, 0\]; at least one is needed, and each once"):
        run_study("own", DIGITS, StudyTarget(tmp_path), Heard(), seeds=(0, 0))


def result_of(*claims: Claim, fast: bool = False) -> StudyResult:
    data = {"train_images": 3, "val_images": 2, "test_images": 2, "fingerprint": "x"}
    machine = {"cpu": "A", "architecture": "x86_64", "torch": "2", "torch_threads": 1}
    measured = (Measured(0, {}, 1.0, data),)
    command = ("edgexfer", "study", HOSTILE[1])
    return StudyResult(
        "own", "T", HOSTILE[0], HOSTILE, measured, claims, fast, command, "2026-01-01T00:00:00Z", machine
    )


def test_the_page_is_whole_and_escapes_hostile_names() -> None:
    bands = [Band(HOSTILE[0], [1, 2, 3], [[0.5, None, 0.7], [0.4, 0.5]], 0, dotted=True)]
    drawn = draw_panels("f", [Panel(HOSTILE[2], bands, fraction=True)], x=HOSTILE[1], description=HOSTILE[0])
    table = mean_table(HOSTILE[0], "x", bands)
    figure = Figure(HOSTILE[0], HOSTILE[1], *drawn, table)
    page = render(result_of(claim(0.1), fast=True), Telling([figure], HOSTILE[0], HOSTILE[1], HOSTILE[2]))
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    assert "This is the short form" in page


def test_a_point_says_the_word_of_its_tick() -> None:
    bands = [Band("softly taught", [0, 1, 2], [[0.5, 0.8, 0.7]], 0)]
    panels, ticks = [Panel("accuracy", bands, fraction=True)], [(0, "1"), (1, "10")]
    for drawn in draw_panels("t", panels, x="temperature T", description="d", ticks=ticks):
        assert "softly taught: 80.0% at 10 (temperature T)" in drawn
        assert "softly taught: 70.0% at 2 (temperature T)" in drawn  # where no word stands at the axis


def words_of(drawn: str) -> list[str]:
    """The texts of a drawing, ticks among them."""
    return [str(text.text) for text in ElementTree.fromstring(drawn.replace("xlink:href", "href")).iter("text")]


def test_no_band_is_drawn_where_every_seed_had_broken_off() -> None:
    band = Band("a", [1, 2, 3], [[0.8, 0.9], [0.9]], 0)
    for drawn in draw_panels("b", [Panel("accuracy", [band])], x="steps", description="d"):
        assert "0.0" not in words_of(drawn) and "0.80" in words_of(drawn)


def test_a_seed_that_was_looked_at_more_often_is_cut_to_the_others() -> None:
    assert Band("a", [1, 2], [[0.5, 0.7], [0.7, 0.9, 0.4]], 0).means() == pytest.approx([0.6, 0.8], abs=1e-12)


def test_no_tick_of_a_share_lies_beyond_all() -> None:
    rows = [Bars("a", [99.0, 3.0], ["", ""])]
    for drawn in draw_shares("s", rows, description="shares"):
        words = words_of(drawn)
        ticks = [float(word) for word in words if word.isdecimal()]
        assert max(ticks) == 100.0 and len(ticks) >= 5
        assert "99.0" in words


def test_the_verdict_says_what_did_not_appear() -> None:
    assert verdict(result_of(claim(0.1), claim(-0.1), claim(0.0))) == (
        "1 of 3 expected effects appeared, 1 turned out the opposite."
    )
    assert verdict(result_of(claim(0.1))) == "The expected effect appeared."
    assert verdict(result_of(claim(0.0))) == "The expected effect did not appear."
    page = render(result_of(claim(0.0)), Telling([], "", "", ""))
    assert '<span class="badge unsure">did not appear</span>' in page


def test_the_page_says_where_test_is_validation() -> None:
    result, note = result_of(claim(0.1)), "This data has no test pictures"
    assert note not in render(result, Telling([], "", "", ""))
    (seed,) = result.measured
    data = {name: value for name, value in seed.data.items() if name != "test_images"}
    untested = replace(result, measured=(replace(seed, data=data),))
    assert note in render(untested, Telling([], "", "", ""))


def test_a_damaged_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text('{"format": 1, "study": "own"}')
    with pytest.raises(FormatError, match="is incomplete: 'title' is missing"):
        read_study(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="edgexfer")


def test_the_list_names_every_study_with_its_time() -> None:
    listed = json.loads(run("study", "--list", "--json").stdout)
    assert [entry["name"] for entry in listed] == list(studies())
    assert all(entry["expected_s"] > 0 for entry in listed)
    assert "2 min  What batch norm does for a dense network of sigmoids" in run("study", "--list").stdout


def test_every_study_of_the_list_is_there() -> None:
    for name in studies():
        assert isinstance(studies()[name].load(), Study)


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    without = run("study")
    assert without.exit_code == 2 and "name a study; edgexfer study --list shows them" in without.stderr
    unknown = run("study", "bn-dence")
    assert unknown.exit_code == 1 and "no study is called 'bn-dence'; did you mean 'bn-dense'" in unknown.stderr
    (tmp_path / "file").touch()
    on_file = run("study", "bn-dense", "--out", str(tmp_path / "file"))
    assert on_file.exit_code == 1 and "is a file; a study makes a folder" in on_file.stderr
    with pytest.raises(UnknownNameError):
        studies()["none"]
