"""A study's page: plots, what was expected against what was measured, two paragraphs; one file that needs no other."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgexfer.files import write_text
from edgexfer.report.template import filled
from edgexfer.report.values import duration
from edgexfer.studies.values import APPEARED, REVERSED, StudyResult, Telling

_BADGES = {APPEARED: "good", REVERSED: "bad"}


def write_page(result: StudyResult, telling: Telling, out: Path) -> None:
    """Writes the page of a study."""
    write_text(out, render(result, telling))


def render(result: StudyResult, telling: Telling) -> str:
    """The page; everything that is not markup of ours is escaped."""
    return filled(
        "studies/page.html",
        result=result,
        telling=telling,
        verdict=verdict(result),
        badges=_BADGES,
        pictures=pictures(result),
        tested=any(one.data.get("test_images") for one in result.measured),
        command=shlex.join(result.command) if result.command else "",
        took=duration(result.seconds),
    )


def pictures(result: StudyResult) -> list[str]:
    """What the seeds drew from, in sentences; in one where they all had as many."""
    told = [
        ", ".join(
            f"{one.data[f'{split}_images']:,} {words}"
            for split, words in (("train", "training"), ("val", "validation"), ("test", "test"))
            if f"{split}_images" in one.data
        )
        for one in result.measured
    ]
    if len(set(told)) == 1:
        return [f"{'Each seed' if len(told) > 1 else 'It'} drew from {told[0]} pictures."]
    return [f"Seed {one.seed} drew from {text} pictures." for one, text in zip(result.measured, told, strict=True)]


def verdict(result: StudyResult) -> str:
    """How many of the expected effects appeared, in one sentence."""
    found = sum(claim.verdict == APPEARED for claim in result.claims)
    turned = sum(claim.verdict == REVERSED for claim in result.claims)
    total = len(result.claims)
    text = f"{found} of {total} expected effects appeared" if total != 1 else "The expected effect "
    if total == 1:
        text += "appeared" if found else "did not appear"
    return text + (f", {turned} turned out the opposite." if turned else ".")
