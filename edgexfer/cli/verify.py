"""``edgexfer verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit


@click.command("verify", epilog="Example: edgexfer verify student.onnx runs/student")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("origin", required=False, metavar="[RUN|ONNX]", type=click.Path(exists=True, path_type=Path))
@common_options(seed=False, force=False)
def command(model: Path, origin: Path | None, as_json: bool) -> None:
    """Recompute the digest and the golden samples of MODEL, an ONNX file that edgexfer wrote.

    With the RUN it was exported from, the float32 file it was quantized from or the file that was folded, make it
    again, prove it again, and name each tensor that changed since.
    """
    from edgexfer.workflows.verify import verify_artifact

    result = verify_artifact(model, origin)
    own = "digest and golden samples are right"
    again = f"every tensor is what {origin} gives"
    if not result["self_checked"]:
        told = f"{again}; it carries no digest and no golden samples"
    else:
        told = own if origin is None else f"{own}, and {again}"
    emit(result, as_json, f"{model}: {told}")
