"""Frozen features, computed once: what a network's body says of each picture, kept on the disk and used again.

A row is kept under the identity of what made it: the body's weights, the preprocessing, the picture's content and, for
an augmented view, what drew it. New pictures cost their own pass only, an interrupted pass costs at most ``PART_ROWS``
rows, and a damaged file costs its rows. The files lie under ``$EDGEXFER_CACHE/features``, a folder a network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.data import PixelStore, View, eval_pixels
from edgexfer.data.augment import augment_batch, to_floats
from edgexfer.data.index import cache_folder
from edgexfer.errors import NetworkError
from edgexfer.files import whole_file
from edgexfer.nets import Network, Normalized, source_sha256
from edgexfer.preprocessing import Preprocessing
from edgexfer.training import Listener
from edgexfer.transfer.blocks import EMBEDDING, Place, depth_taps, places, pooled

PART_ROWS = 1024
BATCH = 64
MOST_DEPTHS = 6
VERSION = 2
"""Raised when rows computed before may be wrong: up to 1, dropout that is no layer could be on in them."""

Rows = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Varied:
    """How an augmented view of the pictures is drawn.

    Attributes:
        augment: ``light`` or ``strong``.
        mirrors: Whether a mirrored picture keeps its class.
        seed: Of the draws.
        number: Which view, from 0.
    """

    augment: str
    mirrors: bool
    seed: int
    number: int


class Extractor:
    """Gives the features of pictures under one frozen network.

    Args:
        network: The network; it is used in inference mode and left as it was.
        preprocessing: What it is fed.
        device: Where it computes.
        model: Name of the network; of a user's own, its code counts.
        with_depths: Whether features at several depths are wanted beside the embedding.
        cached: Whether rows are kept on the disk.

    Attributes:
        depths: The places whose features are given, from shallow to deep; the embedding is not among them.
    """

    def __init__(
        self,
        network: Normalized,
        preprocessing: Preprocessing,
        device: torch.device,
        *,
        model: str = "",
        with_depths: bool = False,
        cached: bool = True,
    ) -> None:
        self.depths: tuple[Place, ...] = ()
        self._network, self._preprocessing, self._device = network, preprocessing, device
        self._taps: torch.nn.Module | None = None
        if with_depths:
            with contextlib.suppress(
                NetworkError
            ):  # a network that cannot be taken apart has an embedding all the same
                self.depths = tuple(places(network.net, MOST_DEPTHS))
                self._taps = depth_taps(network.net, list(self.depths)).to(device)
        self._folder = None
        if cached:
            identity = body_digest(network.net, preprocessing, model)
            self._folder = cache_folder() / "features" / identity[:32]

    def __call__(self, view: View, store: PixelStore, listener: Listener, varied: Varied | None = None) -> Rows:
        """Features of every picture of ``view``, in its order.

        Args:
            view: The pictures.
            store: The same, decoded.
            listener: Hears how it goes.
            varied: How the pictures are varied; not at all if ``None``.

        Returns:
            ``{"embedding": (N, D), place: (N, C), ...}``, float32; the places are those of ``depths``.
        """
        columns = (EMBEDDING, *(place.name for place in self.depths)) if varied is None else (EMBEDDING,)
        keys = [_row_key(digest, i, varied) for i, digest in enumerate(view.digests)]
        known = _Known(self._folder, columns, frozenset(keys))
        missing = [i for i, key in enumerate(keys) if key not in known]
        listener.begin(f"features {view.name}", len(missing))
        try:
            for start in range(0, len(missing), PART_ROWS):
                part = missing[start : start + PART_ROWS]
                rows = self._compute(part, store, varied, columns, start, listener)
                known.add([keys[i] for i in part], rows)
        finally:
            listener.end()
        if known.problem:
            listener.warn(known.problem)
        return known.gather(keys)

    def _compute(
        self,
        indices: Sequence[int],
        store: PixelStore,
        varied: Varied | None,
        columns: Sequence[str],
        done: int,
        listener: Listener,
    ) -> Rows:
        modes = {module: module.training for module in self._network.modules()}
        self._network.eval()
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in columns}
        try:
            for start in range(0, len(indices), BATCH):
                batch = indices[start : start + BATCH]
                inputs = self._network.normalise(
                    view_pixels(store, batch, self._preprocessing, varied).to(self._device)
                )
                for name, values in zip(columns, self._values(inputs, len(columns) > 1), strict=True):
                    found[name].append(values.float().cpu().numpy())
                listener.advance(done + start + len(batch), "")
        finally:
            for module, mode in modes.items():
                module.training = mode
        return {name: np.concatenate(parts) for name, parts in found.items()}

    @torch.no_grad()
    def _values(self, inputs: torch.Tensor, with_depths: bool) -> list[torch.Tensor]:
        if self._taps is None or not with_depths:
            return [self._network.net.embed(inputs)]
        *shallow, embedding = self._taps(inputs)
        return [embedding, *(pooled(value) for value in shallow)]


def view_pixels(
    store: PixelStore, indices: Sequence[int], preprocessing: Preprocessing, varied: Varied | None
) -> torch.Tensor:
    """Some pictures of a store, plain or varied: float32 ``(N, 3, H, W)``, 0..1."""
    if varied is None:
        return to_floats(eval_pixels(store, indices, preprocessing).numpy())
    return augment_batch(
        store.take(indices),
        np.array(indices, dtype=np.int64),
        preprocessing,
        augment=varied.augment,
        mirrors=varied.mirrors,
        seed=varied.seed,
        epoch=varied.number,
    )


class _Known:
    """The rows at hand: those on the disk, and those computed now."""

    def __init__(self, folder: Path | None, columns: Sequence[str], wanted: frozenset[str]) -> None:
        self.problem = ""
        self._folder, self._columns = folder, columns
        self._parts: list[Rows] = []
        self._at: dict[str, tuple[int, int]] = {}
        for path in sorted(folder.glob("*.npz")) if folder is not None and folder.is_dir() else ():
            with contextlib.suppress(Exception):  # NumPy raises many kinds at a damaged file; its rows are made again
                self._read(path, wanted)

    def __contains__(self, key: str) -> bool:
        return key in self._at

    def add(self, keys: Sequence[str], rows: Rows) -> None:
        """Takes rows in, and keeps them on the disk where that works."""
        self._remember(keys, rows)
        if self._folder is None or self.problem:
            return
        name = hashlib.sha256("".join([*self._columns, *keys]).encode()).hexdigest()[:24]
        try:
            content: dict[str, Any] = {"keys": np.array(keys, dtype=np.str_)}
            content |= {f"column {name}": values for name, values in rows.items()}
            with whole_file(self._folder / f"{name}.npz") as part, part.open("wb") as stream:
                np.savez(stream, **content)
        except OSError as error:
            self.problem = f"features cannot be kept in {str(self._folder)!r} ({error.strerror}); they serve once"

    def gather(self, keys: Sequence[str]) -> Rows:
        """The rows of ``keys``, in their order."""
        places_ = [self._at[key] for key in keys]
        return {name: np.stack([self._parts[part][name][row] for part, row in places_]) for name in self._columns}

    def _read(self, path: Path, wanted: frozenset[str]) -> None:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            keys = [str(key) for key in found["keys"]]
            if wanted.isdisjoint(keys) or any(f"column {name}" not in found.files for name in self._columns):
                return
            rows = {name: np.array(found[f"column {name}"], np.float32) for name in self._columns}
        if all(len(values) == len(keys) and np.isfinite(values).all() for values in rows.values()):
            self._remember(keys, rows)

    def _remember(self, keys: Sequence[str], rows: Rows) -> None:
        self._parts.append(rows)
        self._at |= {key: (len(self._parts) - 1, row) for row, key in enumerate(keys)}


def body_digest(net: Network, preprocessing: Preprocessing, model: str = "") -> str:
    """SHA-256 over the body's weights by name and value, its layers, the preprocessing, and the user's own code.

    The head is left out.
    """
    code = source_sha256(model) if model else None
    digest = hashlib.sha256(f"{VERSION} {code} {json.dumps(preprocessing.to_dict(), sort_keys=True)}".encode())
    digest.update(repr([(n, m) for n, m in net.named_modules() if n and not _is_head(net, n)]).encode())
    for name, tensor in sorted(net.state_dict().items()):
        if not _is_head(net, name):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def stacked(parts: Sequence[Mapping[str, NDArray[np.float32]]], name: str = EMBEDDING) -> NDArray[np.float32]:
    """One column of several results, one below the other."""
    return np.concatenate([part[name] for part in parts])


def _is_head(net: Network, name: str) -> bool:
    return name == net.head_name or name.startswith(f"{net.head_name}.")


def _row_key(digest: str, index: int, varied: Varied | None) -> str:
    if varied is None:
        return digest
    drawn = f"{varied.augment} {varied.mirrors} {varied.seed} {varied.number} {index}"
    return hashlib.sha256(f"{digest} {drawn}".encode()).hexdigest()
