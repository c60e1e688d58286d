"""``edgexfer compare``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit


@click.command("compare", epilog="Example: edgexfer compare monday.json friday.json --vary machine")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--vary", required=True, help="What may differ: model, precision, threads, runtime or machine.")
@common_options(seed=False, force=False)
def command(first: Path, second: Path, vary: str, as_json: bool) -> None:
    """Ratio of the medians of two results, with its interval; refused where more than --vary differs."""
    from edgexfer.results import compare_files

    result = compare_files(first, second, vary)
    emit(result.to_dict(), as_json, result.sentence())
