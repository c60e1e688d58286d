"""Learns a head from labelled pictures: what ``adapt.py`` does.

The network runs once over each picture. Its embeddings are kept in a file beside the head, by the picture's content,
so that more pictures, or another strength of the shrinkage, cost only what is new.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

import _edgexfer_classify as classify
import _edgexfer_files as files
import _edgexfer_head as heads
import _edgexfer_picture as picture
import _edgexfer_regression as regression
import numpy as np
from _edgexfer_environment import HERE, DeviceError, say

HELD_OUT = 0.2


@dataclass(frozen=True)
class Request:
    """What ``adapt.py`` was asked for; see its ``--help``."""

    data: str
    out: str
    model: Optional[str] = None
    extend: bool = False
    l2: float = 0.01
    seed: int = 0
    threads: Optional[int] = None
    force: bool = False


@dataclass(frozen=True)
class Examples:
    """Embeddings ``(N, D)`` with their labels ``(N,)`` into ``classes``."""

    embeddings: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    classes: Tuple[str, ...]


def adapt(request: Request) -> Dict[str, Any]:
    """Learns a head and writes it.

    Returns:
        ``{head, accuracy, images, held_out, classes, skipped}``; the accuracy is that of the head as it is written,
        on the pictures it was not learned on, ``None`` where no class had a picture to spare.

    Raises:
        DeviceError: The folder, the model or the target cannot be used.
    """
    files.check_target(request.out, request.force)
    labelled = find_labelled(request.data)
    path = classify.choose_model(request.model, HERE)
    sha256 = files.sha256_file(path)
    opened = classify.open_proven(path, request.threads)
    cache = Cache.read(f"{os.path.splitext(request.out)[0]}.embeddings.npz", sha256)
    examples, skipped = _embedded(opened, labelled, cache)
    cache.write()
    if request.extend:
        examples = _extended(examples, opened)
    _check_classes(examples)
    learn, score = regression.split(examples.labels, HELD_OUT, request.seed)
    x, y, count = examples.embeddings, examples.labels, len(examples.classes)
    weight, bias = regression.fit(x[learn], y[learn], count, request.l2)
    head = heads.Head(weight.astype(np.float32), bias.astype(np.float32), examples.classes, sha256)
    heads.write(request.out, head)
    right = np.argmax(head.logits(x[score]), axis=1) == y[score]
    return {
        "head": request.out,
        "accuracy": float(right.mean()) if len(score) else None,
        "images": len(y),
        "held_out": len(score),
        "classes": list(examples.classes),
        "skipped": skipped,
    }


def find_labelled(folder: str) -> Dict[str, List[str]]:
    """Picture files by class: each folder in ``folder`` is a class.

    Raises:
        DeviceError: There is no such folder, or fewer than one class in it.
    """
    if not os.path.isdir(folder):
        raise DeviceError(f"there is no folder {folder!r}; --data names a folder with one folder of pictures a class")
    names = sorted((e.name for e in os.scandir(folder) if e.is_dir() and e.name[:1] != "."), key=files.natural)
    if not names:
        raise DeviceError(f"{folder!r} holds no class folders; sort the pictures into one folder a class")
    return {name: picture.find([os.path.join(folder, name)]) for name in names}


class Cache:
    """Embeddings by the SHA-256 of their picture's file, for one model.

    Attributes:
        path: Its file.
        sha256: The model.
        found: Embeddings ``(D,)``.
    """

    def __init__(self, path: str, sha256: str, found: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.path, self.sha256, self.found = path, sha256, dict(found)

    @classmethod
    def read(cls, path: str, sha256: str) -> "Cache":
        """What an earlier call kept; empty where there is none, or one of another model."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                if str(kept["artifact_sha256"]) == sha256:
                    return cls(path, sha256, dict(zip(kept["pictures"].tolist(), kept["embeddings"])))
        except Exception:  # a damaged cache is no cache
            return cls(path, sha256, {})
        return cls(path, sha256, {})

    def write(self) -> None:
        """Keeps everything for the next call.

        Raises:
            DeviceError: It cannot be written.
        """
        if not self.found:
            return
        with files.whole_file(self.path) as part, open(part, "wb") as stream:
            np.savez(
                stream,
                artifact_sha256=np.array(self.sha256),
                pictures=np.array(list(self.found)),
                embeddings=np.stack(list(self.found.values())),
            )


def _embedded(opened: classify.Model, labelled: Mapping[str, List[str]], cache: Cache) -> Tuple[Examples, List[str]]:
    rows, labels, skipped = [], [], []
    total, done = sum(map(len, labelled.values())), 0
    for label, paths in enumerate(labelled.values()):
        for path in paths:
            done += 1
            try:
                rows.append(_embedding(opened, path, cache))
                labels.append(label)
            except DeviceError as error:
                say(f"left out: {error}")
                skipped.append(path)
            if done % 100 == 0:
                say(f"{done} of {total} pictures")
    if not rows:
        raise DeviceError("not one of the pictures can be read; see the lines above")
    return Examples(np.stack(rows), np.array(labels, np.int64), tuple(labelled)), skipped


def _embedding(opened: classify.Model, path: str, cache: Cache) -> np.ndarray[Any, Any]:
    try:
        key = files.sha256_file(path)
    except OSError as error:
        raise DeviceError(f"{path!r} cannot be read: {error.strerror}") from error
    if key not in cache.found:
        pixels = picture.read(path, opened.artifact.preprocessing)
        cache.found[key] = opened.embeddings(pixels[np.newaxis])[0]
    return cache.found[key]


def _extended(examples: Examples, opened: classify.Model) -> Examples:
    """Adds the model's own classes, from the labelled samples of its bundle."""
    bundle = files.bundle_of(opened.path)
    if bundle is None or bundle.samples is None:
        raise DeviceError(
            f"--extend keeps the model's own classes with the labelled samples of its bundle; {opened.path!r} lies in"
            " no bundle with samples: make one with edgexfer bundle"
        )
    try:
        samples = np.load(bundle.samples[0], mmap_mode="r", allow_pickle=False)
        labels = np.load(bundle.samples[1], allow_pickle=False).astype(np.int64)
        own = np.array(opened.artifact.classes)[labels]
    except (OSError, ValueError, IndexError) as error:
        raise DeviceError(f"the bundle's labelled samples are damaged ({error}); copy the bundle again") from error
    classes = tuple(dict.fromkeys([*opened.artifact.classes, *examples.classes]))
    number = {name: i for i, name in enumerate(classes)}
    added = np.array([number[str(name)] for name in own], np.int64)
    new = np.array([number[examples.classes[label]] for label in examples.labels], np.int64)
    embeddings = np.concatenate([opened.embeddings(samples), examples.embeddings])
    return Examples(embeddings, np.concatenate([added, new]), classes)


def _check_classes(examples: Examples) -> None:
    counts = np.bincount(examples.labels, minlength=len(examples.classes))
    empty = [name for name, count in zip(examples.classes, counts) if not count]
    if empty:
        raise DeviceError(f"not one readable picture of {', '.join(empty)}; add some, or remove the folder")
    if len(examples.classes) < 2:
        raise DeviceError(
            f"only one class, {examples.classes[0]!r}; add a folder of pictures of something else, or pass --extend"
        )
