"""``edgexfer inspect``: what is in a run or an ONNX file, its BatchNorms against pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from edgexfer import nets
from edgexfer.data import View, load_labelled
from edgexfer.errors import ExportError
from edgexfer.export.golden import feed
from edgexfer.export.inspect import Inspection, inspect_model
from edgexfer.export.metadata import ArtifactInfo, info_of
from edgexfer.fold.onnxfile.source import read_onnx
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import Run, read_run
from edgexfer.workflows.data import in_batches, spread_sample
from edgexfer.workflows.remembered import load_remembered

IMAGES = 256
"""Pictures that BatchNorms are compared on, at most."""
OWN = "own"


def inspect(model: Path, data: str | None, data_root: str | None = None) -> Inspection:
    """Looks into a run folder or an ONNX file.

    Args:
        model: The run or the file.
        data: Pictures to compare the BatchNorms with: a folder, a set by name, or ``"own"`` for a run's own training
            pictures; ``None`` for none.
        data_root: Where torchvision's sets lie.

    Raises:
        ExportError: The pictures cannot be fed to this model.
    """
    if model.is_dir():
        run = read_run(model)
        graph = _unfolded(model, run)
        view = None if data is None else _pictures_of_run(run, data, data_root)
        return inspect_model(graph, _feeds(view, run.preprocessing, "uint8"))
    graph = read_onnx(model)
    if data is None:
        return inspect_model(graph)
    info = info_of(graph, str(model))
    if info is None or data == OWN:
        why = "'own' is for a run folder" if info is not None else "nobody knows its preprocessing"
        raise ExportError(f"{str(model)!r} cannot be compared with pictures: {why}; name a run or a file of edgexfer")
    return inspect_model(graph, _feeds(_pictures(info, data, data_root), info.preprocessing, info.input))


def _unfolded(folder: Path, run: Run) -> onnx.ModelProto:
    """The run's network as ONNX, every BatchNorm in place."""
    from edgexfer.export.torch_onnx import to_onnx

    return to_onnx(nets.of_run(folder, run), run.preprocessing)


def _pictures_of_run(run: Run, data: str, data_root: str | None) -> View:
    own = data == OWN
    splits = load_remembered(run, None if own else data, data_root)
    return spread_sample(splits.train, IMAGES)


def _pictures(info: ArtifactInfo, data: str, data_root: str | None) -> View:
    return spread_sample(load_labelled(data, info.classes, data_root=data_root), IMAGES)


def _feeds(view: View | None, preprocessing: Preprocessing, kind: str) -> Iterator[np.ndarray]:
    if view is not None:
        yield from (feed(pixels, preprocessing, kind) for pixels in in_batches(view, preprocessing, 8))
