"""The section on training: learning curves, with the epochs' figures beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgexfer.report.curves import Curve, draw_curves
from edgexfer.report.models import Naming
from edgexfer.report.records import FoundRun
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import MISSING, is_number, percent, shown

MOST_CURVES = 8
LOSSES = ("soft_loss", "hard_loss")


def learning_curves(runs: Sequence[FoundRun], naming: Naming) -> list[Figure]:
    """Validation accuracy and training loss of every run with metrics; at most ``MOST_CURVES`` lines a figure."""
    trained = [run for run in runs if run.metrics]
    figures = []
    for start in range(0, len(trained), MOST_CURVES):
        some = trained[start : start + MOST_CURVES]
        figures += _figure(f"val-{start}", some, naming, "val_top1", "Validation accuracy", _VAL_CAPTION)
        figures += _figure(f"valloss-{start}", some, naming, "val_loss", "Validation loss", _VAL_LOSS_CAPTION)
        figures += _figure(f"loss-{start}", some, naming, "train_loss", "Training loss", _LOSS_CAPTION)
    for number, run in enumerate(trained):
        if any(key in line for line in run.metrics for key in LOSSES) and number < MOST_CURVES:
            figures += _parts(f"parts-{number}", run, naming)
    return figures


_VAL_CAPTION = "Top-1 on the validation split after each epoch; the dot is the epoch whose weights were kept."
_VAL_LOSS_CAPTION = "Cross-entropy on the validation split: hard labels for every network, so that the lines compare."
_LOSS_CAPTION = (
    "Mean loss of each epoch. A distilled student's loss mixes soft and hard terms, so its height does not compare with"
    " that of the others."
)


def _figure(name: str, runs: Sequence[FoundRun], naming: Naming, key: str, title: str, caption: str) -> list[Figure]:
    curves = [_curve(run, key, naming.names[run.label], naming.colours[run.label]) for run in runs]
    drawn = [(run, curve) for run, curve in zip(runs, curves, strict=True) if curve.values]
    if not drawn:
        return []
    lines = [curve for _, curve in drawn]
    fraction = key.endswith("top1")
    description = f"{title} by epoch of " + ", ".join(
        f"{c.name} (last {c.values[-1]:.1%})" if fraction else f"{c.name} (last {c.values[-1]:.3g})" for c in lines
    )
    svg = draw_curves(f"curves-{name}", lines, fraction=fraction, description=description)
    write: Callable[[Any], str] = percent if fraction else _four
    table = _table(title, [(run, key, naming.names[run.label]) for run, _ in drawn], write)
    keys = [Key(c.name, c.colour) for c in lines]
    return [Figure(title, caption, svg, table=table, keys=keys)]


def _parts(name: str, run: FoundRun, naming: Naming) -> list[Figure]:
    """The soft and the hard term of one distilled student."""
    label = naming.names[run.label]
    words = {"soft_loss": "soft term (teacher)", "hard_loss": "hard term (labels)"}
    curves = [_curve(run, key, words[key], i) for i, key in enumerate(LOSSES)]
    drawn = [(key, curve) for key, curve in zip(LOSSES, curves, strict=True) if curve.values]
    if not drawn:
        return []
    lines = [curve for _, curve in drawn]
    description = f"Loss terms of {label} by epoch: " + ", ".join(f"{c.name} ends at {c.values[-1]:.3g}" for c in lines)
    alpha, temperature = run.run.recipe.get("alpha"), run.run.recipe.get("temperature")
    weight = f" The soft term weighs {alpha}, at temperature {temperature}." if alpha is not None else ""
    return [
        Figure(
            f"What {label} learnt from",
            f"Mean of each term of the loss by epoch, before weighting.{weight}",
            draw_curves(f"curves-{name}", lines, fraction=False, description=description),
            table=_table("Loss terms", [(run, key, words[key]) for key, _ in drawn], _four),
            keys=[Key(c.name, c.colour) for c in lines],
        )
    ]


def _curve(run: FoundRun, key: str, name: str, colour: int) -> Curve:
    pairs = [(_epoch(line, i), float(line[key])) for i, line in enumerate(run.metrics) if is_number(line.get(key))]
    best = run.run.scores.get("best_epoch")
    return Curve(name, [e for e, _ in pairs], [v for _, v in pairs], colour, best if is_number(best) else None)


def _epoch(line: Any, index: int) -> float:
    epoch = line.get("epoch")
    return float(epoch) if is_number(epoch) else float(index + 1)


def _table(caption: str, columns: Sequence[tuple[FoundRun, str, str]], write: Callable[[Any], str]) -> Table:
    lines = [{_epoch(line, i): i for i, line in enumerate(run.metrics)} for run, _, _ in columns]
    rows = []
    for epoch in sorted(set[float]().union(*lines)):
        cells = [
            shown(run.metrics[at[epoch]].get(key), write, run.metric_origin(at[epoch], key)) if epoch in at else MISSING
            for (run, key, _), at in zip(columns, lines, strict=True)
        ]
        rows.append(Row(f"{epoch:g}", cells))
    return Table(f"{caption} by epoch", ("epoch", *(name for _, _, name in columns)), rows)


def _four(value: float) -> str:
    return f"{value:.4f}"
