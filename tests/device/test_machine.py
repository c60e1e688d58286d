"""What a machine tells of itself, shown in made-up folders: its board, its cores, its sensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgexfer import device

board = device.load("_edgexfer_board")
sensors = device.load("_edgexfer_sensors")


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "architecture", "kind"),
    [
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "aarch64", "raspberry-pi-3"),
        ("Raspberry Pi 4 Model B Rev 1.5", "aarch64", "raspberry-pi-4"),
        ("Raspberry Pi 400 Rev 1.0", "aarch64", "raspberry-pi-4"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "aarch64", "raspberry-pi-5"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", "raspberry-pi-5"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", "raspberry-pi-zero-2"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "aarch64", "jetson"),
        ("Radxa ROCK 5B", "aarch64", "arm64"),
        ("Dell Inc. OptiPlex", "x86_64", "x86-64"),
        (None, "riscv64", "riscv64"),
    ],
)
def test_boards_are_recognised(name: str | None, architecture: str, kind: str) -> None:
    assert board.kind(name, architecture) == kind


def test_limits_of_a_container_are_read(tmp_path: Path) -> None:
    assert board.cgroup(str(tmp_path)) == {"cpus": None, "memory_bytes": None}
    group = "sys/fs/cgroup"
    write(tmp_path, {f"{group}/cpu.max": "150000 100000\n", f"{group}/memory.max": "268435456\n", ".dockerenv": ""})
    assert board.cgroup(str(tmp_path)) == {"cpus": 1.5, "memory_bytes": 1 << 28}
    assert board.container(str(tmp_path)) == "docker"
    old = {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000", "memory/memory.limit_in_bytes": "1000"}
    write(tmp_path / "old", {f"{group}/{name}": text for name, text in old.items()})
    assert board.cgroup(str(tmp_path / "old")) == {"cpus": 0.5, "memory_bytes": 1000}
    free = {"cpu/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": "9223372036854771712"}
    write(tmp_path / "old", {f"{group}/{name}": text for name, text in free.items()})
    assert board.cgroup(str(tmp_path / "old")) == {"cpus": None, "memory_bytes": None}
    write(tmp_path, {f"{group}/memory.events": "low 0\noom 3\noom_kill 2\n"})
    assert board.oom_kills(str(tmp_path)) == 2


def test_threads_are_bound_to_the_strongest_cores_apart(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu/cpu{}"
    for core in range(4):  # two pairs of siblings
        write(tmp_path, {f"{cpu.format(core)}/topology/thread_siblings_list": f"{core % 2},{core % 2 + 2}\n"})
    assert board.pinned_cores(2, str(tmp_path), [0, 1, 2, 3]) == [0, 1]
    big = tmp_path / "big"
    for core, capacity in enumerate((400, 400, 1024, 1024)):
        write(big, {f"{cpu.format(core)}/cpu_capacity": f"{capacity}\n"})
    assert board.pinned_cores(1, str(big), [0, 1, 2, 3]) == [3]
    assert board.pinned_cores(3, str(big), [0, 1, 2, 3]) == [1, 2, 3]


def test_a_raspberry_pi_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone, cpu = "sys/class/thermal/thermal_zone0", "sys/devices/system/cpu/cpu0/cpufreq"
    files = {
        f"{zone}/type": "cpu-thermal\n",
        f"{zone}/temp": "81500\n",
        f"{cpu}/scaling_cur_freq": "1500000\n",
        f"{cpu}/cpuinfo_cur_freq": "1200000\n",
        f"{cpu}/scaling_governor": "ondemand\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        "sys/class/hwmon/hwmon1/power1_input": "3250000\n",
        "proc/meminfo": "MemTotal: 948000 kB\nMemAvailable: 50000 kB\n",
        "proc/pressure/memory": "some avg10=4.20 avg60=1.00 avg300=0.20 total=1\nfull avg10=0.00 total=0\n",
        "proc/stat": "cpu 1000 0 500 9000 0 0 0 0\n",
    }
    write(tmp_path, files)
    clock = [100.0, 0.0]  # monotonic, and by how much the system's clock is off
    monkeypatch.setattr(sensors.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sensors.time, "time", lambda: 1.7e9 + clock[0] + clock[1])
    found = sensors.Sensors(str(tmp_path))
    clock[:] = [110.0, -3600.0]
    write(tmp_path, {"proc/stat": "cpu 1600 0 500 9400 0 0 0 0\n"})
    seen = found.observe(thorough=True)
    assert (seen["temperature_c"], seen["requested_hz"], seen["clock_hz"]) == (81.5, 1.5e9, 1.2e9)
    assert seen["throttled"] == {"live": ["under-voltage", "throttled"], "sticky": ["under-voltage", "throttled"]}
    assert (seen["power_w"], seen["governor"], seen["memory_pressure"]) == (3.25, "ondemand", 4.2)
    assert seen["others_cores"] == pytest.approx(600 / os.sysconf("SC_CLK_TCK") / 10, abs=0.2)
    assert seen["clock_jump_s"] == -3600.0


def test_what_a_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    seen = sensors.Sensors(str(tmp_path)).observe()
    silent = ("temperature_c", "requested_hz", "throttled", "power_w", "memory_pressure", "others_cores")
    assert all(seen[key] is None for key in silent)
