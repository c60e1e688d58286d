"""``edgexfer bench``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit


@click.command("bench", epilog="Example: edgexfer bench student.onnx --threads 1,2 --out bench.json")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--min-seconds", type=click.FloatRange(0), default=10.0, show_default=True, help="Least time a model.")
@click.option("--min-runs", type=click.IntRange(1), default=100, show_default=True, help="Fewest timed inferences.")
@click.option("--threads", default="1", show_default=True, help="Thread counts, such as 1,2.")
@click.option("--verify-only", is_flag=True, help="Check the answers, time nothing.")
@click.option("--out", type=click.Path(path_type=Path), help="The result file; default bench-HOST-TIME.json.")
@common_options(seed=False)
def command(
    target: Path,
    min_seconds: float,
    min_runs: int,
    threads: str,
    verify_only: bool,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Verify and time TARGET, an ONNX file or a bundle, with the very script that runs on the device."""
    from edgexfer.results import run_bench

    made = run_bench(
        target,
        out=out,
        min_seconds=min_seconds,
        min_runs=min_runs,
        threads=threads,
        verify_only=verify_only,
        force=force,
    )
    emit(json.loads(made.read_text(encoding="utf-8")) if as_json else {}, as_json, str(made))
