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

from edgexfer.files import write_json
from edgexfer.studies.mushrooms import by_epoch
from edgexfer.training import Recipe
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start

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
    recipe = Recipe(epochs=options.epochs, image_size=options.image_size, seed=seed)
    splits = DataChoice(str(options.folder), seed=seed).load()
    with tempfile.TemporaryDirectory() as work:
        found = by_epoch(splits, start, recipe, Path(work))
    facts = {"network": start.model, "seed": seed, "classes": len(splits.classes), "train": len(splits.train)}
    rows = []
    for name, scores in found["strategies"].items():
        if "refused" in scores:
            print(f"{start.model} {name}: {scores['refused']}", flush=True)
            continue
        epochs, tested = scores["val_top1_by_epoch"], scores["test_top1"]
        row = {**facts, "strategy": name, "fresh_head": found["fresh_head"], "val_top1_by_epoch": epochs}
        rows.append({**row, "test_top1": tested})
        told = "  ".join(f"epoch {epoch} {top1:.1%}" for epoch, top1 in epochs.items())
        tested = "-" if tested is None else f"{tested:.1%}"
        print(f"{start.model} seed {seed} {name:10}  fresh head {found['fresh_head']:.1%}  {told}  test {tested}")
    return rows


if __name__ == "__main__":
    main()
