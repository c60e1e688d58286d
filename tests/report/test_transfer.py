"""The square of size against similarity: a dot for each run that asked, and every number from its file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgexfer.report import write_report
from tests.report.makers import make_run

ADVICE: dict[str, Any] = {
    "strategy": "full", "runner_up": "head", "images": 700, "images_per_class": 70.0, "alike": 0.53, "chance": 0.1,
    "many_from": 150, "alike_from": 0.5, "probe_top1": 0.58, "knn_top1": 0.474, "logme": -0.078, "h_score": 4.59,
}  # fmt: skip


def page_of(tmp_path: Path, *recipes: dict[str, Any]) -> str:
    for number, recipe in enumerate(recipes):
        make_run(tmp_path / "runs" / f"run{number}", seed=number, recipe=recipe)
    out = tmp_path / "report.html"
    write_report([tmp_path / "runs"], out)
    return out.read_text(encoding="utf-8")


def test_an_advised_run_stands_in_the_square(tmp_path: Path) -> None:
    page = page_of(
        tmp_path, {"command": "finetune", "advice": ADVICE, "strategy": {"name": "full"}}, {"command": "finetune"}
    )
    section = page[page.index('<section id="transfer">') : page.index('<section id="training">')]
    assert section.count('role="img"') == 2  # for a wide and a narrow page
    assert "700 pictures, 53% alike; full" in section
    found = dict(re.findall(r'<data value="([^"]+)" data-from="[^"]*run0/run.json#/recipe/advice/(\w+)"', section))
    assert found == {"700": "images", "70.0": "images_per_class", "0.1": "chance", "0.58": "probe_top1",
                     "0.474": "knn_top1", "-0.078": "logme", "4.59": "h_score"}  # fmt: skip
    assert "fine-tune the whole network" in section


def test_no_square_without_advice_or_from_a_damaged_one(tmp_path: Path) -> None:
    damaged = {**ADVICE, "images": "many"}
    page = page_of(tmp_path, {"command": "finetune"}, {"command": "finetune", "advice": damaged})
    assert 'id="transfer"' not in page
