"""Which device computes, and how its results are made repeatable."""

from __future__ import annotations

import hashlib

import torch

from edgexfer.errors import TrainingError

DEVICES = ("auto", "cpu", "cuda", "mps")


def find_device(wanted: str) -> torch.device:
    """The device that ``wanted`` names; ``auto`` takes CUDA, else MPS, else the CPU.

    Raises:
        TrainingError: The device is unknown or not there.
    """
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


def seed_epoch(seed: int, epoch: int) -> None:
    """Seeds dropout and the like for one epoch, so that an epoch is the same whether or not it follows a restart."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
