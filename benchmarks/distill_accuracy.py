"""Whether, and by which loss, distillation makes a better student: accuracy and calibration over seeds.

    python benchmarks/distill_accuracy.py CIFAR10 --weights WEIGHTS --work DIR
    python benchmarks/distill_accuracy.py CIFAR10 --weights WEIGHTS --work DIR --arms hard,default --seeds 0
    python benchmarks/distill_accuracy.py CIFAR10 --weights WEIGHTS --work DIR --photos PHOTOS --epochs 60 \
        --arms photo-hard,photo-smoothed,photo-default --out benchmarks/results/distill_accuracy_photos.json
    python benchmarks/distill_accuracy.py CIFAR10 --weights WEIGHTS --work DIR --epochs 60 \
        --arms hard,smoothed,hard-mixup,default-mixup,kd-mixup,dist-mixup,dkd-mixup,three-mixup \
        --out benchmarks/results/distill_accuracy_long.json

CIFAR10 is a folder ``train/ val/ test/`` of class folders; WEIGHTS holds the published CIFAR-10 ResNets
(``resnet20-12fca82f.th`` and its like, github.com/akamaster/pytorch_resnet_cifar10). 2,000 pictures, 200 a class, are
held out of ``train/`` and join the test; the published teachers have seen those (as they have all training pictures),
so that both parts are reported. Every arm has as many steps. Each epoch is chosen on validation, the test is looked at
once. PHOTOS is a folder of photographs, likewise laid out; its teacher is SqueezeNet, transferred to it from
``squeezenet1_0_deepcompressed_torchvision.pth`` with a head of its own, once for all seeds. The result is written after
each run; what it holds already is not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from distill_arms import ARMS, PHOTO_TEACHER, Arm
from record import header

from edgexfer.files import write_json
from edgexfer.runs import Run, read_lines
from edgexfer.training import Recipe, Silent
from edgexfer.training.scoring import Predictions
from edgexfer.transfer import Strategy
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.train import Start, Target, finetune_data

RESULT = Path(__file__).parent / "results" / "distill_accuracy.json"
HELD_OUT_A_CLASS = 200
PHOTO_SIZE, PHOTO_TEACHER_SIZE = 64, 128
LABELLED_A_CLASS = 200
WITHOUT_A_TEACHER = ("hard", "smoothed", "hard-mixup")
RESAMPLES = 2_000
WEIGHT_FILES = {
    "cifar-resnet20": "resnet20-12fca82f.th",
    "cifar-resnet32": "resnet32-d509ac18.th",
    "cifar-resnet44": "resnet44-014dd654.th",
    "cifar-resnet56": "resnet56-4bfd9763.th",
    "mlperf-resnet8": "mlperf_tiny_resnet8_cifar10.pth",
}
OBJECTIVE = ("loss", "temperature", "alpha", "standardise", "ensemble", "weights_of")


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


def run_arm(arm: Arm, seed: int, folders: tuple[Path, Path, Path], out: Path, options: argparse.Namespace) -> Run:
    """Trains one student."""
    whole, few, rest = folders
    data = DataChoice(str(options.photos if arm.photos else few if arm.few else whole))
    target = Target(out, force=not (out / "resume").exists(), resume=(out / "resume").exists())
    wishes: dict[str, Any] = {"lr": arm.lr, "seed": seed, "device": "cpu", "patience": 10_000, "mixup": arm.mixup}
    wishes |= {"image_size": PHOTO_SIZE if arm.photos else 32, "batch_size": 32 if arm.photos else 64}
    wishes["augment"] = arm.augment
    epochs = options.epochs
    if not arm.teachers:
        times = sum(1 for _ in rest.iterdir()) // (10 * LABELLED_A_CLASS) + 1 if arm.few else 1
        recipe = Recipe(epochs=epochs * times, label_smoothing=arm.smoothing, **wishes)
        return finetune_data(data, Start(options.student), recipe, target, Silent())
    teaching = Teaching(**{**vars(arm.teaching), "unlabelled": rest if arm.few else None})
    starts = [teacher(name, data, options) for name in arm.teachers]
    recipe = Recipe(epochs=epochs, **wishes)
    (result,) = distill_data(data, [Start(options.student)], starts, recipe, target, Silent(), teaching)
    return result.student


def teacher(name: str, data: DataChoice, options: argparse.Namespace) -> Start:
    """A published network, or the run of the one that is transferred to the photographs, made where it is missing."""
    if name != PHOTO_TEACHER:
        return Start(name, str(options.weights / WEIGHT_FILES[name]))
    out = options.work / "runs" / PHOTO_TEACHER
    start = Start("squeezenet1_0", str(options.weights / "squeezenet1_0_deepcompressed_torchvision.pth"))
    recipe = Recipe(image_size=PHOTO_TEACHER_SIZE, device="cpu")
    finetune_data(data, start, recipe, Target(out, resume=True), Silent(), Strategy("head"))
    return Start(str(out))


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
    """Mean and spread of each arm, and its gain over the best without a teacher (on validation) with an interval."""
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
        prefix = next((kind for kind in ("few-", "photo-") if arm.startswith(kind)), "")
        alone = [f"{prefix}{kind}" for kind in WITHOUT_A_TEACHER]
        rivals = [by_arm[name] for name in alone if name in by_arm]
        if rivals and arm not in alone:
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
    parser.add_argument("--photos", type=Path, help="a folder of photographs, for the arms photo-...")
    parser.add_argument("--arms", help="all, if left out (without --photos: all others)")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--student", default="tiny-darknet")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    every = [name for name, arm in ARMS.items() if options.photos is not None or not arm.photos]
    wanted = options.arms.split(",") if options.arms else every
    if not options.photos and any(ARMS[name].photos for name in wanted):
        parser.error("arms photo-... need --photos")
    folders = lay_out(options.data, options.work)
    for seed in map(int, options.seeds.split(",")):
        for name in wanted:
            key, out = f"{name}/{seed}", options.work / "runs" / f"{name}-{seed}"
            if key in _result(options)["runs"]:
                continue
            run = run_arm(ARMS[name], seed, folders, out, options)
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
        **header(),
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
