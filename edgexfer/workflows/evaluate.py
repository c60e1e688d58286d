"""``edgexfer evaluate``: the accuracy of a run or an ONNX file on labelled pictures, classes matched by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer import nets
from edgexfer.data import View, load_labelled, map_labels
from edgexfer.errors import DataError
from edgexfer.export.metadata import ArtifactInfo, read_info
from edgexfer.runs import Run, read_run
from edgexfer.training import Listener, top1
from edgexfer.training.compute import find_device, within_memory
from edgexfer.training.pictures import decoded, predict_view, tell_of, warn_of_left_out
from edgexfer.workflows.data import DataChoice, held_out, in_batches
from edgexfer.workflows.remembered import (
    is_of_the_same_source,
    learned_from,
    load_as_cut,
    split_as_learned,
    warn_of_changed_network,
    warn_of_known_pictures,
)


@within_memory("set CUDA_VISIBLE_DEVICES= to compute on the processor")
def evaluate(model: Path, data: DataChoice, split: str, listener: Listener) -> dict[str, Any]:
    """Top-1 of ``model``, overall and by class.

    A run's own data is split as the run split it, also for what was exported of it, unless ``data`` says how; a warning
    says where a run's split differs, or where pictures that it learned from count.

    Args:
        model: A run folder or an ONNX file of ours.
        data: The labelled pictures.
        split: ``auto`` (test, else validation), ``val``, ``test`` or ``all`` (a folder of class folders, whole).
        listener: Hears how it goes.

    Returns:
        ``{"top1", "images", "split", "per_class": {name: {"top1", "images"}}, "skipped": [{"file", "reason"}]}``, the
        last of the whole data.
    """
    known = read_run(model) if model.is_dir() else read_info(model)
    run = known if isinstance(known, Run) else None
    view = _view(data, known, split, listener)
    logits = onnx_logits(model, view) if run is None else _run_logits(run, model, view, listener)
    per_class = {
        name: {"top1": top1(logits[chosen], view.labels[chosen]), "images": int(chosen.sum())}
        for index, name in enumerate(known.classes)
        if (chosen := view.labels == index).any()
    }
    return {
        "top1": top1(logits, view.labels),
        "images": len(view),
        "split": view.name,
        "per_class": per_class,
        "skipped": [{"file": file, "reason": reason} for file, reason in view.skipped],
    }


def _view(data: DataChoice, known: Run | ArtifactInfo, split: str, listener: Listener) -> View:
    """The pictures to score, their labels in the order of the classes that the model knows."""
    if split == "all":
        whole = load_labelled(
            data.source, known.classes, whole=True, strict=data.strict, data_root=data.data_root, download=data.download
        )
        warn_of_left_out(whole.skipped, listener)
        if learned_from(known, data, listener):
            listener.warn(
                f"--split all takes the pictures of {data.source!r} that the run learned from too: the score is too"
                " good; leave --split out for those that it held out"
            )
        return whole
    if isinstance(known, ArtifactInfo):
        splits = load_as_cut(known.cut, data, listener)
    elif is_of_the_same_source(known, data):
        splits = split_as_learned(known, data).load(listener)
        warn_of_known_pictures(known.splits_fingerprint, splits, listener)
    else:
        splits = data.load(listener)
    tell_of(splits, listener)
    view = {"auto": held_out(splits), "val": splits.val, "test": splits.test}[split]
    if view is None:
        raise DataError(f"{data.source!r} has no test split; use --split val or --split all")
    return replace(map_labels(view, splits.classes, known.classes, data.source), skipped=splits.skipped)


def _run_logits(run: Run, folder: Path, view: View, listener: Listener) -> np.ndarray:
    warn_of_changed_network(run, listener)
    device = find_device("auto")
    network = nets.Normalized(nets.of_run(folder, run), run.preprocessing).to(device)
    store = decoded(view, run.preprocessing, listener)
    return predict_view(network, view, store, run.preprocessing, device).logits


def onnx_logits(path: Path, view: View) -> np.ndarray:
    """What an ONNX file of ours says of a view's pictures, ``(N, K)``, whether it takes pixels or normalised floats."""
    from edgexfer.classifier import Classifier

    preprocessing = read_info(path).preprocessing
    classifier = Classifier(path)
    return np.concatenate([classifier.logits(pixels) for pixels in in_batches(view, preprocessing)])
