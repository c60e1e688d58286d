"""Learns a head from labelled pictures: what ``adapt.py`` does.

The network runs once over each picture. Its embeddings stay on the card (``_edgexfer_embeddings``), so that more
pictures, another penalty or another class cost only what is new.
"""

from __future__ import annotations

import functools
import os
import platform
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import _edgexfer_classify as classify
import _edgexfer_collect as collecting
import _edgexfer_files as files
import _edgexfer_groups as groups
import _edgexfer_head as heads
import _edgexfer_model as model
import _edgexfer_regression as regression
import _edgexfer_split as splitting
import numpy as np
from _edgexfer_embeddings import Store
from _edgexfer_environment import HERE, DeviceError, say
from _edgexfer_progress import Progress
from _edgexfer_runtime import usable_cores

Array = np.ndarray[Any, Any]
HELD_OUT = 0.2
CACHE = "edgexfer-cache"


@dataclass(frozen=True)
class Request:
    """What ``adapt.py`` was asked for; see its ``--help``."""

    data: str
    out: str
    model: Optional[str] = None
    extend: Optional[str] = None  # a head, or "" for the model's own classes
    l2: Optional[float] = None  # None: by cross-validation
    solver: str = "full"
    iterations: int = 500
    batch: int = 64
    group_by: Optional[str] = None
    cache: Optional[str] = None
    refit: bool = False
    seed: int = 0
    threads: Optional[int] = None
    force: bool = False


@dataclass(frozen=True)
class Table:
    """Everything there is to learn from.

    Attributes:
        classes: Names.
        rows: Which record of the store each picture is, ``(N,)``.
        labels: Positions in ``classes``, ``(N,)``.
        groups: ``(N,)``.
        held: Held out, bool ``(N,)``.
    """

    classes: Tuple[str, ...]
    rows: Array
    labels: Array
    groups: Array
    held: Array


def adapt(request: Request) -> Dict[str, Any]:
    """Learns a head and writes it.

    Returns:
        ``{head, accuracy, accuracy_low, accuracy_high, images, held_out, classes, per_class, skipped, l2, solver,
        seconds}``; the accuracy is on the pictures that were not learned from, ``None`` where no class had one to
        spare.

    Raises:
        DeviceError: The folder, the model or the target cannot be used.
    """
    begun = time.perf_counter()
    files.check_target(request.out, request.force)
    labelled = collecting.find_labelled(request.data)
    old = heads.read(request.extend) if request.extend else None
    if old is None and request.extend is None and len(labelled) < 2:
        raise DeviceError(
            f"only one class, {next(iter(labelled))!r}; add a folder of pictures of something else, or pass --extend"
        )
    path = classify.choose_model(request.model, HERE, old)
    sha256 = files.sha256_file(path)
    if old is not None:
        heads.check_belongs(old, str(request.extend), path, sha256)
    workers = usable_cores() if request.threads is None else request.threads
    opened = classify.open_proven(path, 1)
    golden = _golden(opened)
    made_by = f"{opened.runtime.name} {opened.runtime.version} on {platform.machine()}"
    folder = request.cache or os.path.join(os.path.dirname(os.path.abspath(request.out)), CACHE)
    store = Store(folder, sha256, golden.shape[1], made_by)
    try:
        found, skipped = collecting.collect(opened, store, request.data, labelled, workers)
        own = collecting.collect_samples(opened, store) if request.extend == "" else []
        classes = _classes(opened, old, request.extend, labelled)
        side = min(opened.artifact.input_size)
        del opened  # its memory is needed now
        table = _tabled(store, classes, own + found, len(own), old, side, request)
        embedded = time.perf_counter()
        done = _learn(request, store, table, sha256, golden)
    finally:
        store.close()
    seconds = {"pictures": round(embedded - begun, 3), "head": round(time.perf_counter() - embedded, 3)}
    return {**done, "skipped": skipped, "seconds": seconds}


def _learn(request: Request, store: Store, table: Table, sha256: str, golden: Array) -> Dict[str, Any]:
    embeddings = store.table()["embedding"]
    learn = np.flatnonzero(~table.held)
    l2 = request.l2
    if l2 is None:
        progress = Progress("fits to choose the penalty")
        l2, _ = splitting.choose_l2(
            embeddings, table.rows[learn], table.labels[learn], table.groups[learn], len(table.classes), request.seed,
            lambda done, total: progress(done, f"{total} at most"),
        )  # fmt: skip
        progress.end()
    weight, bias = _fit(request, embeddings, table, learn, l2)
    scored = _score(embeddings, table, weight, bias)
    if request.refit and table.held.any():
        weight, bias = _fit(request, embeddings, table, np.arange(len(table.labels)), l2)
    digests = store.table()["digest"][table.rows]
    examples = heads.Examples(digests, table.labels, table.groups, table.held)
    head = heads.Head(weight.astype(np.float32), bias.astype(np.float32), table.classes, sha256, examples)
    head = heads.Head(head.weight, head.bias, head.classes, sha256, examples, head.logits(golden))
    heads.write(request.out, head)
    return {
        "head": request.out,
        **scored,
        "images": len(table.labels),
        "classes": list(table.classes),
        "l2": l2,
        "solver": request.solver,
    }


def _fit(request: Request, embeddings: Array, table: Table, learn: Array, l2: float) -> regression.Layer:
    progress = Progress("iterations")
    told = functools.partial(_tell, progress)
    count = len(table.classes)
    if request.solver == "minibatch":
        weight = regression.fit_minibatch(
            embeddings, table.labels[learn], count, l2, index=table.rows[learn], iterations=request.iterations,
            batch=request.batch, seed=request.seed, progress=told,
        )  # fmt: skip
    else:
        weight = regression.fit(embeddings, table.labels[learn], count, l2, index=table.rows[learn], progress=told)
    progress.end()
    return weight


def _tell(progress: Progress, iteration: int, loss: float) -> None:
    progress(iteration, f"loss {loss:.4f}")


def _score(embeddings: Array, table: Table, weight: Array, bias: Array) -> Dict[str, Any]:
    """Accuracy on what was held out, with its 95% interval, and by class."""
    held = np.flatnonzero(table.held)
    right = np.zeros(len(held), bool)
    for start in range(0, len(held), regression.BLOCK):
        part = held[start : start + regression.BLOCK]
        logits = embeddings[table.rows[part]] @ weight.astype(np.float32) + bias.astype(np.float32)
        right[start : start + len(part)] = np.argmax(logits, axis=1) == table.labels[part]
    low, high = splitting.wilson(int(right.sum()), len(held))
    labels = table.labels[held]
    return {
        "accuracy": float(right.mean()) if len(held) else None,
        "accuracy_low": low if len(held) else None,
        "accuracy_high": high if len(held) else None,
        "held_out": len(held),
        "per_class": {
            name: {"right": int(right[labels == k].sum()), "held_out": int((labels == k).sum())}
            for k, name in enumerate(table.classes)
        },
    }


def _golden(opened: classify.Model) -> Array:
    """Embeddings ``(4, D)`` of the model's golden pictures."""
    seed = int((opened.artifact.golden or {}).get("seed", 0))
    pixels = model.golden_pixels(seed, opened.artifact.input_size)
    return np.concatenate([opened.embeddings(pixels[i : i + 1]) for i in range(len(pixels))])


def _classes(
    opened: classify.Model, old: Optional[heads.Head], extend: Optional[str], labelled: Dict[str, List[str]]
) -> Tuple[str, ...]:
    first: Sequence[str] = old.classes if old is not None else opened.artifact.classes if extend == "" else ()
    return tuple(dict.fromkeys([*first, *labelled]))


def _tabled(
    store: Store,
    classes: Tuple[str, ...],
    found: Sequence[collecting.Labelled],
    own: int,
    old: Optional[heads.Head],
    side: int,
    request: Request,
) -> Table:
    """Puts pictures and what an older head was learned on together; what was held out stays held out."""
    number = {name: i for i, name in enumerate(classes)}
    before = _remembered(store, old, {one.digest for one in found}, str(request.extend))
    digests = [*before, *(one.digest for one in found)]
    labels = [before[d][0] for d in before] + [number[one.label] for one in found]
    ties: List[object] = [("before", before[d][1]) for d in before]
    ties += [None] * own + list(groups.rule_ties(request.group_by, [one.name for one in found[own:]]))
    rows = np.array([store.row_of(digest) for digest in digests], np.int64)
    grouped = groups.group(digests, store.table()["thumb"][rows], side, ties)
    label = np.array(labels, np.int64)
    held = np.zeros(len(rows), bool)
    held[: len(before)] = [before[d][2] for d in before]
    learned = grouped[: len(before)][~held[: len(before)]]
    held = np.isin(grouped, grouped[held]) & ~np.isin(grouped, learned)
    new = np.flatnonzero(~np.isin(grouped, grouped[: len(before)]))
    held[new] = splitting.holdout(label[new], grouped[new], HELD_OUT, request.seed)
    alone = [c for c, k in number.items() if not (held & (label == k)).any()]
    if alone:
        say(f"note: nothing could be held out of {', '.join(alone)}: one picture, or all of one group")
    return Table(classes, rows, label, grouped, held)


def _remembered(
    store: Store, old: Optional[heads.Head], again: "set[bytes]", name: str
) -> Dict[bytes, Tuple[int, int, bool]]:
    """Label, group and whether held out of what an older head was learned on, but for pictures that are given again."""
    if old is None:
        return {}
    if old.examples is None:
        raise DeviceError(
            f"the head {name!r} does not say what it was learned on, so nothing can be added to it; learn all classes"
            " again with --data"
        )
    kept = old.examples
    every = zip(map(bytes, kept.digests), kept.labels.tolist(), kept.groups.tolist(), kept.held.tolist())
    found = {digest: (label, group, held) for digest, label, group, held in every if digest not in again}
    lost = sum(digest not in store for digest in found)
    if lost:
        others = [f"{path!r} holds some that {maker} made" for path, maker in store.made_by_others().items()]
        raise DeviceError(
            f"{lost} of the {len(kept.digests)} embeddings that {name!r} was learned on are not in {store.path!r}; name"
            f" their folder with --cache, or give those pictures again in --data{''.join(f' ({o})' for o in others)}"
        )
    return found
