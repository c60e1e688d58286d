"""``edgexfer inspect``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgexfer.cli.common import common_options, emit
from edgexfer.words import people_size

if TYPE_CHECKING:
    from edgexfer.export.inspect import Inspection


@click.command("inspect", epilog="Example: edgexfer inspect runs/student --data own")
@click.argument("model", metavar="RUN|ONNX", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--data", help="Pictures to compare BatchNorms with: a folder, a set by name, or 'own' for the run's own."
)
@click.option("--data-root", help="Where torchvision's data sets lie.")
@common_options(seed=False, force=False)
def command(model: Path, data: str | None, data_root: str | None, as_json: bool) -> None:
    """Show what is in a run or any ONNX file: operators, the cost of each layer, the state of each BatchNorm."""
    from edgexfer.workflows.inspect import inspect

    found = inspect(model, data, data_root)
    emit(dataclasses.asdict(found), as_json, "\n".join(_lines(found)))


def _lines(found: Inspection) -> Iterator[str]:
    operators = ", ".join(f"{kind} x{count}" for kind, count in found.operators.items())
    yield f"opset {found.opset}, IR version {found.ir_version}, {people_size(found.size_bytes)}"
    yield f"operators: {operators}"
    adds = [layer.multiply_adds for layer in found.layers]
    known = sum(a for a in adds if a is not None)
    yield (
        f"layers with weights: {len(found.layers)}, {sum(layer.parameters for layer in found.layers):,} parameters,"
        f" {known / 1e6:,.1f} M multiply-adds a picture" + (" where shapes are known" if None in adds else "")
    )
    rows = [
        (
            layer.name,
            layer.kind,
            "x".join("?" if d is None else str(d) for d in layer.output_shape) or "?",
            f"{layer.parameters:,}",
            "?" if layer.multiply_adds is None else f"{layer.multiply_adds / 1e6:,.2f} M",
            "?" if not known or layer.multiply_adds is None else f"{layer.multiply_adds / known:.1%}",
            f"{layer.weight_bytes / 1e3:,.1f} kB",
            "?" if layer.output_bytes is None else f"{layer.output_bytes / 1e3:,.1f} kB",
        )
        for layer in found.layers
    ]
    heads = ("layer", "operator", "output", "parameters", "multiply-adds", "share", "weights", "output")
    yield from _table(heads, rows)
    if found.islands:
        named = ", ".join(f"{kind} x{count}" for kind, count in sorted(found.islands.items()))
        yield f"computed in float32 between the int8 layers: {named}"
    if found.batchnorms:
        yield from _batchnorms(found)


def _batchnorms(found: Inspection) -> Iterator[str]:
    seen = f", against {found.images} pictures" if found.images else " (drift and spread need --data)"
    yield f"BatchNorm: {len(found.batchnorms)}{seen}"
    rows = [
        (
            bn.name,
            str(bn.channels),
            f"{bn.largest_scale:.3g}",
            str(bn.dead),
            str(bn.exploding),
            "-" if bn.drift is None else f"{bn.drift:.2f}",
            "-" if bn.spread is None else f"{bn.spread:.2f}",
            bn.remark,
        )
        for bn in found.batchnorms
    ]
    heads = ("BatchNorm", "channels", "largest scale", "dead", "exploding", "drift", "spread", "remark")
    yield from _table(heads, rows, left=(0, 7))
    yield "drift: largest shift of a mean in running standard deviations; spread: largest ratio of the variances"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0, 1)) -> Iterator[str]:
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        cells = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield ("  " + "  ".join(cells)).rstrip()
