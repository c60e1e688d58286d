"""How often `edgexfer advise` names the strategy that measures best, over constructed cases of all four corners.

    python benchmarks/advice.py --data-root DATA                # all cases; hours on two busy cores, resumes by itself
    python benchmarks/advice.py --data-root DATA --only flowers-20 --seeds 0

DATA holds image folders `flowers5/ clothing10/ cifar10/`, torchvision's unpacked `mnist/ fashion-mnist/` and `weights/`
with the files that `WEIGHTS` names. A case is a pretrained network, a data set cut to so many pictures a class, and a
validation and a test part of its own. In each case the advice is asked first; then every strategy trains with its own
defaults, is selected on validation and scored on test.

The pretraining `own:A,B,...` is made here: tiny-darknet on the named classes of `cifar10/train`, disjoint from those of
the case.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import header

from edgexfer.data import Splits, View, load_splits
from edgexfer.errors import EdgexferError
from edgexfer.files import read_json, write_json
from edgexfer.runs import is_run
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import STRATEGIES, Strategy
from edgexfer.transfer.advise import Advice, Measurements, advice_from, measure_job
from edgexfer.transfer.measures import Interval
from edgexfer.transfer.probe import Probe
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, finetune_data, prepare_start

RESULT = Path(__file__).parent / "results" / "advice.json"
WEIGHTS = {
    "mobilenet-imagenet": ("mobilenet-v1-leaky-0.25", "mobilenetV1X0.25_pretrain.tar"),
    "resnet8-cifar10": ("mlperf-resnet8", "mlperf_tiny_resnet8_cifar10.pth"),
    "resnet20-cifar10": ("cifar-resnet20", "resnet20-12fca82f.th"),
}
VEHICLES = "airplane,automobile,ship,truck"
ANIMALS = "bird,cat,deer,dog,frog,horse"
MOST_TEST = 1_000
LEAST_VAL = 2


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: Its name.
        pretraining: Key of ``WEIGHTS``, or ``own:`` and class names of cifar10.
        data: The data set.
        per_class: Training pictures a class.
        image_size: Input side in pixels.
        classes: The classes that are used; all if empty.
    """

    name: str
    pretraining: str
    data: str
    per_class: int
    image_size: int
    classes: str = ""


CASES = (
    Case("flowers-5", "mobilenet-imagenet", "flowers5", 5, 96),
    Case("flowers-20", "mobilenet-imagenet", "flowers5", 20, 96),
    Case("flowers-200", "mobilenet-imagenet", "flowers5", 200, 96),
    Case("clothing-10", "mobilenet-imagenet", "clothing10", 10, 96),
    Case("clothing-60", "mobilenet-imagenet", "clothing10", 60, 96),
    Case("digits-10-imagenet", "mobilenet-imagenet", "digits", 10, 64),
    Case("fashion-20-imagenet", "mobilenet-imagenet", "fashion-mnist", 20, 64),
    Case("mnist-150-imagenet", "mobilenet-imagenet", "mnist", 150, 64),
    Case("fashion-200-imagenet", "mobilenet-imagenet", "fashion-mnist", 200, 64),
    Case("animals-20-from-vehicles", f"own:{VEHICLES}", "cifar10", 20, 32, ANIMALS),
    Case("animals-400-from-vehicles", f"own:{VEHICLES}", "cifar10", 400, 32, ANIMALS),
    Case("vehicles-20-from-animals", f"own:{ANIMALS}", "cifar10", 20, 32, VEHICLES),
    Case("vehicles-600-from-animals", f"own:{ANIMALS}", "cifar10", 600, 32, VEHICLES),
    Case("digits-10-from-animals", f"own:{ANIMALS}", "digits", 10, 32),
    Case("digits-100-from-animals", f"own:{ANIMALS}", "digits", 100, 32),
    Case("fashion-300-from-vehicles", f"own:{VEHICLES}", "fashion-mnist", 300, 32),
    Case("flowers-20-from-cifar10", "resnet20-cifar10", "flowers5", 20, 32),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "edgexfer-advice")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = [case for case in CASES if not options.only or case.name in options.only]
    known = read_json(options.out, "result")["cases"] if options.out.is_file() else []
    rows = {(row["name"], row["seed"]): row for row in known}
    for seed in (int(text) for text in options.seeds.split(",")):
        for case in cases:
            row = rows.setdefault((case.name, seed), {**dataclasses.asdict(case), "seed": seed, "strategies": {}})
            measure_case(case, seed, options, row, lambda: save(options, list(rows.values())))
    save(options, list(rows.values()))
    print(json.dumps(read_json(options.out, "result")["summary"], indent=2))


def measure_case(case: Case, seed: int, options: argparse.Namespace, row: dict[str, Any], keep: Any) -> None:
    """The measurements and the score of every strategy that is still missing."""
    folder = options.work / f"{case.name}-{seed}"
    make_folder(case, seed, options.data_root, folder / "data")
    start = start_of(case.pretraining, options)
    choice, recipe = DataChoice(str(folder / "data"), seed=seed), Recipe(image_size=case.image_size, seed=seed)
    if "measured" not in row:
        job = prepare_start(choice.load(), start, recipe, Silent())
        measured = measure_job(job, Silent())
        row["measured"] = advice_from(measured).to_dict()
        row["train_images"], row["test_images"] = len(job.splits.train), len(job.splits.test or ())
        keep()
    for name in STRATEGIES:
        if name in row["strategies"]:
            continue
        started = time.perf_counter()
        try:
            run = finetune_data(choice, start, recipe, Target(folder / name, force=True), Silent(), Strategy(name))
            scores = {key: run.scores[key] for key in ("val_top1", "test_top1", "best_epoch")}
            row["strategies"][name] = {**scores, "seconds": time.perf_counter() - started}
        except EdgexferError as error:
            row["strategies"][name] = {"refused": str(error)}
        print(case.name, seed, name, row["strategies"][name], flush=True)
        keep()


def start_of(pretraining: str, options: argparse.Namespace) -> Start:
    """The pretrained network; one's own is trained once and kept in the work folder."""
    if not pretraining.startswith("own:"):
        model, file = WEIGHTS[pretraining]
        return Start(model, str(options.data_root / "weights" / file))
    classes = pretraining.removeprefix("own:")
    run = options.work / ("pretrained-" + classes.replace(",", "-"))
    if not is_run(run):
        case = Case("pretraining", "", "cifar10", 1_000, 32, classes)
        make_folder(case, 0, options.data_root, options.work / f"{run.name}-data")
        data = DataChoice(str(options.work / f"{run.name}-data"))
        target = Target(run, force=True)
        done = finetune_data(data, Start("tiny-darknet"), Recipe(image_size=32), target, Silent(), Strategy("scratch"))
        print("pretrained tiny-darknet on", classes, done.scores["test_top1"], flush=True)
    return Start("tiny-darknet", str(run))


def make_folder(case: Case, seed: int, root: Path, folder: Path) -> None:
    """`train/ val/ test/` of class folders with the pictures of the case, drawn by its seed; made once."""
    if (folder / "done").is_file():
        return
    splits = open_set(case.data, root)
    names = case.classes.split(",") if case.classes else list(splits.classes)
    rng = np.random.default_rng(seed)
    val_count = max(LEAST_VAL, case.per_class // 4)
    others = [view for view in (splits.val, splits.test) if view is not None]
    for name in names:
        label = splits.classes.index(name)
        pool = [(splits.train, int(i)) for i in rng.permutation(np.flatnonzero(splits.train.labels == label))]
        held = [(view, int(i)) for view in others for i in rng.permutation(np.flatnonzero(view.labels == label))]
        train, val = pool[: case.per_class], pool[case.per_class : case.per_class + val_count]
        if len(val) < val_count:
            val, held = held[:val_count], held[val_count:]
        if case.data == "cifar10":  # its test part is small; what is left of train/ serves as well
            held += pool[case.per_class + val_count :]
        write(train, folder / "train" / name)
        write(val, folder / "val" / name)
        write(held[: MOST_TEST // len(names)], folder / "test" / name)
    (folder / "done").touch()


def open_set(name: str, root: Path) -> Splits:
    if name == "digits":
        return load_splits("digits")
    if (root / name / "train").is_dir():
        return load_splits(str(root / name))
    return load_splits(name, data_root=str(root))


def write(pictures: list[tuple[View, int]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (view, index) in enumerate(pictures):
        view.read(index).save(folder / f"{number}.png")


def summary_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How often the advice, by the rule as it is now, was best, and what it cost where it was not."""
    hits, losses, ties, always = [], [], [], {name: [] for name in STRATEGIES}
    for row in rows:
        scores = {k: v["test_top1"] for k, v in row["strategies"].items() if "test_top1" in v}
        advised = advised_now(row["measured"]).strategy
        if len(row["strategies"]) < len(STRATEGIES) or advised not in scores:
            continue
        row["advised"] = advised
        best = max(scores.values())
        loss = best - scores[advised]
        error = (2 * best * (1 - best) / max(1, row["test_images"])) ** 0.5
        hits.append(loss == 0)
        ties.append(loss <= error)
        losses.append(loss)
        for name in STRATEGIES:
            always[name].append(best - scores.get(name, 0.0))
    if not hits:
        return {}
    return {
        "cases": len(hits),
        "best_named": int(np.sum(hits)),
        "best_named_or_within_one_standard_error": int(np.sum(ties)),
        "mean_accuracy_lost": float(np.mean(losses)),
        "largest_accuracy_lost": float(np.max(losses)),
        "mean_accuracy_lost_by_always": {name: float(np.mean(lost)) for name, lost in always.items()},
        "note": "the rule was fitted to the cases of seed 0",
    }


def advised_now(measured: dict[str, Any]) -> Advice:
    """The advice that the stored measurements get from the rule as it is now."""
    return advice_from(
        Measurements(
            measured["images"], measured["classes"], measured["images_per_class"], measured["rarest_class_images"],
            measured["chance"], Interval(measured["probe_top1"], *measured["probe_top1_interval"]),
            Interval(measured["knn_top1"], *measured["knn_top1_interval"]), measured["logme"], measured["h_score"],
            tuple(Probe(**probe) for probe in measured["probe_by_depth"]), measured["per_class"],
        )
    )  # fmt: skip


def save(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    write_json(options.out, {**header(), "cases": rows, "summary": summary_of(rows)})


if __name__ == "__main__":
    main()
