"""How fast a student is distilled: a plain loop, torchdistill, and edgexfer with an empty and with a full cache.

    python benchmarks/distill_speed.py CIFAR10 --weights resnet56-4bfd9763.th
    python benchmarks/distill_speed.py CIFAR10 --weights resnet56-4bfd9763.th --images 2000 --epochs 4 --rounds 3

The same student (tiny-darknet at 32 x 32), teacher (CIFAR ResNet), pictures, epochs, batch, optimiser and loss (T = 4,
alpha = 0.9) for all; each runs in a process of its own, one after the other, round after round, each round with a seed
of its own. ``limit`` is the student's forward, backward and update alone, on tensors in memory, in the arithmetic that
edgexfer chose. Images a second are those of the training epochs (validation excluded); ``cpu`` counts processor
seconds, which other programs on the machine disturb less; ``reached_s`` is the time of the training epochs until the
lowest validation accuracy that any run ended with. torchdistill (pip install torchdistill) is left out where it is not
installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill_contenders import WORK
from record import header

RESULT = Path(__file__).parent / "results" / "distill_speed.json"
KINDS = ("plain", "torchdistill", "cold", "warm", "limit")


def contenders() -> Iterator[str]:
    """Those that can run here."""
    for kind in KINDS:
        if kind == "torchdistill" and importlib.util.find_spec("torchdistill") is None:
            print("torchdistill is not installed and left out", file=sys.stderr)
            continue
        yield kind


def some_of(source: Path, images: int, target: Path) -> None:
    """The first pictures of each class, as links."""
    for split in ("train", "val", "test"):
        classes = sorted(path for path in (source / split).iterdir() if path.is_dir())
        for folder in classes:
            names = sorted(folder.iterdir())[: images // len(classes) if split == "train" else None]
            (target / split / folder.name).mkdir(parents=True)
            for path in names:
                (target / split / folder.name / path.name).symlink_to(path.resolve())


def measure(kind: str, options: argparse.Namespace, seed: int, cache: Path) -> dict[str, Any]:
    """One contender in a process of its own."""
    if kind == "cold":
        shutil.rmtree(cache / "teachers", ignore_errors=True)
    command = [sys.executable, __file__, str(options.data), "--weights", str(options.weights), "--worker", kind]
    command += ["--images", str(options.images), "--epochs", str(options.epochs), "--precision", options.precision]
    command += ["--seed", str(seed)]
    environment = {**os.environ, "EDGEXFER_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def main() -> None:
    """Runs every contender in every round and writes what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16", help="of edgexfer")
    parser.add_argument("--worker", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(WORK[options.worker](options)))
        return
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as work:
        some_of(options.data, options.images, Path(work) / "data")
        options.data = Path(work) / "data"
        for seed in range(options.seed, options.seed + options.rounds):
            for kind in contenders():
                runs.setdefault(kind, []).append(measure(kind, options, seed, Path(work) / "cache"))
                print(f"{kind:14}{runs[kind][-1]['images_per_s']:8.0f} images/s", flush=True)
    write(options, runs)


def accuracies(runs: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Validation accuracy at the end, and the median time to what the least accurate run ends with."""
    taught = {kind: [run["curve"] for run in group] for kind, group in runs.items() if group[0]["curve"]}
    ends = {kind: [curve[-1][1] for curve in curves] for kind, curves in taught.items()}
    least = min(min(found) for found in ends.values())
    return {
        kind: {
            "val_top1_mean": statistics.mean(found),
            "val_top1_sd": statistics.stdev(found) if len(found) > 1 else None,
            "reached_top1": least,
            "reached_s": statistics.median(next(s for s, top1 in curve if top1 >= least) for curve in taught[kind]),
        }
        for kind, found in ends.items()
    }


def reached(row: dict[str, Any]) -> str:
    """What a contender's students know, in a few words; nothing of those that were not scored."""
    if "reached_s" not in row:
        return ""
    return f"{row['val_top1_mean']:8.1%}, {row['reached_top1']:.1%} after {row['reached_s']:.0f} s"


def write(options: argparse.Namespace, runs: dict[str, list[dict[str, Any]]]) -> None:
    """The result file, and the medians on the terminal."""
    from edgexfer.files import write_json

    medians: dict[str, dict[str, Any]] = {
        kind: {
            figure: statistics.median(run[figure] for run in group)
            for figure in ("images_per_s", "images_per_cpu_s", "wall_s", "peak_rss_bytes")
        }
        for kind, group in runs.items()
    }
    for kind, found in accuracies(runs).items():
        medians[kind] |= found
    times = {
        kind: {figure: row[figure] / medians["plain"][figure] for figure in ("images_per_s", "images_per_cpu_s")}
        for kind, row in medians.items()
    }
    value = {
        **header(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load_average": os.getloadavg(),
        "medians": medians,
        "times_plain": times,
        "runs": runs,
    }
    write_json(options.out, value)
    for kind, row in medians.items():
        print(
            f"{kind:14}{row['images_per_s']:8.0f} images/s ({times[kind]['images_per_s']:.1f}x)"
            f"{row['images_per_cpu_s']:8.0f} a processor second ({times[kind]['images_per_cpu_s']:.1f}x)"
            f"{row['peak_rss_bytes'] / 1e6:8.0f} MB"
            f"{reached(row)}"
        )


if __name__ == "__main__":
    main()
