"""Which pictures stand behind a cell of the confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgexfer.report import write_report
from edgexfer.report.answers import Answer
from edgexfer.report.cells import MOST_A_CELL, behind_cells


def answer(index: int, label: int, said: int, confidence: float) -> Answer:
    return Answer(index, f"{index:03d}.jpg", label, said, confidence, 1 - confidence)


MANY = [answer(i, i % 3, (i * 7) % 3, 0.3 + (i % 50) / 100) for i in range(300)]


def test_every_cell_gets_a_picture_before_any_gets_a_second_one() -> None:
    cells = {(a.label, a.answer) for a in MANY}
    chosen = behind_cells(MANY, most=len(cells) + 1)
    assert set(chosen) == cells
    assert sorted(len(some) for some in chosen.values()) == [1] * (len(cells) - 1) + [2]


def test_mistakes_come_most_confident_first_and_right_answers_least() -> None:
    found = [answer(0, 0, 1, 0.5), answer(1, 0, 1, 0.9), answer(2, 0, 0, 0.8), answer(3, 0, 0, 0.4)]
    chosen = behind_cells(found)
    assert [a.index for a in chosen[0, 1]] == [1, 0]
    assert [a.index for a in chosen[0, 0]] == [3, 2]


def test_a_cell_and_a_page_have_their_limits() -> None:
    assert max(len(some) for some in behind_cells(MANY).values()) == MOST_A_CELL
    assert sum(len(some) for some in behind_cells(MANY, most=4).values()) == 4
    assert behind_cells([]) == {}


def test_every_count_with_pictures_leads_to_them(make: Any, tmp_path: Path) -> None:
    names = make.photos(tmp_path / "photos", ("cat", "dog"), 30)
    recipe = {"data": "photos", "data_path": str(tmp_path / "photos")}
    run = make.run(tmp_path / "run", classes=("cat", "dog"), files=names, images=30, accuracy=0.7, recipe=recipe)
    text = write_report([run], tmp_path / "r.html").out.read_text()
    for cell in ("0-0", "0-1", "1-0", "1-1"):
        assert f'href="#cell-0-{cell}"' in text and f'id="cell-0-{cell}"' in text
    assert "“cat” called “dog”" in text
