"""``edgexfer verify``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgexfer.cli.common import common_options, emit

_FLOAT32 = {
    "beside": "the float32 file beside it is the one that it was quantized from",
    "made again": "the float32 file that it was quantized from was made again, byte for byte",
    "unchecked": "which float32 file it was quantized from was not checked, since that does not lie beside it",
}


@click.command("verify", epilog="Example: edgexfer verify student.int8.onnx runs/student")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("origin", required=False, metavar="[RUN|ONNX]", type=click.Path(exists=True, path_type=Path))
@common_options(seed=False, force=False)
def command(model: Path, origin: Path | None, as_json: bool) -> None:
    """Recompute the digest and the golden samples of MODEL, an ONNX file that edgexfer wrote.

    With the RUN it was exported from, the float32 file it was quantized from or the file that was folded, make it
    again, prove it again, and name each tensor that changed since. An int8 file is made again by the plan that export
    wrote beside it.
    """
    from edgexfer.workflows.verify import verify_artifact

    result = verify_artifact(model, origin)
    own = "digest and golden samples are right"
    again = f"every tensor is what {origin} gives"
    if not result["self_checked"]:
        told = f"{again}; it carries no digest and no golden samples"
    else:
        told = own if origin is None else f"{own}, and {again}"
    emit(result, as_json, f"{model}: {told}{_int8_words(result)}")


def _int8_words(result: Mapping[str, Any]) -> str:
    """What else was checked of an int8 file whose run was given, and what was not."""
    if "float32_file" not in result:
        return ""
    error = result["fold_max_rel_error_f64"]
    folding = "no BatchNorm was folded" if error is None else f"folding is off by {error:.1e} in float64"
    return f"; {folding}; {result['plan']}; {_FLOAT32[result['float32_file']]}"
