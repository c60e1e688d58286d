"""What a proven export takes beside a bare `torch.onnx.export` of the same network, in turns within one process.

    python benchmarks/export_time.py
    python benchmarks/export_time.py --networks tiny-darknet --rounds 9

The bare export is the usual call: dynamo, one file, the batch dynamic. edgexfer's has the fold with its proof, the
comparison with PyTorch on pictures (random ones here), the golden samples, and the reading back. One round of each goes
before, since both load much the first time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from record import header

from edgexfer import nets
from edgexfer.export.exporter import ExportRequest, Pictures, export_network
from edgexfer.files import write_json

RESULT = Path(__file__).parent / "results" / "export_time.json"
CLASSES = tuple(f"class {i}" for i in range(10))


def main() -> None:
    """Times both, prints and keeps the medians and every value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="tiny-darknet,mobilenet_v2,resnet18")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    rows = {}
    for name in options.networks.split(","):
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = measure(name, Path(folder), options.rounds, options.pictures)
        print(f"{name}: {rows[name]['ratio']:.2f} times a bare export ({rows[name]['median_s']} s)", flush=True)
    write_json(options.out, {**header(), "networks": rows})


def measure(name: str, folder: Path, rounds: int, pictures: int) -> dict[str, object]:
    """Seconds of each, in turns."""
    net, rule = nets.create(name, len(CLASSES)).eval(), nets.preprocessing_for(name)
    size = rule.input_size
    images = np.random.default_rng(0).integers(0, 256, (pictures, *size, 3), dtype=np.uint8)
    request = ExportRequest(name, CLASSES, rule, "0" * 64, force=True)

    def bare() -> None:
        shapes = ({0: torch.export.Dim("N", min=1)},)
        options = {"dynamo": True, "external_data": False, "verbose": False, "dynamic_shapes": shapes}
        torch.onnx.export(net, (torch.randn(2, 3, *size),), folder / "bare.onnx", **options)

    def proven() -> None:
        export_network(net, request, folder / "ours.onnx", pictures=Pictures(images, np.zeros(pictures, np.int64), []))

    seconds: dict[str, list[float]] = {"bare": [], "proven": []}
    for turn in range(rounds + 1):
        for key, work in (("bare", bare), ("proven", proven)):
            taken = seconds_of(work)
            if turn:
                seconds[key].append(taken)
    median_s = {key: round(statistics.median(values), 3) for key, values in seconds.items()}
    return {"ratio": median_s["proven"] / median_s["bare"], "median_s": median_s, "seconds": seconds}


def seconds_of(work: Callable[[], None]) -> float:
    """How long it takes, without its talk."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
