"""All strategies for a compact and a larger network, before and after transfer, over several seeds.

    python benchmarks/compact_vs_large.py --data-root DATA

Published beside it (one data set of the lecture that this project grew out of): Tiny-darknet 51.19% before and 65.02%
after transfer, ResNet-50 41.78% and 71.58%.

DATA holds the image folder `cifar10/`. Both networks are pretrained here on the six animals of `cifar10/train` (1,000
pictures each) and transferred to its four vehicles: classes that the pretraining has not seen. "Before" is the same
network from random weights on the vehicles alone (`scratch`). Selected on validation, reported on test; further test
pictures are taken out of `cifar10/train`, disjoint from what is trained on. The mechanism is that of `edgexfer study
compact-vs-large`; what differs is the scale.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from advice import ANIMALS, VEHICLES, Case, make_folder
from record import header

from edgexfer import nets
from edgexfer.files import read_json, write_json
from edgexfer.studies.compact_vs_large import PUBLISHED, pretrain, summary
from edgexfer.studies.trainings import by_strategy
from edgexfer.training import Recipe
from edgexfer.transfer import STRATEGIES
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start

RESULT = Path(__file__).parent / "results" / "compact_vs_large.json"
NETWORKS = ("tiny-darknet", "cifar-resnet20")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--per-class", type=int, default=100, help="training pictures of each vehicle")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "edgexfer-compact")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = read_json(options.out, "result")["rows"] if options.out.is_file() else []
    for model in options.networks.split(","):
        pretrained = pretrained_on_animals(model, options)
        for seed in (int(text) for text in options.seeds.split(",")):
            case = Case(f"vehicles-{options.per_class}", "", "cifar10", options.per_class, 32, VEHICLES)
            folder = options.work / f"{case.name}-{seed}"
            make_folder(case, seed, options.data_root, folder)
            for strategy in STRATEGIES:
                if any((row["network"], row["seed"], row["strategy"]) == (model, seed, strategy) for row in rows):
                    continue
                rows += measure(model, pretrained, folder, seed, strategy)
                save(rows, options)
    save(rows, options)
    for line in summary(rows):
        print(line)


def pretrained_on_animals(model: str, options: argparse.Namespace) -> Path:
    """The network on the six animals, made once."""
    run = options.work / f"{model}-animals"
    make_folder(Case("animals", "", "cifar10", 1_000, 32, ANIMALS), 0, options.data_root, options.work / "animals")
    found = pretrain(model, DataChoice(str(options.work / "animals")).load(), Recipe(image_size=32), run)
    print(f"{model} pretrained on animals: validation {found.scores['val_top1']:.1%}", flush=True)
    return run


def measure(model: str, pretrained: Path, folder: Path, seed: int, strategy: str) -> list[dict[str, Any]]:
    """One row; none where the strategy does not fit the network."""
    splits, start = DataChoice(str(folder)).load(), Start(model, str(pretrained))
    with tempfile.TemporaryDirectory() as work:
        recipe = Recipe(image_size=32, seed=seed)
        scores = by_strategy(splits, start, recipe, Path(work), lambda _: None, [strategy])[strategy]
    print(model, seed, strategy, scores, flush=True)
    if "refused" in scores:
        return []
    kept = {key: scores[key] for key in ("val_top1", "test_top1", "test_images", "parameters", "seconds")}
    return [{"network": model, "seed": seed, "strategy": strategy, **kept}]


def save(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    facts = {
        "pretraining": "six animal classes of cifar10/train, 1,000 pictures each, 32 x 32",
        "published": PUBLISHED,
        "parameters": {name: nets.about(name).parameters for name in NETWORKS},
    }
    write_json(options.out, {**header(), **facts, "rows": list(rows), "summary": summary(rows)})


if __name__ == "__main__":
    main()
