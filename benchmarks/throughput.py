"""How many pictures a second a distillation trains on, by device, number of devices and batch.

    python benchmarks/throughput.py PICTURES --weights resnet20-12fca82f.th
    python benchmarks/throughput.py PICTURES --weights resnet20-12fca82f.th --device cuda --processes 1,2,4

PICTURES is a folder ``train/ val/`` of class folders with the classes of the teacher, a CIFAR ResNet. Each
configuration is the command a user types (``torchrun --nproc-per-node N -m edgexfer distill``), on the first
``--images`` pictures, for three epochs of one view: in the first the teacher works, in the others its answers are kept,
and the faster of them counts. Hours are those of 240 epochs over ``--of`` pictures. On a CPU the processes share its
cores evenly. Images a second are those of the training epochs, validation excluded; load average is stored beside.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from distill_speed import some_of
from record import header

from edgexfer.files import write_json

RESULT = Path(__file__).parent / "results" / "throughput.json"
EPOCHS = 240
PUBLISHED = (("GTX 1080", 1, 16, 48.8, 24), ("Titan X", 1, 32, 40.2, 34), ("Titan X", 2, 32, 70.8, 20),
             ("Titan X", 4, 32, 110.0, 12))  # fmt: skip
"""GPU, how many, batch, images a second, hours for 240 epochs: a lecture's table, network and pictures not told."""


def command(options: argparse.Namespace, data: Path, processes: int, batch: int, out: Path) -> list[str]:
    """What a user types."""
    run = [sys.executable, "-m", "edgexfer"]
    if processes > 1:
        run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "-m", "edgexfer"]
    taught = ["--teacher", options.teacher, "--teacher-weights", str(options.weights), "--student", options.student]
    shape = ["--image-size", str(options.image_size), "--batch-size", str(batch), "--epochs", "3", "--views", "1"]
    how = ["--precision", options.precision, "--device", options.device, "--workers", str(options.workers)]
    return [*run, "distill", str(data), *taught, *shape, *how, "--out", str(out)]


def measure(options: argparse.Namespace, data: Path, processes: int, batch: int) -> dict[str, Any]:
    """One configuration, with an empty cache."""
    threads = max(1, (os.cpu_count() or 1) // processes) if options.threads is None else options.threads
    with tempfile.TemporaryDirectory() as work:
        environment = {**os.environ, "EDGEXFER_CACHE": f"{work}/cache", "OMP_NUM_THREADS": str(threads)}
        out = Path(work) / "run"
        before = os.getloadavg()[0]
        subprocess.run(
            command(options, data, processes, batch, out),
            env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        recipe = json.loads((out / "run.json").read_text())["recipe"]
    speeds = [line["images_per_s"] for line in lines]
    return {
        "device": device_name(recipe["device"]),
        "processes": processes,
        "threads_each": threads if recipe["device"] == "cpu" else None,
        "batch": batch,
        "precision": recipe["precision"],
        "images_per_s_with_teacher": speeds[0],
        "images_per_s": max(speeds[1:]),
        "epochs_per_h": 3600 * max(speeds[1:]) / options.of,
        "hours_240_epochs": EPOCHS * options.of / max(speeds[1:]) / 3600,
        "images_per_s_by_epoch": speeds,
        "load_average_before": before,
    }


def device_name(device: str) -> str:
    """The processor or the GPU by its name."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(0)
    return str(header()["machine"]["cpu"])


def show(rows: list[dict[str, Any]], images: int) -> None:
    """The table, and the published one."""
    titles = ("device", "number", "batch", "images/s", "epochs/h", f"h for {EPOCHS}")
    print("{:44}{:>7}{:>7}{:>10}{:>10}{:>10}".format(*titles))
    for row in rows:
        print(
            f"{row['device']:44}{row['processes']:>7}{row['batch']:>7}{row['images_per_s']:>10.1f}"
            f"{row['epochs_per_h']:>10.2f}{row['hours_240_epochs']:>10.2f}"
        )
    print(f"(an epoch has {images:,} pictures) Published, another network and other pictures:")
    for name, number, batch, speed, hours in PUBLISHED:
        per_hour = EPOCHS / hours
        print(f"{name:44}{number:>7}{batch:>7}{speed:>10.1f}{per_hour:>10.2f}{hours:>10}")


def main() -> None:
    """Measures every configuration in turn; the result is written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--teacher", default="cifar-resnet20")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--student", default="tiny-darknet")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--of", type=int, default=10_000, help="pictures of an epoch in the hours")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--threads", type=int, help="of each process; an even share of the cores, if left out")
    parser.add_argument("--batch", default="64,128")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    numbers = [[int(n) for n in text.split(",")] for text in (options.processes, options.batch)]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        some_of(options.data, options.images, Path(work) / "data")
        for processes, batch in itertools.product(*numbers):
            rows.append(measure(options, Path(work) / "data", processes, batch))
            keys = ("gpu", "number", "batch", "images_per_s", "hours_240_epochs")
            value = {**header(), "student": options.student, "teacher": options.teacher, "images": options.images}
            value |= {"images_of_an_epoch": options.of, "image_size": options.image_size, "rows": rows}
            value["published"] = [dict(zip(keys, row, strict=True)) for row in PUBLISHED]
            write_json(options.out, value)
    show(rows, options.of)


if __name__ == "__main__":
    main()
