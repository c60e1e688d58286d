"""The classic on-device case: a network retrained on two new classes, at the same amount of work.

    python benchmarks/head_transfer.py FOLDER --classes daisy,tulips --weights-root WEIGHTS

Published: GoogLeNet, 415 + 394 pictures of two classes at 224 x 224, an 80/20 split, batches of 64, 500 iterations:
about 30 s on a Ryzen 7 with 8 cores, 5 minutes on a Raspberry Pi 3.

FOLDER has one folder of pictures a class; where a class has fewer pictures than the case, further ones are seeded crops
of the same, kept on the same side of the split. Each network becomes an artifact in float32 and in int8; the bundle's
own `adapt.py` then does the whole work in a fresh process: decoding, embeddings, 500 iterations of 64, accuracy. Beside
it stands a plain PyTorch loop on decoded pictures in memory that runs the whole frozen network in every iteration; a
few of its iterations are timed, in the same rounds, and multiplied. Its accuracy is that of the same 500 steps, over
draws of which pictures are held out: the very ones that `adapt.py` held out, so that differences are paired.

GoogLeNet's weights are drawn at random, so it gives timings only. The weights of the others are files in WEIGHTS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import header
from torch.nn import functional

from edgexfer import nets
from edgexfer.data.augment import to_floats
from edgexfer.device import load
from edgexfer.files import write_json
from edgexfer.runs import WEIGHTS_FILE, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import Strategy
from edgexfer.workflows.bundle import make_bundle
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.train import Start, Target, finetune_data

RESULT = Path(__file__).parent / "results" / "head_transfer.json"
COUNTS = (415, 394)
SIZE, BATCH, ITERATIONS, HELD_OUT = 224, 64, 500, 0.2
DRAWS = 5
PUBLISHED = {"Ryzen 7, 8 cores": 30.0, "Raspberry Pi 3": 300.0}
NETWORKS = {
    "googlenet": "none",
    "squeezenet1_0": "squeezenet1_0_deepcompressed_torchvision.pth",
    "mobilenet-v1-leaky-0.25": "mobilenetV1X0.25_pretrain.tar",
}
GROUP = r"([^/]+)-\d+\.jpg$"
L2 = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", required=True, help="two class folders, with a comma")
    parser.add_argument("--weights-root", type=Path, required=True)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of held-out pictures, for the accuracies")
    parser.add_argument("--naive-iterations", type=int, default=3)
    parser.add_argument("--work", type=Path, help="kept if given")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        pictures, repeated = make_pictures(options.folder, options.classes.split(","), work / "pictures")
        found = [measure(name, pictures, work / name, options) for name in options.networks.split(",")]
    write_json(options.out, result(found, repeated))
    for one in found:
        print(json.dumps({key: value for key, value in one.items() if key != "rounds"}, indent=2))


def make_pictures(folder: Path, classes: Sequence[str], out: Path) -> tuple[Path, dict[str, int]]:
    """A folder with the case's number of pictures of each class; how many of them repeat another one."""
    repeated = {}
    shutil.rmtree(out, ignore_errors=True)
    for name, count in zip(classes, COUNTS, strict=True):
        found = sorted(path for part in ("", "train", "val", "test") for path in (folder / part / name).glob("*.*"))
        if not found:
            raise SystemExit(f"no pictures of {name!r} in {str(folder)!r}")
        rng = np.random.default_rng(len(name))
        (out / name).mkdir(parents=True)
        for number in range(count):
            source = number % len(found)
            image = Image.open(found[source]).convert("RGB")
            if number >= len(found):
                width, height = image.size
                share = rng.uniform(0.8, 0.95)
                left, top = rng.uniform(0, 1 - share, 2)
                box = (left * width, top * height, (left + share) * width, (top + share) * height)
                image = image.crop(tuple(int(v) for v in box))
            image.save(out / name / f"{name}{source}-{number}.jpg", quality=92)
        repeated[name] = max(0, count - len(found))
    return out, repeated


def measure(name: str, pictures: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of one network."""
    weights = NETWORKS[name]
    start = Start(name, weights if weights == "none" else str(options.weights_root / weights))
    data = DataChoice(str(pictures), group_by=GROUP, val_split=0.1, test_split=HELD_OUT)
    run = work / "run"
    finetune_data(data, start, Recipe(image_size=SIZE), Target(run, force=True), Silent(), Strategy("head"))
    export_run(run, work / "model.onnx", ExportChoice(int8=True), Silent(), force=True)
    artifacts = [work / "model.onnx", work / "model.int8.onnx"]
    bundle = make_bundle(artifacts, data, work / "bundle", Silent(), samples=16, force=True)
    naive = Naive(run, pictures)
    compared = [compare(naive, bundle, pictures, work, seed) for seed in range(options.draws)]
    rounds: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        rounds.append(
            {
                "float32": adapt(bundle, "model.onnx", pictures, work),
                "int8": adapt(bundle, "model.int8.onnx", pictures, work),
                "naive_iteration_s": naive.seconds(options.naive_iterations),
            }
        )
        print(name, json.dumps(rounds[-1]), flush=True)
    return {
        "network": name,
        "weights": weights,
        "accuracy": accuracy_summary(compared),
        **summary(rounds),
        "draws": compared,
        "rounds": rounds,
    }


def compare(naive: Naive, bundle: Path, pictures: Path, work: Path, seed: int) -> dict[str, float]:
    """Accuracy of `adapt.py` and of the plain loop on the same held-out pictures."""
    found = {
        kind: adapt(bundle, f"model{end}", pictures, work, seed)["accuracy"]
        for kind, end in (("float32", ".onnx"), ("int8", ".int8.onnx"))
    }
    examples = load("_edgexfer_head").read(str(work / "head.npz")).examples
    held = set(map(bytes, examples.digests[examples.held]))
    return {**found, "naive": naive.accuracy(held)}


def accuracy_summary(draws: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of each over the draws, and of the paired differences to the plain loop."""
    table = {kind: np.array([draw[kind] for draw in draws]) for kind in draws[0]}
    table |= {f"{kind}_over_naive": table[kind] - table["naive"] for kind in ("float32", "int8")}
    return {
        kind: {"mean": float(values.mean()), "sd": float(values.std(ddof=1)) if len(values) > 1 else 0.0}
        for kind, values in table.items()
    }


def adapt(bundle: Path, model: str, pictures: Path, work: Path, draw: int | None = None) -> dict[str, Any]:
    """One whole process of the bundle's `adapt.py`, with an empty cache; a ``draw`` keeps the cache."""
    cache, head = work / "cache", work / "head.npz"
    if draw is None:
        shutil.rmtree(cache, ignore_errors=True)
    command = [
        sys.executable, str(bundle / "adapt.py"), "--data", str(pictures), "--out", str(head), "--force",
        "--model", str(bundle / "models" / model), "--cache", str(cache), "--solver", "minibatch",
        "--iterations", str(ITERATIONS), "--batch", str(BATCH), "--l2", str(L2), "--group-by", GROUP,
        "--seed", str(draw or 0),
    ]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    value = json.loads(done.stdout)
    return {
        "process_s": seconds,
        "features_s": value["seconds"]["pictures"],
        "head_s": value["seconds"]["head"],
        "accuracy": value["accuracy"],
        "held_out": value["held_out"],
    }


class Naive:
    """A plain PyTorch loop: the frozen network runs over 64 decoded pictures in every iteration, its head learns."""

    def __init__(self, run: Path, pictures: Path) -> None:
        found = read_run(run)
        net = nets.create(found.model, 2, weights=str(run / WEIGHTS_FILE), input_size=(SIZE, SIZE))
        nets.reset_head(net, 2)
        self.network = nets.Normalized(net, found.preprocessing).eval().requires_grad_(False)
        for parameter in nets.head_parameters(net):
            parameter.requires_grad_(True)
        files = sorted(pictures.glob("*/*.jpg"))
        self.digests = [hashlib.sha256(file.read_bytes()).digest() for file in files]
        self.labels = torch.tensor([found.classes.index(file.parent.name) for file in files])
        self.inputs = decoded(files)
        self.features: torch.Tensor | None = None

    def seconds(self, iterations: int) -> float:
        """Mean seconds of an iteration."""
        optimizer = self._optimizer()
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(0))
        started = time.perf_counter()
        for index in range(iterations):
            part = order[index * BATCH % len(order) :][:BATCH]
            loss = functional.cross_entropy(self.network(self.inputs[part]), self.labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return (time.perf_counter() - started) / iterations

    def accuracy(self, held: Set[bytes]) -> float:
        """Accuracy on the pictures with these digests after 500 such iterations on the others.

        The frozen body gives the same features each time, so they are kept; the head starts anew.
        """
        if self.features is None:
            with torch.no_grad():
                self.features = torch.cat([self.network.embed(part) for part in self.inputs.split(BATCH)])
        is_held = torch.tensor([digest in held for digest in self.digests])
        learn = torch.nonzero(~is_held).flatten()
        nets.reset_head(self.network.net, 2)
        optimizer, generator = self._optimizer(), torch.Generator().manual_seed(0)
        for _ in range(ITERATIONS):
            part = learn[torch.randint(len(learn), (BATCH,), generator=generator)]
            loss = functional.cross_entropy(self.network.classify(self.features[part]), self.labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            found = self.network.classify(self.features[is_held]).argmax(1)
        return float((found == self.labels[is_held]).double().mean())

    def _optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(nets.head_parameters(self.network.net), lr=0.01, momentum=0.9)


def decoded(files: Sequence[Path]) -> torch.Tensor:
    """Pictures at the network's size, float32 `(N, 3, H, W)` from 0 to 1."""
    size = (SIZE, SIZE)
    opened = (Image.open(file).convert("RGB").resize(size, Image.Resampling.BILINEAR) for file in files)
    return to_floats(np.stack([np.asarray(image) for image in opened]))


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, and how many times the naive loop takes."""
    naive = statistics.median(one["naive_iteration_s"] for one in rounds) * ITERATIONS
    found: dict[str, Any] = {"naive_s": naive, "naive_extrapolated": True}
    for kind in ("float32", "int8"):
        medians = {
            key: statistics.median(one[kind][key] for one in rounds)
            for key in ("process_s", "features_s", "head_s", "accuracy", "held_out")
        }
        ratios = [one["naive_iteration_s"] * ITERATIONS / one[kind]["process_s"] for one in rounds]
        found[kind] = {**medians, "naive_over_this": statistics.median(ratios)}
    return found


def result(found: Sequence[dict[str, Any]], repeated: dict[str, int]) -> dict[str, Any]:
    case = {"pictures": list(COUNTS), "repeated": repeated, "size": SIZE, "batch": BATCH, "iterations": ITERATIONS}
    return {**header(), "case": case, "published_s": PUBLISHED, "networks": list(found)}


if __name__ == "__main__":
    main()
