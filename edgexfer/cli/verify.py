"""``edgexfer verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit


@click.command("verify", epilog="Example: edgexfer verify student.onnx")
@click.argument("model", type=click.Path(path_type=Path))
@common_options(seed=False, force=False)
def command(model: Path, as_json: bool) -> None:
    """Recompute the digest and the golden samples of MODEL, an ONNX file that edgexfer wrote."""
    from edgexfer.workflows.export import verify_artifact

    result = verify_artifact(model)
    emit(result, as_json, f"{model}: digest and golden samples are right")
