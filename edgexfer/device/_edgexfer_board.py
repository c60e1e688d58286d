"""Which board this is, what surrounds it, and which cores suit. Standard library only; tests give ``root``."""

from __future__ import annotations

import glob
import os
import platform
import re
from typing import Any, Dict, List, Optional, Tuple

NO_LIMIT = 1 << 60  # control groups of the first version write a number close to 2^63 for it
BOARDS = (
    ("raspberry-pi-zero-2", r"Raspberry Pi Zero 2"),
    ("raspberry-pi-5", r"Raspberry Pi (Compute Module )?(5|500)\b"),
    ("raspberry-pi-4", r"Raspberry Pi (Compute Module )?(4|400)\b"),
    ("raspberry-pi-3", r"Raspberry Pi (Compute Module )?3\b"),
    ("raspberry-pi", r"Raspberry Pi"),
    ("jetson", r"Jetson|NVIDIA (Orin|Xavier|Nano)"),
)


def kind(board: Optional[str], architecture: str) -> str:
    """The board's kind: ``"raspberry-pi-4"``, ``"jetson"``, else ``"arm64"``, ``"x86-64"`` or the architecture."""
    for name, pattern in BOARDS:
        if board and re.search(pattern, board):
            return name
    return {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86-64", "amd64": "x86-64"}.get(
        architecture.lower(), architecture
    )


def cgroup(root: str = "/") -> Dict[str, Any]:
    """The limits of the control group this process lives in: ``{cpus, memory_bytes}``, ``None`` for no limit."""
    group = os.path.join(root, "sys/fs/cgroup")
    quota = read(os.path.join(group, "cpu.max")).split()
    quota = quota or [read(os.path.join(group, f"cpu/cpu.cfs_{name}_us")).strip() for name in ("quota", "period")]
    cpus = int(quota[0]) / int(quota[1]) if len(quota) == 2 and all(q.isdigit() for q in quota) else None
    memory = read(os.path.join(group, "memory.max")) or read(os.path.join(group, "memory/memory.limit_in_bytes"))
    limit = int(memory) if memory.strip().isdigit() else NO_LIMIT
    return {"cpus": cpus, "memory_bytes": limit if limit < NO_LIMIT else None}


def oom_kills(root: str = "/") -> Optional[int]:
    """How many processes the kernel has killed for memory: of this control group, else of the whole system."""
    for name, pattern in (("sys/fs/cgroup/memory.events", r"^oom_kill (\d+)"), ("proc/vmstat", r"^oom_kill (\d+)")):
        match = re.search(pattern, read(os.path.join(root, name)), re.MULTILINE)
        if match:
            return int(match.group(1))
    return None


def container(root: str = "/") -> Optional[str]:
    """``"docker"`` and the like; ``None`` on the bare system, as far as it shows."""
    if os.path.exists(os.path.join(root, ".dockerenv")):
        return "docker"
    if os.path.exists(os.path.join(root, "run/.containerenv")):
        return "podman"
    match = re.search(r"(docker|kubepods|lxc|containerd)", read(os.path.join(root, "proc/1/cgroup")))
    return match.group(1) if match else None


def pinned_cores(count: int, root: str = "/", usable: Optional[List[int]] = None) -> List[int]:
    """``count`` cores to bind a process to.

    The strongest first, one of each pair of siblings before its other, and of equals the last, since the system's own
    work gathers on the first.
    """
    if usable is None:
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count))
    ranked = sorted(usable, key=lambda core: (*_strength(core, root), -core))
    return sorted(ranked[:count])


def hypervisor(root: str = "/") -> bool:
    """Whether this is a virtual machine, whose cores may be shared with others."""
    return bool(re.search(r"^flags.*\bhypervisor\b", read(os.path.join(root, "proc/cpuinfo")), re.MULTILINE))


def thermal_zone(root: str = "/") -> Optional[str]:
    """The file that tells the processor's temperature."""
    zones = sorted(glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*")))
    zones.sort(key=lambda z: not re.search("cpu|soc|x86_pkg", read(os.path.join(z, "type"))))
    readable = [p for p in (os.path.join(z, "temp") for z in zones) if read(p).strip()]
    return readable[0] if readable else None


def read(path: str) -> str:
    """A small file's text; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def architecture() -> str:
    """``"aarch64"``, ``"x86_64"``..."""
    return platform.machine()


def _strength(core: int, root: str) -> Tuple[int, int]:
    """Which of its siblings a core is, and minus its capacity."""
    at = os.path.join(root, f"sys/devices/system/cpu/cpu{core}")
    siblings = [int(c) for c in re.findall(r"\d+", read(os.path.join(at, "topology/thread_siblings_list")))]
    capacity = read(os.path.join(at, "cpu_capacity")).strip() or read(os.path.join(at, "cpufreq/cpuinfo_max_freq"))
    rank = siblings.index(core) if core in siblings and len(siblings) < 8 else 0
    return rank, -int(capacity.strip()) if capacity.strip().isdigit() else 0
