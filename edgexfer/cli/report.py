"""``edgexfer report``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit


@click.command("report", epilog="Example: edgexfer report runs/ student.onnx bench.json --out report.html")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--title", help="Heading of the page.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .html file to write.")
@common_options(seed=False)
def command(paths: tuple[Path, ...], title: str | None, out: Path, force: bool, as_json: bool) -> None:
    """One self-contained HTML page of PATHS: runs, ONNX files, benchmark results, or folders of them."""
    from edgexfer.workflows.report import make_report

    make_report(list(paths), out, title=title, force=force)
    emit({"report": str(out)}, as_json, str(out))
