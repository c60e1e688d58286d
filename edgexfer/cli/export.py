"""``edgexfer export``."""

from __future__ import annotations

from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit
from edgexfer.cli.talk import Talk


def _shape(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and len(part) < 10 and int(part) for part in parts):
        raise click.BadParameter(f"{text[:40]!r} is no shape; expected numbers such as 1,3,224,224", ctx, param)
    return tuple(int(part) for part in parts)


@click.command("export", epilog="Example: edgexfer export runs/student --fold-bn --int8 --out student.onnx")
@click.argument("source", metavar="RUN|ONNX", type=click.Path(path_type=Path))
@click.option(
    "--fold-bn/--no-fold-bn",
    default=True,
    show_default=True,
    help="Fold BatchNorm into the convolutions, or really leave its nodes in the file.",
)
@click.option(
    "--scale-shift",
    is_flag=True,
    help="Make a product and a sum of each BatchNorm that no layer can take up.",
)
@click.option(
    "--input-shape",
    metavar="N,C,H,W",
    callback=_shape,
    help="ONNX file: shape of its first input for the proof, where the file leaves it open.",
)
@click.option("--int8", is_flag=True, help="Also write an int8 file, calibrated on training pictures.")
@click.option(
    "--target",
    type=click.Choice(["x86", "arm64", *(f"raspberry-pi-{board}" for board in ("3", "4", "5", "zero-2"))]),
    help="The machine it is for: decides int8's arithmetic and the advice, not the file's form; default: this one.",
)
@click.option(
    "--runtime-version",
    metavar="VERSION",
    help="The oldest ONNX Runtime that has to read it: chooses opset and IR version; default: 1.16.",
)
@click.option(
    "--input",
    "input_kind",
    type=click.Choice(["uint8", "float"]),
    default="uint8",
    show_default=True,
    help="Pixels with the preprocessing in the graph, or normalised floats.",
)
@click.option(
    "--calibration",
    type=click.Choice(["auto", "minmax", "entropy", "percentile"]),
    default="auto",
    show_default=True,
    help="How int8 ranges are chosen; auto tries all.",
)
@click.option(
    "--symmetry",
    type=click.Choice(["auto", "asymmetric", "symmetric"]),
    default="auto",
    show_default=True,
    help="Whether int8 ranges of activations lie around zero; auto tries both for ARM, and not on x86.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Training pictures that int8 is calibrated on, at most; memory does not grow with them.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Points of accuracy that int8 may lose; the most sensitive layers stay in float32 for it.",
)
@click.option("--plan", type=click.Path(dir_okay=False, path_type=Path), help="An int8 plan to repeat.")
@click.option("--data", help="The run's data, where it lies elsewhere now.")
@click.option("--data-root", help="Where torchvision's data sets lie.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .onnx file to write.")
@common_options(seed=False)
def command(
    source: Path,
    fold_bn: bool,
    scale_shift: bool,
    input_shape: tuple[int, ...] | None,
    int8: bool,
    target: str | None,
    runtime_version: str | None,
    input_kind: str,
    plan: Path | None,
    calibration: str,
    symmetry: str,
    calibration_images: int,
    max_drop: float,
    data: str | None,
    data_root: str | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write the network of RUN as an ONNX file that proves and describes itself.

    Given an ONNX file instead, whichever program wrote it, fold its BatchNorms and prove that it computes the same.
    """
    from edgexfer.workflows.export import ExportChoice, export_file, export_run

    choice = ExportChoice(
        fold_bn=fold_bn,
        scale_shift=scale_shift,
        int8=int8,
        target=target,
        runtime_version=runtime_version,
        plan=plan,
        calibration=calibration,
        symmetry=symmetry,
        calibration_images=calibration_images,
        max_drop=max_drop,
        input=input_kind,
        data=data,
        data_root=data_root,
    )
    with Talk() as talk:
        if source.is_file():
            result = export_file(source, out, choice, talk, input_shape=input_shape, force=force)
        elif input_shape:
            raise click.UsageError("--input-shape is for an ONNX file, and this is none")
        else:
            result = export_run(source, out, choice, talk, force=force)
    files = [result["artifact"], *([result["int8"]["artifact"]] if "int8" in result else [])]
    emit(result, as_json, "\n".join(files))
