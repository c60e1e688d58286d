"""How much memory a distillation takes at 10,000 and at 100,000 pictures.

    python benchmarks/memory.py CIFAR10 --weights mlperf_tiny_resnet8_cifar10.pth

CIFAR10 is a folder ``train/ val/ test/`` of class folders. A set of N pictures is made of links to the training
pictures, each as often as it takes (a memory does not ask whether pictures are alike). Each size is one epoch of
``edgexfer distill`` in a process of its own, with an empty cache, teacher and student the same small network (the
student at 16 x 16, to be done sooner). Memory is read every 20 ms from ``/proc`` (Linux): ``anonymous`` is what it
needs, ``mapped`` are pages of files (decoded pictures, the teacher's answers, libraries), which the system takes back
when it wants them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import header

from edgexfer.files import write_json

RESULT = Path(__file__).parent / "results" / "memory.json"
EVERY_S = 0.02
FIELDS = {"RssAnon": "anonymous", "RssFile": "mapped"}


def lay_out(source: Path, images: int, target: Path) -> None:
    """A set of so many training pictures, as links."""
    for split in ("train", "val"):
        folders = sorted(path for path in (source / split).iterdir() if path.is_dir())
        for folder in folders:
            names = sorted(folder.iterdir())
            there = target / split / folder.name
            there.mkdir(parents=True)
            for number in range(images // len(folders) if split == "train" else len(names)):
                again, place = divmod(number, len(names))
                (there / f"{again}-{names[place].name}").symlink_to(names[place].resolve())


def watched(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Runs a command and gives the peaks of its memory, in bytes, and when they were, in seconds from its start."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks: dict[str, tuple[int, float]] = dict.fromkeys(FIELDS.values(), (0, 0.0))
    while process.poll() is None:
        now = time.monotonic() - started
        for name, size in memory(process.pid).items():
            peaks[name] = max(peaks[name], (size, now))
        time.sleep(EVERY_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    sizes = {f"{name}_peak_bytes": size for name, (size, _) in peaks.items()}
    return {**sizes, **{f"{name}_peak_s": at for name, (_, at) in peaks.items()}, "seconds": time.monotonic() - started}


def memory(pid: int) -> dict[str, int]:
    """What a process holds now, in bytes; nothing once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    found = dict(line.split(":", 1) for line in lines if line.partition(":")[0] in FIELDS)
    return {FIELDS[name]: int(value.split()[0]) * 1024 for name, value in found.items()}


def measure(options: argparse.Namespace, images: int) -> dict[str, Any]:
    """One size."""
    with tempfile.TemporaryDirectory() as work:
        lay_out(options.data, images, Path(work) / "data")
        command = [sys.executable, "-m", "edgexfer", "distill", f"{work}/data", "--out", f"{work}/run"]
        command += ["--teacher", options.network, "--teacher-weights", str(options.weights)]
        command += ["--student", options.network, "--image-size", "16", "--epochs", "1", "--batch-size", "128"]
        command += ["--precision", "float32"]
        return {"images": images, **watched(command, {**os.environ, "EDGEXFER_CACHE": f"{work}/cache"})}


def main() -> None:
    """Measures every size and says how much a picture adds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--network", default="mlperf-resnet8")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", default="10000,100000")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    rows = []
    for images in map(int, options.images.split(",")):
        rows.append(measure(options, images))
        print({key: round(value) for key, value in rows[-1].items()}, flush=True)
    first, last = rows[0], rows[-1]
    more = last["images"] - first["images"]
    added = (last["anonymous_peak_bytes"] - first["anonymous_peak_bytes"]) / more if more else None
    write_json(options.out, {**header(), "network": options.network, "rows": rows, "anonymous_bytes_a_picture": added})


if __name__ == "__main__":
    main()
