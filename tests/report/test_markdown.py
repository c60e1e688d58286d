"""The report as Markdown: the same numbers as the page, and names that stay text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from edgexfer.errors import FormatError
from edgexfer.report import write_report
from edgexfer.report.markdown import plain
from edgexfer.report.values import amount, milliseconds, percent

HOSTILE = ("<script>alert(1)</script>", "a|b `c` *d* [e](http://f)", "$x$ ~~y~~ & <b>z</b>", "Ünï 日本\n# heading")


@pytest.fixture(scope="module")
def text(world: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("markdown") / "report.md"
    write_report([world.root], out)
    return out.read_text(encoding="utf-8")


def tables(text: str) -> list[list[list[str]]]:
    """The tables as GitHub would read them."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level > 3:
            found[-1][-1].append("".join(child.content for child in token.children or []))
    return found


def test_it_has_the_summary_and_the_sections(text: str) -> None:
    assert text.startswith("# tiny-darknet, taught by resnet18\n\n**tiny-darknet** was distilled from **resnet18**")
    for heading in ("## Teacher against student", "## Speed on Raspberry Pi 4 Model B", "## Proof of student.onnx"):
        assert f"\n{heading}\n" in text
    assert "--hard-label-baseline --out student\n```" in text
    assert "\n\n\n" not in text


def test_the_numbers_are_those_of_the_files(world: Any, text: str) -> None:
    networks, board, *_ = tables(text)
    student = next(row for row in networks if row[0].startswith("tiny-darknet (student)"))
    scores = json.loads((world.student / "run.json").read_text())["scores"]
    assert student[1:3] == [percent(scores["val_top1"]), percent(scores["test_top1"])]
    assert student[4] == amount(scores["parameters"])
    configs = json.loads(world.result.read_text())["configs"]
    times = sorted(configs[1]["latency_s"])
    row = next(row for row in board if "2 threads" in row[0] and "float32" in row[0])
    assert row[3] == milliseconds((times[449] + times[450]) / 2)


def test_every_row_is_as_long_as_its_heading(text: str) -> None:
    found = tables(text)
    assert len(found) >= 5
    for table in found:
        assert {len(row) for row in table} == {len(table[0])}


def test_hostile_names_stay_text(make: Any, tmp_path: Path) -> None:
    run = make.run(
        tmp_path / "run", classes=HOSTILE, model=f"{HOSTILE[1]}.py", images=20, argv=["edgexfer", "```", HOSTILE[0]]
    )
    make.result(tmp_path / "r.json", [make.config(name) for name in HOSTILE], cpu=HOSTILE[2])
    write_report([run, tmp_path / "r.json"], tmp_path / "r.md", title=HOSTILE[3])
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    for tag in ("<script", "<b>", "<a ", "<s>", "<em>d"):
        assert tag not in html
    assert html.count("<h1>") == 1 and "<pre><code" in html
    configs = next(table for table in tables(text) if table[0][0] == "configuration")
    assert [row[0].split(" · ")[0] for row in configs[1:]] == [" ".join(name.split()) for name in HOSTILE]


def test_a_cell_is_one_line_that_means_only_itself() -> None:
    assert plain("a|b\n*c*") == "a\\|b \\*c\\*"
    assert plain(12) == "12"


def test_an_emulated_machine_says_so(text: str) -> None:
    assert "Emulated: no time of it means anything" in text


def test_the_ending_chooses_the_form_and_an_unknown_form_is_refused(make: Any, tmp_path: Path) -> None:
    run = make.run(tmp_path / "run", images=20)
    write_report([run], tmp_path / "r.markdown")
    assert (tmp_path / "r.markdown").read_text().startswith("# ")
    write_report([run], tmp_path / "r.txt", form="csv")
    assert (tmp_path / "r.txt").read_text().startswith("network,run,")
    with pytest.raises(FormatError, match=r"cannot be written as 'pdf'; allowed: html, md, csv"):
        write_report([run], tmp_path / "r.pdf", form="pdf")
