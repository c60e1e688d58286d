"""Whether, and by which loss, distillation makes a better student: accuracy and calibration over seeds.

    python benchmarks/distill_accuracy.py CIFAR10 --weights WEIGHTS --work DIR
    python benchmarks/distill_accuracy.py CIFAR10 --weights WEIGHTS --work DIR --arms hard,default --seeds 0

CIFAR10 is a folder ``train/ val/ test/`` of class folders; WEIGHTS holds the published CIFAR-10 ResNets
(``resnet20-12fca82f.th`` and its like, github.com/akamaster/pytorch_resnet_cifar10). 2,000 pictures, 200 a class, are
held out of ``train/`` and join the test; the published teachers have seen those (as they have all training pictures),
so that both parts are reported. Every arm has as many steps. Each epoch is chosen on validation, the test is looked at
once. The result is written after each run; what it holds already is not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgexfer.distill import Objective
from edgexfer.files import write_json
from edgexfer.runs import Run, read_lines
from edgexfer.training import Recipe, Silent
from edgexfer.training.scoring import Predictions
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.train import Start, Target, finetune_data

RESULT = Path(__file__).parent / "results" / "distill_accuracy.json"
HELD_OUT_A_CLASS = 200
LABELLED_A_CLASS = 200
RESAMPLES = 2_000
WEIGHT_FILES = {
    "cifar-resnet20": "resnet20-12fca82f.th",
    "cifar-resnet32": "resnet32-d509ac18.th",
    "cifar-resnet44": "resnet44-014dd654.th",
    "cifar-resnet56": "resnet56-4bfd9763.th",
    "mlperf-resnet8": "mlperf_tiny_resnet8_cifar10.pth",
}
OBJECTIVE = ("loss", "temperature", "alpha", "standardise", "ensemble", "weights_of")
THREE = ("cifar-resnet20", "cifar-resnet32", "cifar-resnet44")


@dataclass(frozen=True)
class Arm:
    """One way to teach the student.

    Attributes:
        teachers: Names of the networks; none for labels alone.
        teaching: Of an arm with teachers.
        smoothing: Label smoothing of an arm without.
        few: Whether only 2,000 pictures have a label, and the rest none.
        lr: Peak learning rate; the default if ``None``.
    """

    teachers: tuple[str, ...] = ()
    teaching: Teaching = Teaching()
    smoothing: float = 0.0
    few: bool = False
    lr: float | None = None


ONE = ("cifar-resnet20",)
KD = Objective("kd")
ARMS = {
    "hard": Arm(),
    "smoothed": Arm(smoothing=0.1),
    "default": Arm(ONE),
    "kd": Arm(ONE, Teaching(KD)),
    "few-hard": Arm(few=True),
    "few-smoothed": Arm(few=True, smoothing=0.1),
    "few-unlabelled": Arm(ONE, few=True),
    "few-unlabelled-kd": Arm(ONE, Teaching(KD), few=True),
    "three": Arm(THREE),
    "three-weighted": Arm(THREE, Teaching(ensemble="weighted")),
    "three-arithmetic": Arm(THREE, Teaching(ensemble="arithmetic")),
    "kd-T2": Arm(ONE, Teaching(Objective("kd", temperature=2.0))),
    "kd-low-lr": Arm(ONE, Teaching(KD), lr=2e-3),
    "dist": Arm(ONE, Teaching(Objective("dist"))),
    "dkd": Arm(ONE, Teaching(Objective("dkd"))),
    "hard-high-lr": Arm(lr=4e-3),
    "resnet56": Arm(("cifar-resnet56",)),
    "resnet8": Arm(("mlperf-resnet8",)),
}


def lay_out(source: Path, work: Path) -> tuple[Path, Path, Path]:
    """The pictures as links: all labelled, few labelled, and the rest of those without labels."""
    whole, few, rest = work / "data", work / "data-few", work / "unlabelled"
    for folder in sorted(path for path in (source / "train").iterdir() if path.is_dir()):
        names = sorted((path.name for path in folder.iterdir()), key=_draw)
        held, labelled, others = _cut(names, HELD_OUT_A_CLASS, LABELLED_A_CLASS)
        for root, chosen in ((whole, labelled + others), (few, labelled)):
            _link(folder, chosen, root / "train" / folder.name)
            _link(folder, held, root / "test" / folder.name, prefix="seen-")
            for split in ("val", "test"):
                there = source / split / folder.name
                _link(there, sorted(path.name for path in there.iterdir()), root / split / folder.name)
        _link(folder, others, rest, prefix=f"{folder.name}-")
    return whole, few, rest


def _draw(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _cut(names: list[str], first: int, second: int) -> tuple[list[str], list[str], list[str]]:
    return names[:first], names[first : first + second], names[first + second :]


def _link(source: Path, names: Sequence[str], target: Path, prefix: str = "") -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        link = target / f"{prefix}{name}"
        if not link.exists():
            link.symlink_to((source / name).resolve())


def run_arm(
    arm: Arm, seed: int, epochs: int, folders: tuple[Path, Path, Path], weights: Path, out: Path, student: str
) -> Run:
    """Trains one student."""
    whole, few, rest = folders
    data = DataChoice(str(few if arm.few else whole))
    target = Target(out, force=not (out / "resume").exists(), resume=(out / "resume").exists())
    wishes = {"lr": arm.lr, "seed": seed, "device": "cpu", "image_size": 32, "patience": 10_000, "batch_size": 64}
    if not arm.teachers:
        times = sum(1 for _ in rest.iterdir()) // (10 * LABELLED_A_CLASS) + 1 if arm.few else 1
        recipe = Recipe(epochs=epochs * times, label_smoothing=arm.smoothing, **wishes)  # type: ignore[arg-type]
        return finetune_data(data, Start(student), recipe, target, Silent())
    teaching = Teaching(**{**vars(arm.teaching), "unlabelled": rest if arm.few else None})
    starts = [Start(name, str(weights / WEIGHT_FILES[name])) for name in arm.teachers]
    recipe = Recipe(epochs=epochs, **wishes)  # type: ignore[arg-type]
    (result,) = distill_data(data, [Start(student)], starts, recipe, target, Silent(), teaching)
    return result.student


def scores(out: Path, run: Run) -> dict[str, Any]:
    """What is kept of a run: its figures, and which test pictures it got right, in the order of their names."""
    lines = sorted((x for x in read_lines(out / "predictions.jsonl") if x["split"] == "test"), key=lambda x: x["file"])
    seen = np.array(["seen-" in line["file"] for line in lines])
    logits = np.array([line["logits"] for line in lines], np.float32)
    labels = np.array([line["label"] for line in lines])
    right = logits.argmax(axis=1) == labels
    everything = Predictions(logits, labels)
    kept = ("lr", "epochs", "batch_size", "augment", "mixup", "views", "label_smoothing")
    return {
        "val_top1": run.scores["val_top1"],
        "test_top1": float(right.mean()),
        "test_top1_never_seen": float(right[~seen].mean()),
        "test_images": len(right),
        "test_ece": everything.ece,
        "test_nll": everything.loss,
        "best_epoch": run.scores["best_epoch"],
        "seconds": run.scores["seconds"],
        "teacher": run.scores.get("teacher"),
        "settings": {key: run.recipe["settings"][key] for key in kept},
        "objective": {key: run.recipe[key] for key in OBJECTIVE if key in run.recipe},
        "compute": {key: run.recipe[key] for key in ("precision", "channels_last")},
        "right": "".join("1" if r else "0" for r in right),
    }


def summarise(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of each arm, and its gain over the better of hard and smoothed labels with an interval."""
    by_arm: dict[str, dict[str, dict[str, Any]]] = {}
    for name, run in sorted(runs.items()):
        arm, seed = name.rsplit("/", 1)
        by_arm.setdefault(arm, {})[seed] = run
    table = {}
    for arm, members in by_arm.items():
        top1 = np.array([run["test_top1"] for run in members.values()])
        row: dict[str, Any] = {"seeds": len(members), "test_top1_mean": float(top1.mean())}
        row["test_top1_sd"] = float(top1.std(ddof=1)) if len(top1) > 1 else None
        for figure in ("test_top1_never_seen", "val_top1", "test_ece", "test_nll", "seconds"):
            row[f"{figure}_mean"] = float(np.mean([run[figure] for run in members.values()]))
        prefix = "few-" if arm.startswith("few-") else ""
        rivals = [by_arm[name] for name in (f"{prefix}hard", f"{prefix}smoothed") if name in by_arm]
        if rivals and arm not in (f"{prefix}hard", f"{prefix}smoothed"):
            better = max(rivals, key=lambda group: np.mean([run["val_top1"] for run in group.values()]))
            row |= _gain(members, better)
        table[arm] = row
    return table


def _gain(members: dict[str, dict[str, Any]], rivals: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean difference over the seeds that both have, which start from the same weights and show the same order.

    Its 95% interval comes from drawing pictures and seeds anew; from one or two seeds it covers the pictures only.
    """
    seeds = sorted(members.keys() & rivals.keys())
    if not seeds:
        return {}
    mine, theirs = (np.array([[c == "1" for c in group[s]["right"]] for s in seeds]) for group in (members, rivals))
    difference = mine.astype(np.int8) - theirs.astype(np.int8)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(seeds), len(seeds)) if len(seeds) > 2 else np.arange(len(seeds))
        drawn.append(difference[rows][:, rng.integers(0, mine.shape[1], mine.shape[1])].mean())
    low, high = np.percentile(drawn, [2.5, 97.5])
    each = [float(row.mean()) for row in difference]
    return {"gain": float(difference.mean()), "gain_95": [float(low), float(high)], "gain_by_seed": each}


def show(table: dict[str, Any]) -> None:
    """Prints the table."""
    print(f"{'arm':24}{'seeds':>6}{'test':>8}{'sd':>6}{'never seen':>12}{'ECE':>8}{'NLL':>8}   gain [95%]")
    for arm, row in table.items():
        spread = "-" if row["test_top1_sd"] is None else f"{100 * row['test_top1_sd']:.1f}"
        gain = ""
        if "gain" in row:
            gain = f"{100 * row['gain']:+.1f} [{100 * row['gain_95'][0]:+.1f}, {100 * row['gain_95'][1]:+.1f}]"
        shares = f"{row['test_top1_mean']:>8.1%}{spread:>6}{row['test_top1_never_seen_mean']:>12.1%}"
        trust = f"{row['test_ece_mean']:>8.1%}{row['test_nll_mean']:>8.3f}"
        print(f"{arm:24}{row['seeds']:>6}{shares}{trust}   {gain}")


def main() -> None:
    """Runs what is missing of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--student", default="tiny-darknet")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    folders = lay_out(options.data, options.work)
    for seed in map(int, options.seeds.split(",")):
        for name in options.arms.split(","):
            key, out = f"{name}/{seed}", options.work / "runs" / f"{name}-{seed}"
            if key in _result(options)["runs"]:
                continue
            run = run_arm(ARMS[name], seed, options.epochs, folders, options.weights, out, options.student)
            result = _result(options)  # read again: another process may have written meanwhile
            result["runs"][key] = scores(out, run)
            result["table"] = summarise(result["runs"])
            write_json(options.out, result)
            print(f"{key}: {result['runs'][key]['test_top1']:.1%}", flush=True)
    show(_result(options)["table"])


def _result(options: argparse.Namespace) -> dict[str, Any]:
    if options.out.is_file():
        value: dict[str, Any] = json.loads(options.out.read_text(encoding="utf-8"))
        return value
    return {
        "format": 1,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": "python benchmarks/distill_accuracy.py CIFAR10 --weights WEIGHTS --work DIR",
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "torch": torch.__version__,
        "student": options.student,
        "epochs": options.epochs,
        "note": "test: 501 pictures that no network has seen and 2,000 that the published teachers were trained on;"
        " the interval of a single accuracy on 2,501 pictures is +-"
        f"{100 * 1.96 * math.sqrt(0.7 * 0.3 / 2501):.1f} points",
        "runs": {},
        "table": {},
    }


if __name__ == "__main__":
    main()
