"""``edgexfer compare``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit


@click.command("compare", epilog="Example: edgexfer compare monday.json friday.json --vary machine")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--vary", required=True, help="What may differ: model, precision, threads, runtime, machine, ...")
@common_options(seed=False, force=False)
def command(results: tuple[Path, ...], vary: str, as_json: bool) -> None:
    """Ratio of the medians of RESULTS, with its interval; refused where more than --vary differs.

    The first one is the measure. Of three or more, those that are alike in everything count as repeated runs.
    """
    from edgexfer.results import compare_many

    comparisons = compare_many(results, vary)
    found = [comparison.to_dict() for comparison in comparisons]
    sentences = "\n".join(comparison.sentence() for comparison in comparisons)
    emit(found[0] if len(found) == 1 else {"comparisons": found}, as_json, sentences)
