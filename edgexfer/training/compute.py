"""Which device computes, in which arithmetic, and how its results are made repeatable.

Convolutions are often faster with the channels last in memory, and on processors with bfloat16 units (AVX512-BF16, AMX,
most GPUs) in bfloat16; on others both cost time. So it is measured, a few steps each, not assumed.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgexfer.data.index import cache_folder
from edgexfer.errors import TrainingError
from edgexfer.files import write_text
from edgexfer.training.ranks import ALONE, Ranks

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16")
WORTH_MEASURING = 5e12
"""Operations of a whole training from which on measuring is worth its seconds."""
MEASURED_STEPS = 4
LEAST_GAIN = 1.1
"""How many times as fast as plain float32 another way must be to be taken."""
COMPUTE_FILE = "compute.json"
_FULL = ("out of memory", "t allocate memory")
"""What PyTorch says, on any device, where memory has run out."""


@dataclass(frozen=True)
class Compute:
    """How a training computes.

    Attributes:
        precision: ``float32``, or ``bfloat16`` for what autocast deems safe in it.
        channels_last: Whether pictures and weights have their channels last in memory.
    """

    precision: str = "float32"
    channels_last: bool = False

    @property
    def name(self) -> str:
        """For a person: ``bfloat16 with channels last``."""
        return f"{self.precision} with channels last" if self.channels_last else self.precision

    def to_dict(self) -> dict[str, Any]:
        """As a run's recipe holds it."""
        return asdict(self)

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        """The context in which a step computes; nothing at all for float32."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def network(self, net: nn.Module) -> None:
        """Puts a network's weights into this memory format, in place."""
        if self.channels_last:
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, batch: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
        """A batch on the device, its pictures in this memory format."""
        here = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        if self.channels_last and here["inputs"].ndim == 4:
            here["inputs"] = here["inputs"].contiguous(memory_format=torch.channels_last)
        return here


CANDIDATES = (Compute(), Compute(channels_last=True), Compute("bfloat16", channels_last=True))


@contextlib.contextmanager
def within_memory(remedy: str = "lower --batch-size or --image-size") -> Iterator[None]:
    """Tells a full memory, of a GPU or of the machine, in one line with the remedy.

    Raises:
        TrainingError: It is full.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _FULL):
            raise
        asked = re.search(r"allocate [\d.,]+ \w+", str(error))
        more = f", where it was to {asked.group()} more" if asked else ""
        raise TrainingError(f"memory ran out{more}: {remedy}, or end what else takes memory") from error


def fastest(seconds: Mapping[Compute, float]) -> Compute:
    """The fastest way, if it is clearly faster than plain float32."""
    best = min(seconds, key=lambda compute: seconds[compute])
    return best if seconds[best] * LEAST_GAIN < seconds[Compute()] else Compute()


def seconds_a_step(
    student: nn.Module,
    step: Callable[[nn.Module, Mapping[str, torch.Tensor]], dict[str, torch.Tensor]],
    batches: Iterable[Mapping[str, torch.Tensor]],
    compute: Compute,
    device: torch.device,
    *,
    steps: int,
) -> float:
    """The least time of a step on a copy of the student that is thrown away; the first of several warms up.

    Raises:
        TrainingError: The loss depends on nothing that is trained.
    """
    trial = copy.deepcopy(student).train()
    compute.network(trial)
    taken = []
    iterator = iter(batches)
    for _ in range(steps):
        batch = next(iterator, None)
        if batch is None:
            break
        started = clock(device)
        with compute.autocast(device):
            loss = step(trial, compute.batch(batch, device))["loss"]
        if not loss.requires_grad:
            raise TrainingError("the loss does not depend on any trainable parameter; nothing can be learned")
        loss.backward()  # type: ignore[no-untyped-call]
        taken.append(clock(device) - started)
    return min(taken[1:] or taken)


def clock(device: torch.device) -> float:
    """``time.perf_counter`` in seconds, read when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def recall_compute(folder: Path, kind: str) -> Compute | None:
    """What was measured for this kind of training: by the one that is being resumed, else on this machine before."""
    for file in (folder / COMPUTE_FILE, _machine_file()):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return Compute(**json.loads(file.read_text(encoding="utf-8"))[_key(kind)])
    return None


def remember_compute(folder: Path, kind: str, compute: Compute) -> None:
    """Keeps a measured choice; a cache that cannot be written is ignored."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / COMPUTE_FILE, json.dumps({_key(kind): compute.to_dict()}))
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(_machine_file().read_text(encoding="utf-8"))
    with contextlib.suppress(OSError, TypeError):
        write_text(_machine_file(), json.dumps({**known, _key(kind): compute.to_dict()}, sort_keys=True, indent=1))


def _machine_file() -> Path:
    return Path(cache_folder()) / COMPUTE_FILE


def _key(kind: str) -> str:
    return f"{platform.node()}/torch {torch.__version__}/{torch.get_num_threads()} threads/{kind}"


def find_device(wanted: str, ranks: Ranks = ALONE) -> torch.device:
    """The device that ``wanted`` names; ``auto`` takes CUDA, else MPS, else the CPU.

    Of several processes on a machine with CUDA, each takes the device of its own number.

    Raises:
        TrainingError: The device is unknown or not there, or there are not enough of them.
    """
    device = _named_device(wanted)
    if not ranks.are_several or device.type != "cuda":
        return device
    there = torch.cuda.device_count()
    if device.index is not None or ranks.local_count > there:
        asked = f"--device {wanted} asks one device of" if device.index is not None else f"{there} CUDA devices for"
        raise TrainingError(
            f"{asked} {ranks.local_count} processes on this machine, and each needs one of its own; start torchrun"
            f" --nproc-per-node {there} with --device cuda, or pass --device cpu"
        )
    return torch.device("cuda", ranks.local_rank)


def _named_device(wanted: str) -> torch.device:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    kind = wanted.split(":", 1)[0]
    if kind not in there:
        raise TrainingError(f"no device is called {wanted!r}; allowed: {', '.join(DEVICES)}")
    if not there[kind]:
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise TrainingError(f"the device {wanted!r} is not there; this PyTorch finds: {found}")
    return torch.device(wanted)


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Seeds dropout and the like for one epoch, so that an epoch is the same whether or not it follows a restart."""
    name = f"{seed}/{epoch}" if rank == 0 else f"{seed}/{epoch}/{rank}"
    digest = hashlib.sha256(name.encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
