"""The report as Markdown, for a repository: the summary and the tables, without figures and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup, escape

from edgexfer.report import summary
from edgexfer.report.lineage import Lineage
from edgexfer.report.models import Naming, models_table
from edgexfer.report.proofs import proofs
from edgexfer.report.provenance import commands
from edgexfer.report.records import Found
from edgexfer.report.search import searches
from edgexfer.report.speed import tables_of
from edgexfer.report.tables import Row, Table
from edgexfer.runs import utc_now
from edgexfer.version import __version__

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&#!])")
_TICKS = re.compile("`+")


def markdown(found: Found, lineage: Lineage, naming: Naming, title: str | None) -> str:
    """The page as GitHub's Markdown; every name is escaped."""
    about = summary.subject(found, lineage)
    lines = [f"# {plain(title or summary.headline(about))}", ""]
    lines += [" ".join(_emphasised(sentence) for sentence in summary.sentences(about, found, lineage)), ""]
    if found.runs:
        lines += ["## Teacher against student" if lineage.families else "## The networks", ""]
        lines += [*_table(models_table(found, lineage, naming)), ""]
    for name, table, is_emulated in tables_of(lineage):
        lines += [f"## Speed on {plain(name)}", ""]
        lines += ["Emulated: no time of it means anything, and none is shown.", ""] if is_emulated else []
        lines += [*_table(table), ""]
    lines += _proofs(found, lineage, naming)
    lines += _commands(found)
    lines += [f"*{plain(note)}*" for note in found.notes]
    lines += ["", f"Written by edgexfer {__version__} on {utc_now().replace('T', ' ').replace('Z', ' UTC')}.", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _proofs(found: Found, lineage: Lineage, naming: Naming) -> Iterator[str]:
    for proof in proofs(found, lineage, naming):
        yield from (f"## Proof of {plain(proof.name)}", "")
        if proof.is_foreign:
            yield from ("This file was not written by edgexfer.", "")
        for figure, sentence in proof.checks:
            yield f"- **{plain(figure)}** {plain(sentence)}"
        if proof.kept is not None:
            yield from ("", *_table(proof.kept))
        yield ""
    for search in searches(found):
        yield from (f"## How {plain(search.name)} was found", "", *(f"- {plain(one)}" for one in search.verdict), "")
        yield from (*_table(search.kept), "") if search.kept is not None else ()


def _commands(found: Found) -> Iterator[str]:
    told = [(" ".join(command.parts), command.made) for command in commands(found)]
    if told:
        yield from ("## The commands that made it", "")
    for text, made in told:
        fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
        yield from (f"{fence}sh", text, fence, f"made {plain(', '.join(made))}", "")


def _table(table: Table) -> Iterator[str]:
    """A pipe table; a row's small print stands behind its name."""
    yield _line(table.heads)
    yield _line(["---"] + ["---" if i in table.words else "---:" for i in range(1, len(table.heads))], is_ready=True)
    for row in table.rows:
        yield _line([_name(row), *row.cells])


def _name(row: Row) -> str:
    words = [row.name, f"({row.tag})" if row.tag else "", f"– {_text(row.note)}" if row.note else ""]
    return ("↳ " if row.is_part else "") + " ".join(filter(None, words))


def _line(cells: Sequence[Any], *, is_ready: bool = False) -> str:
    return f"| {' | '.join(map(str, cells) if is_ready else map(plain, cells))} |"


def plain(value: Any) -> str:
    """A cell or a sentence as one line of Markdown that means only itself."""
    return _SPECIAL.sub(r"\\\1", _text(value))


def _text(value: Any) -> str:
    """What a reader of the page would read; markup of ours goes, text stays."""
    text = value.striptags() if isinstance(value, Markup) else str(value)
    return " ".join(text.split())


def _emphasised(sentence: Markup) -> str:
    """A sentence of the summary with its bold words."""
    parts = re.split(r"<(/?)b>", str(escape(sentence)))
    return "".join("**" if i % 2 else _kept_spaces(Markup(part)) for i, part in enumerate(parts))


def _kept_spaces(part: Markup) -> str:
    left, right = (" " if part[:1] == " " else ""), (" " if part[-1:] == " " else "")
    return f"{left}{plain(part)}{right}" if part.strip() else " " * bool(part)
