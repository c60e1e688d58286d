"""What moves while a model is measured: temperature, clock, throttling, power, other processes, memory pressure.

Standard library only. What a board does not tell is ``None``.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import time
from typing import Any, Dict, List, Optional, Tuple

from _edgexfer_board import read, thermal_zone

THROTTLE = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
STICKY_SHIFT = 16


class Sensors:
    """Reads what moves. Paths are looked up once, so that ``observe`` costs well under a millisecond."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._temperature = thermal_zone(root)
        cpufreq = os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq")
        self._requested = sorted(glob.glob(os.path.join(cpufreq, "scaling_cur_freq")))
        self._real = [p for p in sorted(glob.glob(os.path.join(cpufreq, "cpuinfo_cur_freq"))) if os.access(p, os.R_OK)]
        throttled = glob.glob(os.path.join(root, "sys/devices/platform/soc*/*firmware/get_throttled"))
        self._throttled = throttled[0] if throttled else None
        self._power = sorted(glob.glob(os.path.join(root, "sys/class/hwmon/hwmon*/power1_input")))
        self._vcgencmd = shutil.which("vcgencmd")
        self._busy = _busy(root)
        self._wall = time.time() - time.monotonic()

    def observe(self, thorough: bool = False) -> Dict[str, Any]:
        """The state now.

        Args:
            thorough: Also ask what needs a program (``vcgencmd``) or a long read; not between two inferences.
        """
        return {
            "time_s": round(time.time(), 3),
            "temperature_c": _thousandth(self._temperature),
            "requested_hz": _kilohertz(self._requested),
            "clock_hz": _kilohertz(self._real) or (self._measured_clock() if thorough else None),
            "throttled": self._throttle(thorough),
            "power_w": self._watts(thorough),
            "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "others_cores": self._others(),
            "memory_available_bytes": memory("MemAvailable", self._root),
            "memory_pressure": self._pressure(),
            "clock_jump_s": self._jump(),
            "governor": governor(self._root) if thorough else None,
        }

    def _throttle(self, thorough: bool) -> Optional[Dict[str, List[str]]]:
        text = read(self._throttled).strip() if self._throttled else ""
        if not text and thorough and self._vcgencmd:
            text = _command([self._vcgencmd, "get_throttled"]).partition("=")[2].strip()
        try:
            return throttle_bits(int(text, 16)) if text else None
        except ValueError:
            return None

    def _watts(self, thorough: bool) -> Optional[float]:
        """The board's own meter: hwmon (Jetson and others), or the sum over the Raspberry Pi 5's rails."""
        values = [int(t) for t in (read(p).strip() for p in self._power) if t.isdigit()]
        if values:
            return sum(values) / 1e6
        if not (thorough and self._vcgencmd):
            return None
        answer = _command([self._vcgencmd, "pmic_read_adc"])
        amperes = dict(re.findall(r"(\w+)_A current\(\d+\)=([0-9.]+)A", answer))
        volts = dict(re.findall(r"(\w+)_V volt\(\d+\)=([0-9.]+)V", answer))
        both = [float(amperes[rail]) * float(volts[rail]) for rail in amperes if rail in volts]
        return round(sum(both), 3) if both else None

    def _measured_clock(self) -> Optional[float]:
        if self._vcgencmd:
            answer = _command([self._vcgencmd, "measure_clock", "arm"]).partition("=")[2].strip()
            if answer.isdigit():
                return float(answer)
        clocks = re.findall(r"^cpu MHz\s*: ([0-9.]+)", read(os.path.join(self._root, "proc/cpuinfo")), re.MULTILINE)
        return max(float(c) for c in clocks) * 1e6 if clocks else None

    def _others(self) -> Optional[float]:
        """Cores that others kept busy since the last look, a hypervisor's other guests included."""
        before, self._busy = self._busy, _busy(self._root)
        if before is None or self._busy is None:
            return None
        elapsed = self._busy[0] - before[0]
        if elapsed < 0.2:
            return None
        others = (self._busy[1] - before[1]) - (self._busy[2] - before[2])
        return round(max(0.0, others / elapsed), 3)

    def _pressure(self) -> Optional[float]:
        """Share of the last ten seconds in which something waited for memory, in percent."""
        match = re.search(
            r"^some avg10=([0-9.]+)", read(os.path.join(self._root, "proc/pressure/memory")), re.MULTILINE
        )
        return float(match.group(1)) if match else None

    def _jump(self) -> float:
        """By how many seconds somebody set the system's clock since the last look."""
        before, self._wall = self._wall, time.time() - time.monotonic()
        return round(self._wall - before, 3)


def throttle_bits(value: int) -> Dict[str, List[str]]:
    """The Raspberry Pi's ``get_throttled`` in words: ``live`` now, ``sticky`` since boot."""
    return {
        "live": [word for bit, word in THROTTLE.items() if value >> bit & 1],
        "sticky": [word for bit, word in THROTTLE.items() if value >> (bit + STICKY_SHIFT) & 1],
    }


def governor(root: str = "/") -> Optional[str]:
    """The frequency governor of all cores, joined by commas where they differ; ``None`` where the system has none."""
    paths = glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    return ",".join(sorted(n for n in {read(p).strip() for p in paths} if n)) or None


def memory(key: str, root: str = "/") -> Optional[int]:
    """A line of ``/proc/meminfo`` in bytes."""
    match = re.search(rf"^{key}:\s*(\d+) kB", read(os.path.join(root, "proc/meminfo")), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _busy(root: str) -> Optional[Tuple[float, float, float]]:
    """Now, the seconds all cores were busy since boot, and those this process had."""
    match = re.match(r"cpu +(.*)", read(os.path.join(root, "proc/stat")))
    if not match:
        return None
    ticks = [int(word) for word in match.group(1).split()]
    user, nice, system, _, _, irq, soft, stolen = (ticks + [0] * 8)[:8]
    own = os.times()
    tick = os.sysconf("SC_CLK_TCK")
    return time.monotonic(), (user + nice + system + irq + soft + stolen) / tick, own.user + own.system


def _kilohertz(paths: List[str]) -> Optional[float]:
    values = [int(t) for t in (read(p).strip() for p in paths) if t.isdigit()]
    return max(values) * 1000.0 if values else None


def _thousandth(path: Optional[str]) -> Optional[float]:
    text = read(path).strip() if path else ""
    return int(text) / 1000 if text.lstrip("-").isdigit() else None


def _command(words: List[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
