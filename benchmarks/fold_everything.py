"""Folds every classification network of torchvision and writes what was folded, what stayed, why, and the errors.

    python benchmarks/fold_everything.py                    # all of them: about ten minutes on two cores
    python benchmarks/fold_everything.py resnet18 densenet121
    python benchmarks/fold_everything.py --peers            # beside other tools (fold_peers.py): half an hour

BatchNorm statistics, gamma (a third of them negative) and beta are drawn at random, since those of a fresh network (0
and 1) would hide most mistakes. Weights are drawn too; no download. Networks without BatchNorm are listed as such.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import importlib.metadata
import re
import sys
import time
from pathlib import Path
from typing import Any

import torch
from fold_peers import LARGEST_PARAMETERS, compare, hard_cases
from record import header
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgexfer.errors import EdgexferError
from edgexfer.files import write_json
from edgexfer.fold import fold_batchnorm
from edgexfer.torchvision_import import import_torchvision

RESULT = Path(__file__).parent / "results" / "fold_everything.json"
SMALLEST = {"inception_v3": 96, "maxvit_t": 224}  # what the structure needs; all others take the size asked for
WITHOUT_AUXILIARY_HEADS: dict[str, dict[str, bool]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}


def randomise(net: nn.Module, seed: int) -> None:
    """Gives each BatchNorm a gamma, beta, mean and variance far from 1, 0, 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                signs = torch.where(torch.rand(module.num_features, generator=generator) < 1 / 3, -1.0, 1.0)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator).mul_(signs)
                    module.bias.normal_(0, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.4, 2.0, generator=generator)


def has_batchnorm(name: str, models: Any) -> bool:
    """Whether a network has any BatchNorm, found without giving it memory."""
    try:
        with torch.device("meta"):
            net = models.get_model(name, weights=None, **WITHOUT_AUXILIARY_HEADS.get(name, {}))
    except NotImplementedError:  # RegNets compute their widths with tensors
        return True
    return any(isinstance(module, _BatchNorm) for module in net.modules())


def fold_one(name: str, models: Any, options: argparse.Namespace) -> dict[str, Any] | None:
    """Folds one network; its row of the table, or ``None`` for one that is larger than asked for."""
    size, seed = max(options.size, SMALLEST.get(name, 0)), options.seed
    torch.manual_seed(seed)
    net = models.get_model(name, weights=None, **WITHOUT_AUXILIARY_HEADS.get(name, {})).eval()
    randomise(net, seed)
    row: dict[str, Any] = {"name": name, "size": size, "parameters": sum(p.numel() for p in net.parameters())}
    if row["parameters"] > options.max_parameters:
        return None
    x = torch.randn(2, 3, size, size)
    start = time.perf_counter()
    try:
        folded = fold_batchnorm(net, x)
        seconds = time.perf_counter() - start
    except EdgexferError as error:
        return row | {"error": str(error)}
    reasons = collections.Counter(re.sub(r"'[^']*'", "'...'", kept.reason) for kept in folded.plan.kept)
    row |= {"peers": compare(net, x)} if options.peers and row["parameters"] <= LARGEST_PARAMETERS else {}
    return row | {
        "folded": folded.plan.folded,
        "total": folded.plan.total,
        "kept": [{"name": kept.name, "reason": kept.reason} for kept in folded.plan.kept],
        "kept_reasons": dict(reasons.most_common()),
        "max_rel_error_f64": folded.proof.max_rel_error_f64,
        "max_rel_error_f32": folded.proof.max_rel_error_f32,
        "layers_compared": len(folded.proof.layers),
        "images": folded.proof.images,
        "seconds": round(seconds, 2),
    }


def print_peers(rows: dict[str, dict[str, Any]]) -> None:
    """One line: what each tool left, and where it is wrong or failed."""
    told = []
    for name, row in rows.items():
        left = "failed" if "failed" in row else f"{row['left']} left" + (" WRONG" if row["wrong"] else "")
        told.append(f"{name} {left}")
    if told:
        print(" " * 23 + ", ".join(told), flush=True)


def hard_ones(seed: int) -> list[dict[str, Any]]:
    """The small networks on which folding goes wrong easily, with every tool."""
    rows = []
    for name, net in hard_cases().items():
        torch.manual_seed(seed)
        randomise(net.eval(), seed)
        total = sum(isinstance(module, _BatchNorm) for module in net.modules())
        x = torch.randn(2, 3, 64, 64)
        folded = fold_batchnorm(net, x)
        kept = [kept.reason for kept in folded.plan.kept]
        own = {
            "edgexfer on the network": {"left": len(kept), "rel_error": folded.proof.max_rel_error_f32, "wrong": False}
        }
        rows.append({"name": name, "total": total, "kept_reasons": kept, "peers": own | compare(net, x)})
        print(f"{name}: {total} BatchNorm, edgexfer left {len(kept)} {kept}", flush=True)
        print_peers(rows[-1]["peers"])
    return rows


def peer_versions() -> dict[str, str]:
    """Versions of the tools, those that are not installed left out."""
    found = {}
    for name in ("onnx", "onnxscript", "onnxruntime", "onnxslim"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def main() -> int:
    """Folds, prints a line a network, writes the result; 1 if a network failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks (default: all)")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-parameters", type=float, default=7e8, help="leave out larger networks")
    parser.add_argument("--peers", action="store_true", help="compare with other tools, and on small hard cases")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torchvision = import_torchvision()
    models = torchvision.models
    result: dict[str, Any] = {
        **header(torchvision=torchvision.__version__),
        "seed": options.seed,
        "networks": [],
        "without_batchnorm": [],
    }
    if options.peers:
        result["hard_cases"] = hard_ones(options.seed)
        result["machine"] |= peer_versions()
    for name in options.names or models.list_models(module=models):
        if not has_batchnorm(name, models):
            result["without_batchnorm"].append(name)
            continue
        row = fold_one(name, models, options)
        if row is not None:
            result["networks"].append(row)
            print_row(row)
        write_json(options.out, result)  # after each network: an interrupted run leaves what it has
        gc.collect()
    write_json(options.out, result)
    return int(any("error" in row for row in result["networks"]))


def print_row(row: dict[str, Any]) -> None:
    """The line of a network."""
    if "error" in row:
        print(f"{row['name']:22} FAILED: {row['error']}", flush=True)
        return
    print(
        f"{row['name']:22} {row['folded']:3} of {row['total']:3}  float64 {row['max_rel_error_f64']:.1e}  "
        f"float32 {row['max_rel_error_f32']:.1e}  {row['seconds']:6.1f} s  {row['kept_reasons'] or ''}",
        flush=True,
    )
    print_peers(row.get("peers", {}))


if __name__ == "__main__":
    sys.exit(main())
