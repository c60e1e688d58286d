"""Writes the report: everything gathered, laid out by ``page.html``, into one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgexfer.files import refuse_overwrite, write_text
from edgexfer.report import summary
from edgexfer.report.gather import gather
from edgexfer.report.lineage import Lineage, link
from edgexfer.report.mistakes import answers_of
from edgexfer.report.models import models_table, name_runs
from edgexfer.report.pictures import PictureReader, default_reader
from edgexfer.report.proofs import proofs
from edgexfer.report.provenance import commands, origins
from edgexfer.report.records import Found
from edgexfer.report.search import searches
from edgexfer.report.speed import machines
from edgexfer.report.training import learning_curves
from edgexfer.report.transfer import transfer_square
from edgexfer.runs import utc_now
from edgexfer.version import __version__


@dataclass(frozen=True)
class ReportSummary:
    """What a report was made of.

    Attributes:
        out: The page.
        size_bytes: Its size.
        root: The folder that the page's file labels are relative to.
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
) -> ReportSummary:
    """Writes one self-contained HTML page about runs, artifacts and benchmark results.

    Args:
        paths: Run folders, result files, ``.onnx`` files, bundles, or folders that hold any of these.
        out: The ``.html`` file.
        force: Whether ``out`` may be replaced.
        title: The heading; made from what was found, where there is none.
        picture: Gives the picture of a run's prediction by file name, or ``None`` where it is not there any more;
            the default reads files below the run's data folder, and scikit-learn's digits.

    Raises:
        WouldOverwriteError: ``out`` exists and ``force`` is off.
        FormatError: A path holds nothing to report, or is damaged.
    """
    refuse_overwrite(out, force)
    found = gather(paths)
    lineage = link(found)
    about = summary.subject(found, lineage)
    spoken = summary.sentences(about, found, lineage)
    content = {
        "title": title or summary.headline(about),
        "sentences": spoken,
        "tiles": summary.tiles(about),
        **_sections(found, lineage, picture or default_reader()),
    }
    text = render(content)
    write_text(out, text)
    return ReportSummary(
        out=out,
        size_bytes=len(text.encode("utf-8")),
        root=found.root,
        runs=len(found.runs),
        artifacts=len(found.artifacts),
        results=len(found.results),
        sentences=tuple(" ".join(Markup(sentence).striptags().split()) for sentence in spoken),
        notes=found.notes,
    )


def _sections(found: Found, lineage: Lineage, reader: PictureReader) -> dict[str, Any]:
    naming = name_runs(found, lineage)
    return {
        "has_students": bool(lineage.families),
        "models": models_table(found, lineage, naming) if found.runs else None,
        "machines": machines(lineage, naming),
        "square": transfer_square(found.runs, naming),
        "curves": learning_curves(found.runs, naming),
        "answers": answers_of(found.runs, naming, reader),
        "proofs": proofs(found, lineage, naming),
        "searches": searches(found),
        "commands": commands(found),
        "origins": origins(found, naming),
        "notes": found.notes,
    }


def render(content: Mapping[str, Any]) -> str:
    """The page; everything that is not markup of ours is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        **content,
        style=Markup(_resource("page.css")),  # ours, not the user's
        script=Markup(_resource("page.js")),
        created=utc_now(),
        version=__version__,
    )


def _resource(name: str) -> str:
    return resources.files("edgexfer.report").joinpath(name).read_text(encoding="utf-8")
