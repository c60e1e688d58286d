"""The mushroom case's shape: many new kinds, few pictures of each, accuracy after every epoch for each strategy.

    python benchmarks/mushrooms.py FOLDER                                        # VGG-16 and AlexNet, ImageNet weights
    python benchmarks/mushrooms.py FOLDER --network squeezenet1_0=weights.pth --image-size 96

Published (Korean Institute of Information Scientists, Computing Practices, 2018): VGG-16 and AlexNet, 38 kinds, 1,288
pictures to train and 190 to test; accuracy is low at first, since the kinds are not among the old classes, and high
after about 2 epochs.

FOLDER has one folder of pictures a class, 38 in the case as published; any number works. Epoch 0 comes twice: with a
fresh head, which guesses, and, for the strategies that fit the head on frozen features first, with that head. Accuracy
is on validation, epoch by epoch; the test accuracy is that of the epoch that validation chose.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from record import header

from edgexfer.errors import EdgexferError
from edgexfer.files import write_json
from edgexfer.runs import read_lines
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import STRATEGIES, Strategy
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, finetune_data, prepare_start

RESULT = Path(__file__).parent / "results" / "mushrooms.json"
NETWORKS = ("vgg16=imagenet", "alexnet=imagenet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", action="append", help="name=weights; repeat it")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    rows = []
    for network in options.network or NETWORKS:
        model, _, weights = network.partition("=")
        for seed in (int(text) for text in options.seeds.split(",")):
            rows += measure(options, Start(model, weights or "imagenet"), seed)
    published = {"kinds": 38, "train": 1288, "test": 190, "networks": ["VGG-16", "AlexNet"], "epochs": 2}
    write_json(options.out, {**header(), "published": published, "rows": rows})


def measure(options: argparse.Namespace, start: Start, seed: int) -> list[dict[str, Any]]:
    """Every strategy on one network with one seed."""
    data = DataChoice(str(options.folder), seed=seed)
    recipe = Recipe(epochs=options.epochs, image_size=options.image_size, seed=seed)
    job = prepare_start(data.load(), start, recipe, Silent())
    fresh = job.predictions(job.new_student(), "val").top1
    facts = {"network": start.model, "seed": seed, "classes": len(job.splits.classes), "train": len(job.splits.train)}
    rows = []
    for name in STRATEGIES:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            try:
                run = finetune_data(data, start, recipe, Target(out), Silent(), Strategy(name))
            except EdgexferError as error:
                print(f"{start.model} {name}: {error}", flush=True)
                continue
            epochs = {line["epoch"]: line["val_top1"] for line in read_lines(out / "metrics.jsonl")}
        row = {**facts, "strategy": name, "fresh_head": fresh, "val_top1_by_epoch": epochs}
        row["test_top1"] = run.scores["test_top1"]
        rows.append(row)
        told = "  ".join(f"epoch {epoch} {top1:.1%}" for epoch, top1 in epochs.items())
        tested = "-" if row["test_top1"] is None else f"{row['test_top1']:.1%}"
        print(f"{start.model} seed {seed} {name:10}  fresh head {fresh:.1%}  {told}  test {tested}", flush=True)
    return rows


if __name__ == "__main__":
    main()
