"""Several processes that train one student together: who is who, and what they tell each other.

``torchrun`` starts the processes and tells each its number (its rank). They join in a group (gloo on CPUs, NCCL on
GPUs), each computes its part of every batch, and the gradients are averaged. Process 0 alone writes files and talks.

Everything here is nothing at all in a single process: ``Ranks()`` is alone, and asks nobody.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed

from edgexfer.errors import EdgexferError, TrainingError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")
LONGEST_WAIT = datetime.timedelta(hours=3)
"""How long a process waits for another, which may be decoding all pictures meanwhile."""
FEW_A_PROCESS = 16
"""Pictures of a step below which a process spends its time on other things."""
AFTER_THE_WRITER_S = 1.0
"""What stops all alike is said by the process that talks; the others wait so long for it."""
_FAILURES = "edgexfer/failures"
_LOST = (
    "another process of this training ended before its time. If it said why, that stands above; a process that was"
    " killed, or for which memory ran out, says nothing. The same command with --resume goes on from the last"
    " checkpoint, if one was written"
)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
        local_rank: Its number on this machine.
        local_count: How many there are on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_writer(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    @property
    def are_several(self) -> bool:
        """Whether there is anybody else."""
        return self.count > 1

    def once(self, work: Callable[[], T]) -> T:
        """What ``work`` gives on the writer, on every process; it must not talk to the others itself."""
        if not self.are_several:
            return work()
        box = [work() if self.is_writer else None]
        distributed.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def first_on_each_machine(self, work: Callable[[], T]) -> T:
        """Does ``work`` on every process, on the first of each machine before the others there."""
        if self.local_rank > 0:
            self.wait()
            return work()
        value = work()
        self.wait()
        return value

    def gathered(self, value: T) -> list[T]:
        """Everybody's ``value``, by rank."""
        if not self.are_several:
            return [value]
        box: list[Any] = [None] * self.count
        distributed.all_gather_object(box, value)
        return box

    def wait(self) -> None:
        """Goes on when all processes have come here."""
        self.gathered(None)

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, number by number."""
        if not self.are_several:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        return [float(value) for value in sums]

    @torch.no_grad()
    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Puts the mean over all processes in place of each tensor; in float64, so that equal ones stay as they are."""
        if not self.are_several or not tensors:
            return
        flat = torch.cat([tensor.detach().double().cpu().flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        means = torch.split(flat / self.count, [tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.reshape(tensor.shape))


ALONE = Ranks()


def current_ranks() -> Ranks:
    """This process in the group that it has joined; alone where it has joined none."""
    if not distributed.is_available() or not distributed.is_initialized():
        return ALONE
    rank, count = distributed.get_rank(), distributed.get_world_size()
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    return Ranks(rank, count, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", count)))


def shares(ranks: Ranks, batch_size: int, *, sync_bn: bool) -> list[str]:
    """What several processes mean for a batch, in sentences for the person."""
    if not ranks.are_several:
        return ["--sync-bn: there is one process, and nothing to synchronise"] if sync_bn else []
    share = batch_size / ranks.count
    norm = "over the whole batch" if sync_bn else "over its own part (--sync-bn for the whole batch)"
    sentences = [
        f"{ranks.count} processes share each batch of {batch_size}, {share:g} pictures each; BatchNorm in each takes"
        f" its statistics {norm}"
    ]
    if share < FEW_A_PROCESS:
        sentences.append("so few keep a process badly busy: a larger --batch-size is faster, and the rate goes with it")
    return sentences


def were_started_together() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Joins the processes that ``torchrun`` started; without it, or in a group of one, nothing happens.

    Where one process fails, all end: it says why, and the others end in silence with exit code 1.

    Raises:
        TrainingError: The group cannot be joined, or another process of it has vanished without a word.
    """
    if not were_started_together():
        yield ALONE
        return
    store = _join()
    before = signal.signal(signal.SIGTERM, _told_to_end)
    try:
        yield current_ranks()
        current_ranks().wait()
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not current_ranks().is_writer and not _is_of_the_connection(error):
            time.sleep(AFTER_THE_WRITER_S)
        if not _is_first_to_fail(store):
            sys.exit(1)
        raise _as_said(error, current_ranks()) from error
    finally:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, before)
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()


def _join() -> Store:
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    # Its functions' defaults hold the group that there is when it is imported (DistributedDataParallel does so), and
    # a group that is held keeps its threads, which abort the process where they still work as the interpreter ends.
    importlib.import_module("torch.distributed.nn")
    try:
        store: Store
        store, rank, count = next(rendezvous("env://", timeout=LONGEST_WAIT))
        has_cuda = torch.cuda.is_available()
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        if has_cuda and local_rank < torch.cuda.device_count():
            torch.cuda.set_device(local_rank)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if has_cuda else "gloo",
            store=PrefixStore("edgexfer", store),
            rank=rank,
            world_size=count,
            timeout=LONGEST_WAIT,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']!r}, but the processes cannot join ({reason}); start them with"
            " torchrun --nproc-per-node N -m edgexfer ..., or unset WORLD_SIZE"
        ) from error
    return store


def _told_to_end(signum: int, frame: FrameType | None) -> None:
    raise TrainingError(_LOST)


def _is_first_to_fail(store: Store) -> bool:
    """Whether no other process has failed before; the one that hosts the store may be gone."""
    try:
        return bool(store.add(_FAILURES, 1) == 1)
    except RuntimeError:
        return True


def _as_said(error: Exception, ranks: Ranks) -> Exception:
    """The error as the person reads it: which process it came from, where that is not the one that talks."""
    if _is_of_the_connection(error):
        return TrainingError(_LOST)
    if isinstance(error, EdgexferError) and not ranks.is_writer:
        return type(error)(f"process {ranks.rank} of {ranks.count}: {error}")
    return error


def _is_of_the_connection(error: Exception) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    signs = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")
    return isinstance(error, getattr(distributed, "DistError", ())) or any(sign in str(error) for sign in signs)
