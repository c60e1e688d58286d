"""``edgexfer predict``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from edgexfer.cli.common import common_options
from edgexfer.files import printable
from edgexfer.words import counted


@click.command("predict", epilog="Example: edgexfer predict student.onnx photo.jpg more/")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Classes to tell.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Below this probability it is none of these.",
)
@common_options(seed=False, force=False)
def command(model: Path, pictures: tuple[Path, ...], top: int, threshold: float, as_json: bool) -> None:
    """Say what is on PICTURES (files and folders), with MODEL, a run folder or an ONNX file; one line a picture."""
    from edgexfer.workflows.predict import predict

    bad = 0
    for line in predict(model, pictures, top=top, threshold=threshold):
        line["file"] = printable(line["file"])
        if "error" in line:
            bad += 1
            click.echo(f"Error: {line['error']}", err=True)
        elif as_json:
            click.echo(json.dumps(line, ensure_ascii=False))
        else:
            others = ", ".join(f"{t['label']} {t['probability']:.1%}" for t in line["top"])
            click.echo(f"{line['file']}: {line['label'] or 'none of these'} ({others})")
    if bad:
        click.echo(f"{counted(bad, 'picture')} could not be read", err=True)
        sys.exit(1)
