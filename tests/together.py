"""Runs a piece of work in several forked processes that join as those of torchrun do.

The store through which they find one another lives in the parent, as torchrun's does: it outlives each of them.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from edgexfer.training.ranks import Ranks, joined

LONGEST_S = 120.0


class Together:
    """``count`` processes at ``work``; their results by rank, once they have ended."""

    def __init__(self, count: int, work: Callable[[Ranks], Any]) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._store = TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
        port = self._store.port
        context = multiprocessing.get_context("fork")
        self._children = [
            context.Process(target=self._begin, args=(rank, count, port, work), daemon=True) for rank in range(count)
        ]
        for child in self._children:
            child.start()

    def _begin(self, rank: int, count: int, port: int, work: Callable[[Ranks], Any]) -> None:
        torch.set_num_threads(1)
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        os.environ |= {**{name: str(value) for name, value in names.items()}, "MASTER_ADDR": "127.0.0.1"}
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        try:
            with joined() as ranks:
                result = work(ranks)
        except Exception as error:
            result = error
        (self._folder / str(rank)).write_bytes(pickle.dumps(result))

    def kill(self, rank: int) -> None:
        """``kill -9`` of one process."""
        self._children[rank].kill()

    def ended(self, seconds: float | None = LONGEST_S) -> bool:
        """Whether all have ended within so many seconds."""
        for child in self._children:
            child.join(seconds)
        return not any(child.is_alive() for child in self._children)

    def results(self) -> list[Any]:
        """What each gave, or the error that it raised; ``None`` for one that ended without a word."""
        assert self.ended(), "the processes hang"
        files = [self._folder / str(rank) for rank in range(len(self._children))]
        found = [pickle.loads(file.read_bytes()) if file.is_file() else None for file in files]
        shutil.rmtree(self._folder)
        return found


def together(count: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What ``work`` gave in each of ``count`` processes.

    Raises:
        Exception: One of them raised it.
    """
    found = Together(count, work).results()
    for result in found:
        if isinstance(result, Exception):
            raise result
    return found
