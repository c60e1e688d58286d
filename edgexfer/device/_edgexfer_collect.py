"""From labelled picture files to embeddings in the store: each picture once, in parallel, and never twice.

Every worker decodes a picture and runs it alone through the one session, so that an embedding is bit for bit the one
that ``predict.py`` gets, whatever was interrupted. Large pictures are decoded one at a time, for the memory.
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import os
import threading
import unicodedata
import warnings
from dataclasses import dataclass
from typing import Any, Deque, Dict, Iterable, List, Mapping, Optional, Tuple

import _edgexfer_classify as classify
import _edgexfer_files as files
import _edgexfer_picture as picture
import numpy as np
from _edgexfer_embeddings import Stat, Store, stat_of
from _edgexfer_environment import DeviceError, say
from _edgexfer_groups import thumbnail
from _edgexfer_progress import Progress
from PIL import Image

LARGE_BYTES = 1_500_000  # a file as a camera of 6 megapixels and more makes them
_one_large_at_a_time = threading.Lock()

Array = np.ndarray[Any, Any]
Embedded = Tuple[Stat, bytes, Optional[Array], Optional[Array]]


@dataclass(frozen=True)
class Labelled:
    """A picture that was embedded.

    Attributes:
        name: Relative to the folder of classes.
        digest: Its SHA-256.
        label: The class, by name.
    """

    name: str
    digest: bytes
    label: str


def find_labelled(folder: str) -> Dict[str, List[str]]:
    """Picture files by class: each folder in ``folder`` is a class.

    Raises:
        DeviceError: There is no such folder, it holds no class folder or two of one name, or a class folder holds no
            pictures.
    """
    if not os.path.isdir(folder):
        raise DeviceError(f"there is no folder {folder!r}; --data names a folder with one folder of pictures a class")
    names = sorted((e.name for e in os.scandir(folder) if e.is_dir() and e.name[:1] != "."), key=files.natural)
    if not names:
        raise DeviceError(f"{folder!r} holds no class folders; sort the pictures into one folder a class")
    found: Dict[str, List[str]] = {}
    for name in names:
        label = unicodedata.normalize("NFC", name).strip()  # as on the workstation, whatever system wrote the folder
        if label in found:
            raise DeviceError(f"{folder!r} holds two folders of the class {label!r}; merge them, or rename one")
        found[label] = picture.find([os.path.join(folder, name)])
    return found


def collect(
    opened: classify.Model, store: Store, folder: str, labelled: Mapping[str, List[str]], workers: int
) -> Tuple[List[Labelled], List[str]]:
    """Embeds every picture that the store does not hold yet.

    Args:
        opened: The model, with one thread an inference.
        store: Takes the embeddings.
        folder: What names are relative to.
        labelled: Picture files by class.
        workers: Pictures at a time.

    Returns:
        The pictures, and the files that were left out because they cannot be read or contradict each other.

    Raises:
        DeviceError: The card is full, or not one picture of a class can be read.
    """
    paths = [(path, label) for label, found in labelled.items() for path in found]
    store.check_room(sum(store.known(path) not in store for path, _ in paths if os.path.exists(path)))
    Image.init()  # once, before the workers would
    done: List[Labelled] = []
    skipped: List[str] = []
    progress = Progress("pictures", len(paths))
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # for all workers, since it holds for the whole process
        for path, label, result in _in_order(pool, opened, store, paths, 2 * workers):
            try:
                stat, digest, thumb, embedding = result.result()
            except DeviceError as error:
                progress.end()
                say(f"left out: {error}")
                skipped.append(path)
                continue
            if digest not in store and thumb is not None and embedding is not None:
                store.add(digest, thumb, embedding)
            store.remember(path, stat, digest)
            done.append(Labelled(os.path.relpath(path, folder), digest, label))
            progress(len(done) + len(skipped))
    progress.end()
    kept, twice = _without_contradictions(done, folder)
    _check_classes(kept, labelled)
    return kept, skipped + twice


def collect_samples(opened: classify.Model, store: Store) -> List[Labelled]:
    """Embeds the labelled samples of the model's bundle, so that it can keep its own classes.

    Raises:
        DeviceError: The model lies in no bundle with samples, or they are damaged.
    """
    bundle = files.bundle_of(opened.path)
    if bundle is None or bundle.samples is None:
        raise DeviceError(
            f"--extend keeps the model's own classes with the labelled samples of its bundle; {opened.path!r} lies in"
            " no bundle with samples: make one with edgexfer bundle"
        )
    try:
        samples = np.load(bundle.samples[0], mmap_mode="r", allow_pickle=False)
        labels = np.load(bundle.samples[1], allow_pickle=False).astype(np.int64)
        own = [opened.artifact.classes[label] for label in labels]
    except (OSError, ValueError, IndexError) as error:
        raise DeviceError(f"the bundle's labelled samples are damaged ({error}); copy the bundle again") from error
    found = []
    for number, (pixels, label) in enumerate(zip(samples, own)):
        pixels = np.ascontiguousarray(pixels)
        digest = hashlib.sha256(pixels.tobytes()).digest()
        if digest not in store:
            store.add(digest, thumbnail(pixels), opened.embeddings(pixels[np.newaxis])[0])
        found.append(Labelled(f"sample {number}", digest, label))
    return found


def _in_order(
    pool: concurrent.futures.ThreadPoolExecutor,
    opened: classify.Model,
    store: Store,
    paths: Iterable[Tuple[str, str]],
    ahead: int,
) -> Iterable[Tuple[str, str, "concurrent.futures.Future[Embedded]"]]:
    """Results in the order of the paths, with at most ``ahead`` pictures on their way."""
    waiting: Deque[Tuple[str, str, "concurrent.futures.Future[Embedded]"]] = collections.deque()
    for path, label in paths:
        waiting.append((path, label, pool.submit(_embed, opened, store, path)))
        if len(waiting) >= ahead:
            yield waiting.popleft()
    yield from waiting


def _embed(opened: classify.Model, store: Store, path: str) -> Embedded:
    stat = stat_of(path)
    digest = store.known(path)
    if digest is None:
        try:
            digest = bytes.fromhex(files.sha256_file(path))
        except OSError as error:
            raise DeviceError(f"{path!r} cannot be read: {error.strerror}") from error
    if digest in store:
        return stat, digest, None, None
    if stat[0] > LARGE_BYTES:
        with _one_large_at_a_time:
            pixels = picture.read(path, opened.artifact.preprocessing)
    else:
        pixels = picture.read(path, opened.artifact.preprocessing)
    return stat, digest, thumbnail(pixels), opened.embeddings(pixels[np.newaxis])[0]


def _without_contradictions(found: List[Labelled], folder: str) -> Tuple[List[Labelled], List[str]]:
    """Each content once; what lies in two classes is left out of both."""
    labels: Dict[bytes, set[str]] = {}
    for one in found:
        labels.setdefault(one.digest, set()).add(one.label)
    kept = {one.digest: one for one in reversed(found) if len(labels[one.digest]) == 1}
    twice = [one for one in found if len(labels[one.digest]) > 1]
    for one in twice:
        say(f"left out: {one.name!r}, the same picture lies in {' and '.join(map(repr, sorted(labels[one.digest])))}")
    return list(reversed(list(kept.values()))), [os.path.join(folder, one.name) for one in twice]


def _check_classes(found: List[Labelled], labelled: Mapping[str, List[str]]) -> None:
    there = {one.label for one in found}
    empty = [name for name in labelled if name not in there]
    if empty:
        raise DeviceError(f"not one readable picture of {', '.join(empty)}; add some, or remove the folder")
