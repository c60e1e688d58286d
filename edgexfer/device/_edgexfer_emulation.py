"""Tells an emulated processor from a real one. Standard library only.

qemu's user mode runs a program of another architecture on this machine's kernel: the answers are right, the times
mean nothing. Newer versions of qemu make up ``/proc/cpuinfo``, so several signs are looked for.
"""

from __future__ import annotations

import os
import platform
from typing import List

HINT = "EDGEXFER_EMULATED"
X86_WORDS = ("GenuineIntel", "AuthenticAMD", "HygonGenuine", "CentaurHauls")
ARM_WORDS = ("CPU implementer",)
X86_FILES = ("sys/devices/system/cpu/cpu0/microcode", "sys/module/intel_pstate", "sys/devices/system/cpu/microcode")


def signs(root: str = "/") -> List[str]:
    """Why this processor is taken for an emulated one; empty for a real one.

    Args:
        root: Where ``proc`` and ``sys`` are; a test gives its own.
    """
    found = []
    if os.environ.get(HINT, "0") not in ("", "0"):
        found.append(f"{HINT}={os.environ[HINT]}")
    machine = platform.machine().lower()
    info = _read(os.path.join(root, "proc/cpuinfo"))
    foreign = X86_WORDS if _is_arm(machine) else ARM_WORDS if _is_x86(machine) else ()
    found.extend(f"/proc/cpuinfo says {word!r} on {machine}" for word in foreign if word in info)
    if _is_arm(machine):
        found.extend(f"/{name} exists on {machine}" for name in X86_FILES if os.path.exists(os.path.join(root, name)))
    if "VirtualApple" in info:
        found.append("/proc/cpuinfo says 'VirtualApple': Rosetta")
    found.extend(_interpreters(root))
    return found


def _interpreters(root: str) -> List[str]:
    """A qemu as the program behind one of this process's forebears, as the kernel sees them."""
    pid = str(os.getppid())
    for _ in range(4):
        program = _link(os.path.join(root, "proc", pid, "exe"))
        if os.path.basename(program).startswith("qemu-"):
            return [f"process {pid} runs in {os.path.basename(program)}"]
        parts = _read(os.path.join(root, "proc", pid, "stat")).rpartition(")")[2].split()
        if len(parts) < 2 or parts[1] in ("0", "1"):
            break
        pid = parts[1]
    return []


def _is_arm(machine: str) -> bool:
    return machine.startswith(("aarch64", "arm"))


def _is_x86(machine: str) -> bool:
    return machine in ("x86_64", "amd64", "i686", "i386")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1 << 16)
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
