"""``edgexfer export``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit
from edgexfer.cli.talk import Talk


@click.command("export", epilog="Example: edgexfer export runs/student --fold-bn --int8 --out student.onnx")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--fold-bn/--no-fold-bn",
    default=True,
    show_default=True,
    help="Fold BatchNorm into the convolutions, or really leave its nodes in the file.",
)
@click.option("--int8", is_flag=True, help="Also write an int8 file, calibrated on training pictures.")
@click.option("--target", type=click.Choice(["x86", "arm64"]), help="Whose int8 arithmetic; default: this machine's.")
@click.option(
    "--input",
    "input_kind",
    type=click.Choice(["uint8", "float"]),
    default="uint8",
    show_default=True,
    help="Pixels with the preprocessing in the graph, or normalised floats.",
)
@click.option("--plan", type=click.Path(dir_okay=False, path_type=Path), help="An int8 plan to repeat.")
@click.option("--data", help="The run's data, where it lies elsewhere now.")
@click.option("--data-root", help="Where torchvision's data sets lie.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .onnx file to write.")
@common_options(seed=False)
def command(
    run: Path,
    fold_bn: bool,
    int8: bool,
    target: str | None,
    input_kind: str,
    plan: Path | None,
    data: str | None,
    data_root: str | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write the network of RUN as an ONNX file that proves and describes itself."""
    from edgexfer.workflows.export import ExportChoice, export_run

    choice = ExportChoice(
        fold_bn=fold_bn, int8=int8, target=target, input=input_kind, plan=plan, data=data, data_root=data_root
    )
    with Talk() as talk:
        result = export_run(run, out, choice, talk, force=force)
    files = [result["artifact"], *([result["int8"]["artifact"]] if "int8" in result else [])]
    emit(result, as_json, "\n".join(files))
