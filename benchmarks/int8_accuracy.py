"""What int8 loses in accuracy, network by network: as exported, with everything in 8 bits, and taught with rounding.

    python benchmarks/int8_accuracy.py DATA --work DIR
    python benchmarks/int8_accuracy.py DATA --work DIR --networks tiny-darknet --epochs 2 --kinds export

DATA is whatever `edgexfer finetune` takes, with a test split of 2,000 pictures or more. Each network learns from random
weights; then three int8 files are made of it:

* `export`: as `edgexfer export --int8` makes it, with `--max-drop 1`;
* `all-8-bit`: the same with any loss allowed, so that no layer stays in float32 for accuracy's sake;
* `taught-8-bit`: of the network after further epochs with int8's rounding, its float32 self as the teacher.

`--kinds` makes some of them only. Losses are paired, on the whole test split, with 95% intervals: positive where int8
is worse than the network's float32 file (that of the untaught network, for `taught-8-bit` too). What the result file
holds already is not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import header

from edgexfer.data import View
from edgexfer.export.figures import paired_drop, top1
from edgexfer.export.judge import answers
from edgexfer.export.metadata import ArtifactInfo, read_info
from edgexfer.export.plan import read_plan
from edgexfer.files import read_json, write_json
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import is_run, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.workflows.data import DataChoice, in_batches
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.train import Start, Target, finetune_data

RESULT = Path(__file__).parent / "results" / "int8_accuracy.json"
NETWORKS = (
    "tiny-darknet", "tiny-darknet+relu", "mobilenet-v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
    "resnet18", "efficientnet_b0", "squeezenet1_1",
)  # fmt: skip
KINDS = ("export", "all-8-bit", "taught-8-bit")
ANY_LOSS = 100.0


@dataclass(frozen=True)
class Test:
    """The test pictures of a data set, as one network is fed."""

    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, view: View, preprocessing: Preprocessing) -> Test:
        """All pictures of a view."""
        return cls(np.concatenate(list(in_batches(view, preprocessing, 256))), view.labels)

    def logits(self, path: Path) -> np.ndarray:
        """What an artifact says of them ``(N, K)``."""
        info: ArtifactInfo = read_info(path)
        return answers(path.read_bytes(), self.images, info, info.target)


def main() -> None:
    """Makes what is missing of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--work", type=Path, required=True, help="for runs and files; may be used again")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--taught-epochs", type=int, default=2)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if unknown := sorted({*options.kinds.split(",")} - {*KINDS}):
        parser.error(f"there is no {unknown[0]}; there are {', '.join(KINDS)}")
    torch.set_num_threads(options.threads)
    data = DataChoice(options.data)
    for name in options.networks.split(","):
        rows = read_json(options.out, "result")["networks"] if options.out.is_file() else {}
        if name not in rows:
            rows[name] = measure(name, data, options)
            write_json(options.out, {**header(), "networks": rows})
        print(words(name, rows[name]), flush=True)


def measure(name: str, data: DataChoice, options: argparse.Namespace) -> dict[str, Any]:
    """Trains one network and scores its files."""
    folder = options.work / name
    recipe = Recipe(image_size=options.image_size, epochs=options.epochs, device="cpu")
    run = finetune_data(data, Start(name), recipe, _target(folder / "run"), Silent())
    test = data.load().test
    if test is None:
        raise SystemExit(f"{data.source!r} has no test split")
    pictures = Test.of(test, run.preprocessing)
    files = {}
    for kind in options.kinds.split(","):
        source = _taught(name, data, folder, options) if kind == "taught-8-bit" else folder / "run"
        choice = ExportChoice(int8=True, max_drop=1.0 if kind == "export" else ANY_LOSS)
        files[kind] = _export(source, folder / f"{kind}.onnx", choice)
    export_run(folder / "run", folder / "float32.onnx", ExportChoice(), Silent(), force=True)
    float32 = pictures.logits(folder / "float32.onnx")
    return {
        "images": len(pictures.labels),
        "float32_top1": top1(float32, pictures.labels),
        "int8": {kind: _row(path, made, pictures, float32) for kind, (path, made) in files.items()},
    }


def _target(out: Path) -> Target:
    return Target(out, resume=is_run(out) or (out / "resume").is_dir(), force=not is_run(out))


def _taught(name: str, data: DataChoice, folder: Path, options: argparse.Namespace) -> Path:
    run = folder / "run"
    recipe = Recipe(image_size=options.image_size, epochs=options.taught_epochs, device="cpu")
    distill_data(
        data,
        [Start(name, str(run))],
        [Start(str(run))],
        recipe,
        _target(folder / "taught"),
        Silent(),
        Teaching(quantization_aware=True, allow_weak=True),
    )
    read_run(folder / "taught")
    return folder / "taught"


def _export(run: Path, out: Path, choice: ExportChoice) -> tuple[Path, dict[str, Any]]:
    made = export_run(run, out, choice, Silent(), force=True)
    return Path(made["int8"]["artifact"]), made["int8"]


def _row(path: Path, made: dict[str, Any], pictures: Test, float32: np.ndarray) -> dict[str, Any]:
    found = pictures.logits(path)
    drop = paired_drop(float32, found, pictures.labels)
    plan = read_plan(path.with_name(path.name.replace(".int8.onnx", ".plan.json")))
    return {
        "top1": top1(found, pictures.labels),
        "points_lost": drop.points,
        "points_lost_95": list(drop.interval),
        "plan": plan.describe(),
        "speedup": made["speedup"],
        "recommended": made["recommended"],
    }


def words(name: str, row: dict[str, Any]) -> str:
    """One line a network."""
    lost = ", ".join(
        f"{kind} {made['points_lost']:+.1f} [{made['points_lost_95'][0]:+.1f}, {made['points_lost_95'][1]:+.1f}]"
        for kind, made in row["int8"].items()
    )
    return f"{name}: float32 {row['float32_top1']:.1%} of {row['images']:,}; points lost: {lost}"


if __name__ == "__main__":
    main()
