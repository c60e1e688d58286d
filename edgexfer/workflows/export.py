"""``edgexfer export``: a run becomes a proven artifact, with the pictures of its own data as witnesses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer import nets
from edgexfer.data import Splits, View, build_store, eval_pixels
from edgexfer.export.exporter import ExportRequest, Pictures, export_network
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import WEIGHTS_FILE, Run, read_run, weights_sha256
from edgexfer.training import Listener
from edgexfer.workflows.data import held_out, load_remembered, spread_sample

WITNESSES = 512
"""Held-out pictures that an artifact's answers are compared on, at most."""


@dataclass(frozen=True)
class ExportChoice:
    """What a user says of an export.

    Attributes:
        fold_bn: Whether BatchNorm is folded into the convolutions.
        input: ``uint8`` or ``float``.
        data: The run's data, where it lies elsewhere now.
        data_root: Where torchvision's data sets lie now.
    """

    fold_bn: bool = True
    input: str = "uint8"
    data: str | None = None
    data_root: str | None = None


def export_run(
    folder: Path, out: Path, choice: ExportChoice, listener: Listener, *, force: bool = False
) -> dict[str, Any]:
    """Writes the network of a run as ``out``; see ``edgexfer.export.exporter.export_network``.

    Returns:
        What ``edgexfer export --json`` prints.
    """
    run = read_run(folder)
    splits = load_remembered(run, choice.data, choice.data_root)
    net = nets.create(
        run.model, len(run.classes), weights=str(folder / WEIGHTS_FILE), input_size=run.preprocessing.input_size
    )
    request = ExportRequest(
        model=run.model,
        classes=run.classes,
        preprocessing=run.preprocessing,
        parent_sha256=weights_sha256(folder),
        fold_bn=choice.fold_bn,
        input=choice.input,
        force=force,
    )
    return export_network(net.eval(), request, out, pictures=_pictures(run, splits), say=listener.say).to_json()


def _pictures(run: Run, splits: Splits) -> Pictures:
    view = spread_sample(held_out(splits), WITNESSES)
    order = np.array([run.classes.index(name) for name in splits.classes])
    return Pictures(pixels_of(view, run.preprocessing), order[view.labels])


def pixels_of(view: View, preprocessing: Preprocessing) -> np.ndarray:
    """The input pixels of a whole view, uint8 ``(N, H, W, 3)``."""
    return eval_pixels(build_store(view, preprocessing), range(len(view)), preprocessing).numpy()


def in_batches(pixels: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """``pixels`` in pieces of at most ``size`` pictures."""
    for start in range(0, len(pixels), size):
        yield pixels[start : start + size]
