"""Exports every classification network of torchvision and compares each file with PyTorch on real pictures.

    python benchmarks/export_everything.py DATA                      # all of them: most of an hour of one core
    python benchmarks/export_everything.py DATA resnet18 swin_t
    python benchmarks/export_everything.py DATA --size 224

DATA is whatever `edgexfer finetune` takes; 24 of its held-out pictures are used, 12 by the export's own comparison and
12 by the one made here, in batches of 1, 3 and 8. They are 64 x 64 pixels, or the nearest size that the network's
structure can take (`--size`; the usual sizes would take some ten times as long). Weights are drawn at random, and so is
whatever would hide a mistake as a fresh network has it: BatchNorm's statistics, scales of one or nearly nothing, biases
and heads of zero. No download.

Each network is exported twice as `edgexfer export` does it, BatchNorm folded: in the usual form, and for the oldest
ONNX Runtime that edgexfer writes for. Both times the file is read again, and has to hold its class names, its
preprocessing, opset and IR version, and to give PyTorch's answers in ONNX Runtime. What PyTorch's exporter makes of the
network, which is the same for both forms, is made once. A network that is refused is a row with the reason.

Every network has a process of its own, so that memory is given back; times are seconds of the processor, so that other
work on the machine does not count. The result is written after each, the network with the fewest operations first, and
what it holds already is not made again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from fold_everything import randomise
from record import header
from torch import nn

from edgexfer import nets
from edgexfer.data import View
from edgexfer.errors import EdgexferError, ExportError
from edgexfer.export import exporter
from edgexfer.export.exporter import ExportRequest, ExportResult, Pictures, export_network
from edgexfer.export.metadata import KEY
from edgexfer.export.runtime import cuts
from edgexfer.export.targets import RUNTIMES, Form, form_for
from edgexfer.files import read_json, write_json
from edgexfer.nets.network import Network
from edgexfer.nets.table import TABLE
from edgexfer.preprocessing import Preprocessing
from edgexfer.torchvision_import import import_torchvision
from edgexfer.workflows.data import DataChoice, held_out, in_batches, spread_sample

RESULT = Path(__file__).parent / "results" / "export_everything.json"
PICTURES = 12  # one, three and eight
OLD_RUNTIMES = [".".join(map(str, version)) for version in sorted(RUNTIMES)]


class WrongFileError(Exception):
    """A file that is not what was asked for."""


@dataclass(frozen=True)
class Case:
    """A network and the pictures it is asked about."""

    net: Network
    request: ExportRequest
    told: Pictures
    asked: np.ndarray

    @functools.cached_property
    def answers(self) -> np.ndarray:
        """PyTorch's logits ``(12, K)``, in batches of 1, 3 and 8, of pixels normalised by the textbook formula."""
        rule = self.request.preprocessing
        x = torch.from_numpy(self.asked).permute(0, 3, 1, 2).float() / 255
        x = (x - torch.tensor(rule.mean).view(3, 1, 1)) / torch.tensor(rule.std).view(3, 1, 1)
        with torch.no_grad():
            return np.concatenate([self.net(x[cut]).numpy() for cut in cuts(PICTURES)])


def liven(net: nn.Module, seed: int) -> None:
    """Draws whatever a fresh network has as a single value: scales of one or nearly nothing, biases of zero."""
    randomise(net, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.min() == parameter.max() == 0:
                parameter.normal_(0, 0.05, generator=generator)
            elif parameter.min() == parameter.max():
                parameter.uniform_(0.5, 1.5, generator=generator)


def case(name: str, classes: tuple[str, ...], view: View, options: argparse.Namespace) -> Case:
    """The network, livened, and pictures at its size."""
    size = nets.nearest_input_size(name, options.size)
    rule = nets.preprocessing_for(name, size)
    net = nets.create(name, len(classes), input_size=(size, size), seed=options.seed).eval()
    nets.reset_head(net, len(classes), options.seed)  # a ViT's is zero
    liven(net, options.seed)
    images = next(in_batches(view, rule, 2 * PICTURES))
    told = Pictures(images[::2], view.labels[::2])
    return Case(net, ExportRequest(name, classes, rule, "0" * 64), told, images[1::2])


@contextlib.contextmanager
def one_graph() -> Iterator[None]:
    """What PyTorch's exporter makes of the folded network is made once for all exports inside."""
    right, made = exporter.to_onnx, list[onnx.ModelProto]()

    def remembered(net: nn.Module, preprocessing: Preprocessing, kind: str = "uint8") -> onnx.ModelProto:
        if not made:
            made.append(right(net, preprocessing, kind))
        model = onnx.ModelProto()
        model.CopyFrom(made[0])
        return model

    exporter.to_onnx = remembered
    try:
        yield
    finally:
        exporter.to_onnx = right


def export_forms(case: Case) -> dict[str, Any]:
    """Exports as usual and for the oldest runtime that is not refused, and looks at what was written.

    Raises:
        EdgexferError: The network cannot be exported at all.
        WrongFileError: A file is not what was asked for.
    """
    with one_graph(), tempfile.TemporaryDirectory() as folder:
        out, refused = Path(folder) / "network.onnx", dict[str, str]()
        found = {"usual": export(case, None, out)}
        for runtime in OLD_RUNTIMES:
            try:
                found["oldest"] = export(case, runtime, out)
                break
            except ExportError as error:
                refused[runtime] = str(error)
        return found | {"refused": refused}


def export(case: Case, runtime: str | None, out: Path) -> dict[str, Any]:
    """Exports in one form, and says what was written."""
    start = time.process_time()
    request = replace(case.request, runtime_version=runtime, force=True)
    result = export_network(case.net, request, out, pictures=case.told)
    cpu_s = time.process_time() - start
    check_file(result, form_for(runtime), case)
    return {
        "runtime": runtime or OLD_RUNTIMES[-1],
        "opset": form_for(runtime).opset,
        "ir_version": form_for(runtime).ir_version,
        "cpu_s": round(cpu_s, 2),
        "size_bytes": out.stat().st_size,
        "batchnorm_folded": result.info.batchnorm_folded,
        "batchnorm_kept": len(result.info.batchnorm_kept),
        "batches": compared(out, case),
    }


def compared(path: Path, case: Case) -> dict[str, Any]:
    """How far ONNX Runtime is from PyTorch, at each batch size."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = {}
    for cut in cuts(PICTURES):
        logits, wanted = session.run(["logits"], {"image": case.asked[cut]})[0], case.answers[cut]
        found[str(len(wanted))] = {
            "max_rel_error": float(np.abs(logits - wanted).max() / np.abs(wanted).max()),
            "top1_agreement": float((logits.argmax(1) == wanted.argmax(1)).mean()),
        }
    return found


def check_file(result: ExportResult, form: Form, case: Case) -> None:
    """Reads what was written without a function of ours.

    Raises:
        WrongFileError: It is not what was asked for.
    """
    model, request = onnx.load(result.artifact), case.request
    onnx.checker.check_model(model, full_check=True)
    carried = json.loads(next(entry.value for entry in model.metadata_props if entry.key == KEY))
    kept = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    shape = [d.dim_value or d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim]
    wanted = {
        "opset": ([form.opset], [entry.version for entry in model.opset_import]),
        "IR version": (form.ir_version, model.ir_version),
        "class names": (list(request.classes), carried["classes"]),
        "preprocessing": (request.preprocessing.to_dict(), carried["preprocessing"]),
        "BatchNorms kept": (len(carried["batchnorm"]["kept"]), len(kept)),
        "input": (["N", *request.preprocessing.input_size, 3], shape),
    }
    wrong = [f"{what} is {found!r}, not {asked!r}" for what, (asked, found) in wanted.items() if found != asked]
    if wrong:
        raise WrongFileError("; ".join(wrong))


def row_of(name: str, classes: tuple[str, ...], view: View, options: argparse.Namespace) -> dict[str, Any]:
    """The row of a network."""
    torch.set_num_threads(options.threads)
    made = case(name, classes, view, options)
    row: dict[str, Any] = {
        "name": name,
        "size": made.request.preprocessing.input_size[0],
        "parameters": sum(p.numel() for p in made.net.parameters()),
    }
    start = time.process_time()
    try:
        row |= export_forms(made)
    except (EdgexferError, WrongFileError) as error:
        row |= {"error": f"{type(error).__name__}: {error}", "cpu_s": round(time.process_time() - start, 2)}
    return row | {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def warm_up() -> None:
    """Loads what every export needs, so that the processes to come have it."""
    net = nets.create("mnasnet0_5", 2, input_size=(32, 32)).eval()
    exporter.to_onnx(net, nets.preprocessing_for("mnasnet0_5", 32))


def apart(name: str, *arguments: Any) -> dict[str, Any]:
    """``row_of`` in a process of its own, so that its memory is given back."""
    context = multiprocessing.get_context("fork")  # what is imported already is not imported again
    receiver, sender = context.Pipe(duplex=False)

    def work(sender: Connection) -> None:
        sender.send(row_of(name, *arguments))

    process = context.Process(target=work, args=(sender,))
    process.start()
    sender.close()
    try:
        row: dict[str, Any] = receiver.recv()
    except EOFError:
        row = {"name": name, "error": "its process ended without an answer"}
    process.join()
    return row


def main() -> int:
    """Makes the rows that are missing, prints each and the sum; 1 if a network failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("names", nargs="*", help="networks (default: all)")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torchvision = import_torchvision()
    warm_up()
    splits = DataChoice(options.data).load()
    view = spread_sample(held_out(splits), 2 * PICTURES)
    rows = {row["name"]: row for row in read_json(options.out, "result")["networks"]} if options.out.is_file() else {}
    versions = {module.__name__: module.__version__ for module in (torchvision, onnx, onnxruntime)}
    names = options.names or torchvision.models.list_models(module=torchvision.models)
    for name in sorted(names, key=lambda name: TABLE[name].operations):
        if name not in rows:
            rows[name] = apart(name, splits.classes, view, options)
            ordered = [rows[known] for known in sorted(rows)]
            write_json(options.out, {**header(**versions), "seed": options.seed, "networks": ordered})
        print(words(rows[name]), flush=True)
    print(summary([rows[name] for name in names]))
    return int(any("error" in rows[name] for name in names))


def words(row: dict[str, Any]) -> str:
    """The line of a network."""
    if "error" in row:
        return f"{row['name']:22} FAILED: {row['error']}"
    told = [f"{row['name']:22} {row['size']:3} px"]
    for form in ("usual", "oldest"):
        if form in row:
            made = row[form]
            worst = max(batch["max_rel_error"] for batch in made["batches"].values())
            told.append(f"opset {made['opset']} IR {made['ir_version']} {worst:.1e} {made['cpu_s']:6.1f} s")
    told.append(f"{row['usual']['batchnorm_folded']} BatchNorm folded, {row['usual']['batchnorm_kept']} kept")
    return "  ".join(told + [f"not for {runtime}: {why}" for runtime, why in row["refused"].items()])


def summary(rows: list[dict[str, Any]]) -> str:
    """What the rows come to."""
    good = [row for row in rows if "error" not in row]
    files = [(row["name"], row[form]) for row in good for form in ("usual", "oldest") if form in row]
    oldest = collections.Counter(row["oldest"]["runtime"] for row in good if "oldest" in row)
    worst, name = max(
        ((b["max_rel_error"], name) for name, made in files for b in made["batches"].values()), default=(0.0, "none")
    )
    apart = {name for name, made in files if any(b["top1_agreement"] < 1 for b in made["batches"].values())}
    return (
        f"{len(rows)} networks, {len(good)} exported, {len(rows) - len(good)} refused; oldest runtime "
        + ", ".join(f"{version} for {count}" for version, count in sorted(oldest.items()))
        + f"; largest difference {worst:.1e} of the largest logit ({name}); another first class in {len(apart)};"
        f" {sum(row['usual']['batchnorm_folded'] for row in good)} BatchNorms folded,"
        f" {sum(row['usual']['batchnorm_kept'] for row in good)} kept"
    )


if __name__ == "__main__":
    sys.exit(main())
