"""Writes the report in the form that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from edgexfer.errors import FormatError
from edgexfer.files import refuse_overwrite, write_text
from edgexfer.report import summary
from edgexfer.report.gather import gather
from edgexfer.report.lineage import Lineage, link
from edgexfer.report.models import name_runs
from edgexfer.report.pictures import PictureReader, default_reader
from edgexfer.report.records import Found

FORMATS = ("html", "md", "csv")
ENDINGS = {".md": "md", ".markdown": "md", ".csv": "csv"}


@dataclass(frozen=True)
class ReportSummary:
    """What a report was made of.

    Attributes:
        out: The file.
        size_bytes: Its size.
        root: The folder that its file labels are relative to.
        runs: How many runs it shows.
        artifacts: How many ONNX files.
        results: How many benchmark results.
        sentences: Its summary, in plain text.
        notes: What lay there and could not be read.
    """

    out: Path
    size_bytes: int
    root: Path
    runs: int
    artifacts: int
    results: int
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


def write_report(
    paths: Sequence[Path],
    out: Path,
    *,
    force: bool = False,
    title: str | None = None,
    picture: PictureReader | None = None,
    form: str | None = None,
) -> ReportSummary:
    """Writes one file about runs, artifacts and benchmark results.

    Args:
        paths: Run folders, result files, ``.onnx`` files, bundles, or folders that hold any of these.
        out: The file.
        force: Whether ``out`` may be replaced.
        title: The heading; made from what was found, where there is none.
        picture: Gives the picture of a run's prediction by file name, or ``None`` where it is not there any more;
            the default reads files below the run's data folder, and scikit-learn's digits.
        form: ``html`` (a self-contained page), ``md`` (summary and tables for a repository) or ``csv`` (one tidy
            table); where it is ``None``, the ending of ``out`` says it.

    Raises:
        WouldOverwriteError: ``out`` exists and ``force`` is off.
        FormatError: A path holds nothing to report, or is damaged, or there is no such form.
    """
    form = form or ENDINGS.get(out.suffix.lower(), "html")
    if form not in FORMATS:
        raise FormatError(f"a report cannot be written as {form!r}; allowed: {', '.join(FORMATS)}")
    refuse_overwrite(out, force)
    found = gather(paths)
    lineage = link(found)
    text = _written(form, found, lineage, title, picture or default_reader())
    write_text(out, text)
    return _summary(out, len(text.encode("utf-8")), found, lineage)


def _summary(out: Path, size_bytes: int, found: Found, lineage: Lineage) -> ReportSummary:
    spoken = summary.sentences(summary.subject(found, lineage), found, lineage)
    return ReportSummary(
        out=out,
        size_bytes=size_bytes,
        root=found.root,
        runs=len(found.runs),
        artifacts=len(found.artifacts),
        results=len(found.results),
        sentences=tuple(" ".join(Markup(sentence).striptags().split()) for sentence in spoken),
        notes=found.notes,
    )


def _written(form: str, found: Found, lineage: Lineage, title: str | None, reader: PictureReader) -> str:
    naming = name_runs(found, lineage)
    if form == "csv":
        from edgexfer.report.sheet import sheet

        return sheet(found, lineage, naming)
    if form == "md":
        from edgexfer.report.markdown import markdown

        return markdown(found, lineage, naming, title)
    from edgexfer.report.page import page

    return page(found, lineage, naming, title, reader)
