"""The page: everything gathered, laid out by ``page.html`` into one text that needs nothing else."""

from __future__ import annotations

from edgexfer.report import summary
from edgexfer.report.lineage import Lineage
from edgexfer.report.mistakes import answers_of
from edgexfer.report.models import Naming, models_table
from edgexfer.report.pictures import PictureReader
from edgexfer.report.proofs import proofs
from edgexfer.report.provenance import commands, origins
from edgexfer.report.records import Found
from edgexfer.report.search import searches
from edgexfer.report.speed import machines
from edgexfer.report.template import filled, ours
from edgexfer.report.training import learning_curves
from edgexfer.report.transfer import transfer_square
from edgexfer.runs import utc_now
from edgexfer.version import __version__


def page(found: Found, lineage: Lineage, naming: Naming, title: str | None, reader: PictureReader) -> str:
    """One self-contained page of everything that was found."""
    about = summary.subject(found, lineage)
    return filled(
        "report/page.html",
        title=title or summary.headline(about),
        sentences=summary.sentences(about, found, lineage),
        tiles=summary.tiles(about),
        students=len(lineage.families),
        models=models_table(found, lineage, naming) if found.runs else None,
        machines=machines(lineage, naming),
        square=transfer_square(found.runs, naming),
        curves=learning_curves(found.runs, naming),
        answers=answers_of(found.runs, naming, reader),
        proofs=proofs(found, lineage, naming),
        searches=searches(found),
        commands=commands(found),
        origins=origins(found, naming),
        notes=found.notes,
        script=ours("report/page.js"),
        created=utc_now(),
        version=__version__,
    )
