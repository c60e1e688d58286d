"""A model chosen and opened to classify: pixels in, logits and embeddings out; for ``predict.py`` and ``adapt.py``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import _edgexfer_files as files
import _edgexfer_head as heads
import _edgexfer_machine as machine
import _edgexfer_model as model
import _edgexfer_recommend as recommending
import numpy as np
from _edgexfer_environment import DeviceError, say
from _edgexfer_runtime import Runtime, open_model, usable_cores

BATCH = 32


@dataclass(frozen=True)
class Model:
    """An opened artifact.

    Attributes:
        path: The ONNX file.
        artifact: What it says about itself.
        runtime: The runtime it is opened in.
        feed: Pixels uint8 ``(N, H, W, 3)`` as the model takes them.
    """

    path: str
    artifact: model.Artifact
    runtime: Runtime
    feed: Callable[[Any], Dict[str, Any]]

    def logits(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """uint8 ``(N, H, W, 3)`` to float32 ``(N, K)``.

        Raises:
            DeviceError: The pixels have another shape or type.
        """
        return self._run("logits", pixels, len(self.artifact.classes))

    def embeddings(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """uint8 ``(N, H, W, 3)`` to float32 ``(N, D)``.

        Raises:
            DeviceError: The pixels have another shape or type, or the model gives no embedding.
        """
        shapes = {tensor.name: tensor.shape for tensor in self.runtime.outputs}
        if "embedding" not in shapes:
            raise DeviceError(f"{self.path!r} gives no embedding to learn on; export it again with edgexfer export")
        return self._run("embedding", pixels, (shapes["embedding"] or (0,))[-1] or 0)

    def _run(self, output: str, pixels: np.ndarray[Any, Any], columns: int) -> np.ndarray[Any, Any]:
        shape = (*self.artifact.input_size, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
            raise DeviceError(f"pixels are {pixels.dtype} {pixels.shape}; {self.path!r} takes uint8 (N, {shape})")
        parts = [np.zeros((0, columns), np.float32)] if not len(pixels) else []
        for start in range(0, len(pixels), BATCH):
            batch = np.ascontiguousarray(pixels[start : start + BATCH])
            parts.append(np.asarray(self.runtime.run([output], self.feed(batch))[0], np.float32))
        return np.concatenate(parts)


def open_classifier(path: str, threads: Optional[int] = None, **how: Any) -> Model:
    """Opens an artifact of edgexfer.

    Args:
        path: The ONNX file.
        threads: Threads within one operator; ``None`` for every usable core.
        how: ``runtime`` and ``spinning``, as ``_edgexfer_runtime.open_model`` takes them.

    Raises:
        DeviceError: It cannot be opened, or edgexfer did not write it.
    """
    artifact = model.read_artifact(path)
    if artifact is None:
        raise DeviceError(
            f"{path!r} is an ONNX file but not one of edgexfer: it says neither its classes nor its preprocessing;"
            " make one with edgexfer export"
        )
    runtime = open_model(path, usable_cores() if threads is None else threads, **how)
    return Model(path, artifact, runtime, model.feeder(runtime, artifact))


def open_proven(path: str, threads: Optional[int] = None, **how: Any) -> Model:
    """Opens an artifact and proves on its golden samples that it answers here as where it was exported.

    Raises:
        DeviceError: It cannot be opened, is not the bundle's file, or gives wrong answers.
    """
    bundle = files.bundle_of(path)
    if bundle is not None:
        files.check_digest(bundle, path, files.sha256_file(path))
    opened = open_classifier(path, threads, **how)
    verdict = model.verify(opened.runtime, opened.artifact)
    if verdict.verified is False:
        raise DeviceError(model.wrong_answers(path, verdict))
    return opened


@dataclass(frozen=True)
class Choice:
    """A model and how to run it.

    Attributes:
        path: The ONNX file.
        threads: Threads within one operator; ``None`` for every usable core.
        runtime: Its name.
        spinning: Whether threads wait actively.
        affinity: The cores to run on, ``None`` for any.
    """

    path: str
    threads: Optional[int]
    runtime: str = "onnxruntime"
    spinning: bool = True
    affinity: Optional[Sequence[int]] = None


def choose(
    named: Optional[str], threads: Optional[int], home: str, head: Optional[heads.Head] = None, head_path: str = ""
) -> Choice:
    """The model to use and how to run it: as ``recommended.json`` says, where nothing else was asked for.

    Raises:
        DeviceError: There is no model, or the head is of another one.
    """
    best = None
    if named is None and threads is None:
        best = recommending.read(home, files.find_models([], home), machine.describe())
    if best is not None and head is None:
        threads_word = f"{best['threads']} thread{'s' if best['threads'] != 1 else ''}"
        say(f"note: as {recommending.NAME} says: {os.path.basename(best['path'])}, {threads_word}")
        return Choice(**best)
    path = choose_model(named, home, head)
    if head is not None:
        heads.check_belongs(head, head_path, path, files.sha256_file(path))
    return Choice(**best) if best is not None and best["path"] == path else Choice(path, threads)


def open_chosen(choice: Choice) -> Model:
    """Opens and proves a choice; a recommended runtime that is gone is done without.

    Raises:
        DeviceError: It cannot be opened, or gives wrong answers.
    """
    if choice.affinity is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(choice.affinity) & os.sched_getaffinity(0) or os.sched_getaffinity(0))
    try:
        return open_proven(choice.path, choice.threads, runtime=choice.runtime, spinning=choice.spinning)
    except DeviceError as error:
        if choice.runtime == "onnxruntime":
            raise
        say(f"note: {choice.runtime} was recommended but is not used: {error}")
        return open_proven(choice.path, choice.threads, spinning=choice.spinning)


def choose_model(named: Optional[str], home: str, head: Optional[heads.Head] = None) -> str:
    """The ONNX file to use: the one named, else of this bundle the one a head belongs to, else the float32 one.

    Raises:
        DeviceError: There is none.
    """
    if named is not None and os.path.isfile(named):
        return named
    found = files.find_models([named] if named is not None else [], home)
    if head is not None:
        found = [m for m in found if files.sha256_file(m) == head.artifact_sha256] or found
    chosen = sorted(found, key=_rank)[0]
    if len(found) > 1:
        say(f"note: using {os.path.basename(chosen)} of {len(found)} models; --model names another")
    return chosen


def _rank(path: str) -> Tuple[bool, List[Tuple[int, int, str]]]:
    artifact = model.read_artifact(path)
    return artifact is None or artifact.precision != "float32", files.natural(os.path.basename(path))
