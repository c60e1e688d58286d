"""``edgexfer quickstart``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit, percent
from edgexfer.cli.tables import show_students
from edgexfer.cli.talk import Talk


@click.command("quickstart", epilog="Example: edgexfer quickstart --out demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Where it goes.")
@common_options()
def command(out: Path, seed: int, force: bool, as_json: bool) -> None:
    """Train a teacher, distil, fold, export, quantize, bundle, measure and report, on handwritten digits."""
    from edgexfer.workflows.quickstart import quickstart
    from edgexfer.workflows.train import run_summary

    with Talk() as talk:
        done = quickstart(out, talk, seed=seed, force=force)
        show_students(talk, done.distilled)
        int8 = done.exported["int8"]
        advice = f"use {int8['recommended']}" if int8["recommended"] else "which of them is faster here cannot be told"
        talk.say(f"held-out pictures: int8 {percent(int8['top1'])}, float32 {percent(int8['top1_float32'])}; {advice}")
        talk.say(f"look at the report: {done.report}")
    summary = {
        "student": run_summary(out / "student", done.distilled.student),
        "export": done.exported,
        "bench": str(out / "bench.json"),
        "report": str(done.report),
    }
    emit(summary, as_json, str(done.report))
