"""``edgexfer evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgexfer.cli.common import common_options, data_choice_of, data_options, emit
from edgexfer.cli.talk import Talk
from edgexfer.words import counted


@click.command("evaluate", epilog="Example: edgexfer evaluate student.onnx photos/")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("data")
@click.option(
    "--split",
    type=click.Choice(["auto", "val", "test", "all"]),
    default="auto",
    show_default=True,
    help="auto takes the test split where there is one, else validation; all takes a folder whole.",
)
@data_options
@common_options(force=False)
def command(model: Path, data: str, split: str, as_json: bool, **options: Any) -> None:
    """Accuracy of MODEL, a run folder or an ONNX file, on DATA; classes are matched by name.

    Where DATA is what a run was made from, it is split as the run split it, unless options here say otherwise.
    """
    from edgexfer.workflows.evaluate import evaluate

    choice = data_choice_of(data, options)
    with Talk() as talk:
        result = evaluate(model, choice, split, talk)
    told = f"{counted(result['images'], 'picture')} of the {result['split']} split"
    if result["skipped"]:
        told += f"; {counted(len(result['skipped']), 'picture')} of {data} left out"
    lines = [f"top-1 {result['top1']:.4f} ({told})"]
    lines += [f"  {name}: {c['top1']:.4f} ({c['images']})" for name, c in result["per_class"].items()]
    emit(result, as_json, "\n".join(lines))
