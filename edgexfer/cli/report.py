"""``edgexfer report``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit


@click.command("report", epilog="Example: edgexfer report runs/ student.onnx bench.json --out report.html")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--title", help="Heading of the page.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "csv"]),
    help="html: a page with figures and pictures; md: summary and tables for a repository; csv: one row for each model,"
    " machine and configuration. Default: what --out ends in, else html.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write.")
@common_options(seed=False)
def command(
    paths: tuple[Path, ...], title: str | None, form: str | None, out: Path, force: bool, as_json: bool
) -> None:
    """One self-contained HTML page of PATHS: runs, ONNX files, benchmark results, or folders of them.

    As csv its columns have their units in their names; the README lists them.
    """
    from edgexfer.workflows.report import make_report

    make_report(list(paths), out, title=title, force=force, form=form)
    emit({"report": str(out)}, as_json, str(out))
