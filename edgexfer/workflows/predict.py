"""``edgexfer predict``: pictures labelled on the workstation, by a run or an ONNX file, with the device's own code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer import device
from edgexfer.errors import DeviceError
from edgexfer.runs import read_run


@dataclass(frozen=True)
class Labeller:
    """A model that labels.

    Attributes:
        classes: Class names in the order of the logits.
        preprocessing: As its file says it.
        logits: uint8 ``(N, H, W, 3)`` to ``(N, K)``.
    """

    classes: tuple[str, ...]
    preprocessing: dict[str, Any]
    logits: Callable[[np.ndarray], np.ndarray]


def predict(model: Path, pictures: Sequence[Path], *, top: int = 3, threshold: float = 0.0) -> Iterator[dict[str, Any]]:
    """One dictionary a picture: ``{file, label, probability, top: [{label, probability}]}``, or ``{file, error}``.

    Args:
        model: A run folder or an ONNX file of edgexfer.
        pictures: Files, and folders of them.
        top: Classes to tell.
        threshold: Below this probability the label is ``None``: none of these.

    Raises:
        DeviceError: The model cannot be opened, or a folder holds no pictures.
    """
    with contextlib.suppress(ImportError):  # HEIC, where it can be had, as in training
        import pillow_heif

        pillow_heif.register_heif_opener()
    theirs: type[Exception] = device.load("_edgexfer_environment").DeviceError
    reader = device.load("_edgexfer_picture")
    try:
        files = reader.find([str(p) for p in pictures])
    except theirs as error:
        raise DeviceError(str(error)) from error
    labeller = _run_labeller(model) if model.is_dir() else _file_labeller(model)
    for file in files:
        try:
            pixels = reader.read(file, labeller.preprocessing)[None]
        except theirs as error:
            yield {"file": file, "error": str(error)}
            continue
        yield {"file": file, **_told(labeller, labeller.logits(pixels)[0], top, threshold)}


def _told(labeller: Labeller, logits: np.ndarray, top: int, threshold: float) -> dict[str, Any]:
    shares: np.ndarray = device.load("_edgexfer_model").softmax(logits)
    best = np.argsort(-shares, kind="stable")[:top]
    told = [{"label": labeller.classes[i], "probability": round(float(shares[i]), 6)} for i in best]
    sure = float(shares[best[0]]) >= threshold
    return {"label": told[0]["label"] if sure else None, "probability": told[0]["probability"], "top": told}


def _file_labeller(path: Path) -> Labeller:
    from edgexfer.classifier import Classifier
    from edgexfer.export.metadata import read_info

    info = read_info(path)  # refuses a file that keeps weights elsewhere before a runtime reads them
    classifier = Classifier(path)
    return Labeller(classifier.classes, info.preprocessing.to_dict(), classifier.logits)


def _run_labeller(folder: Path) -> Labeller:
    import torch

    from edgexfer import nets
    from edgexfer.export.golden import feed

    run = read_run(folder)
    net = nets.of_run(folder, run)

    def logits(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = net(torch.from_numpy(feed(pixels, run.preprocessing, "float"))).numpy()
        return found

    return Labeller(run.classes, run.preprocessing.to_dict(), logits)
