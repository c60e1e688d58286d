"""Inference beside other ways to run the same network: eager PyTorch, plain export, OpenVINO with NNCF, ncnn.

    python benchmarks/peers_inference.py --work DIR                       # the whole table; about an hour
    python benchmarks/peers_inference.py --work DIR --networks tiny-darknet --sizes 96 --rounds 2

Each network learns the embedded digits for two epochs at 64 x 64 (speed does not ask for more, and int8 of a network
with random statistics is chaos); agreement is with eager PyTorch, on digits. Contenders:

* ``eager``: PyTorch as it is; ``plain``: `torch.onnx.export` in ONNX Runtime;
* ``plain-pixels``: the same file fed what edgexfer's files are fed, uint8 pixels that numpy normalises in the time;
* ``float32``, ``int8``: the files of `edgexfer export --fold-bn --int8` in ONNX Runtime, and the one it recommends for
  that number of threads;
* ``float32-floats``: float32 with `--input float`, fed what ``plain`` is fed: pictures normalised beforehand;
* ``openvino``, ``openvino-int8``: the plain export in OpenVINO, and quantized by NNCF;
* ``openvino-ours``: edgexfer's int8 file in OpenVINO; ``ncnn``: converted by pnnx, float32.

Peers live in an environment of the benchmark's own (DIR/peers, made when it is missing). Every configuration runs in a
process of its own; in each round every contender has its turn. Latency is that of one picture: percentiles over all
rounds, and the median of the fastest round (``best_p50_s``), because a shared machine has more than one gear and a
process keeps the one it began in. Ratios are of those, to ``plain``. Leave the machine alone meanwhile: what else ran
is kept (``load``).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers_worker import normalised
from record import header
from short_training import ANY_LOSS, run_at

from edgexfer import nets
from edgexfer.files import read_json, write_json
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import WEIGHTS_FILE, read_run
from edgexfer.training import Silent
from edgexfer.workflows.data import DataChoice, held_out, in_batches, spread_sample
from edgexfer.workflows.export import ExportChoice, export_run

RESULT = Path(__file__).parent / "results" / "peers_inference.json"
WORKER = Path(__file__).parent / "peers_worker.py"
NETWORKS = (
    "tiny-darknet", "tiny-darknet+relu", "mobilenet-v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
    "resnet18", "efficientnet_b0", "squeezenet1_1",
)  # fmt: skip
PACKAGES = ("openvino", "nncf", "ncnn", "pnnx", "numpy", f"torch=={torch.__version__.split('+')[0]}")
PICTURES, CALIBRATION = 64, 128
QUANTIZE = """
import sys
import nncf, numpy, openvino
source, pictures, out = sys.argv[1:]
model = openvino.Core().read_model(source)
pictures = numpy.load(pictures)
model.reshape({model.input(0): [1, *pictures.shape[1:]]})
quantized = nncf.quantize(model, nncf.Dataset([x[None] for x in pictures]), subset_size=len(pictures))
openvino.save_model(quantized, out, compress_to_fp16=False)
"""


@dataclass(frozen=True)
class Contender:
    """One way to run a network.

    Attributes:
        name: As in the module's list.
        kind: Which runtime, as ``peers_worker.py`` names them.
        file: What it loads.
        pictures: What it is fed.
        is_peer: Whether it lives in the peers' environment.
        rule: With which mean and std numpy normalises each picture in the time, where the file does not.
    """

    name: str
    kind: str
    file: Path
    pictures: Path
    is_peer: bool = False
    rule: Preprocessing | None = None

    @property
    def size_bytes(self) -> int:
        """Of everything that has to be shipped, the runtime aside."""
        weights = {"eager": self.file / WEIGHTS_FILE, "ncnn": Path(f"{self.file}.bin")}
        beside = self.file.with_suffix(".bin") if self.file.suffix == ".xml" else None
        return weights.get(self.kind, self.file).stat().st_size + (beside.stat().st_size if beside else 0)


def main() -> None:
    """Makes the files, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--sizes", default="224,96")
    parser.add_argument("--contenders", default="", help="only these, and eager and plain, which they are held against")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn")
    parser.add_argument("--prepare-only", action="store_true", help="make the files, time nothing")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    options.work = options.work.resolve()
    python = peers_environment(options.work / "peers")
    result = {**header(), "rounds": options.rounds, "rows": []}
    for size in map(int, options.sizes.split(",")):
        for network in options.networks.split(","):
            contenders, advice = prepare(network, size, options.work / f"{network}-{size}", python)
            if options.contenders:
                wanted = {"eager", "plain", *options.contenders.split(",")}
                if unknown := wanted - {contender.name for contender in contenders}:
                    raise SystemExit(f"there is no contender {', '.join(sorted(unknown))}")
                contenders = [contender for contender in contenders if contender.name in wanted]
            for threads in () if options.prepare_only else map(int, options.threads.split(",")):
                row = {"network": network, "size": size, "threads": threads}
                row["recommended"] = advice.get(str(threads)) or advice["whatever"]
                result["rows"].append({**row, **measure(contenders, threads, options, python)})
                write_json(options.out, result)
                print(words(result["rows"][-1]), flush=True)


def peers_environment(folder: Path) -> Path:
    """The Python in which the peers live."""
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return python


def prepare(network: str, size: int, folder: Path, python: Path) -> tuple[list[Contender], dict[str, str | None]]:
    """Every contender's file, and which of its own edgexfer recommends, for a number of threads or whatever it is."""
    folder.mkdir(parents=True, exist_ok=True)
    run_folder, floats, pixels = folder / "run", folder / "floats.npy", folder / "pixels.npy"
    run = run_at(network, size, folder.parent / f"{network}-trained", run_folder)
    splits = DataChoice("digits").load()
    for name, view, count in (("", held_out(splits), PICTURES), ("calibration-", splits.train, CALIBRATION)):
        images = next(in_batches(spread_sample(view, count), run.preprocessing, count))
        np.save(folder / f"{name}pixels.npy", images)
        np.save(folder / f"{name}floats.npy", normalised(images, run.preprocessing.mean, run.preprocessing.std))
    made_file = folder / "made.json"
    if not made_file.is_file():
        made = export_run(
            run_folder, folder / "ours.onnx", ExportChoice(int8=True, max_drop=ANY_LOSS), Silent(), force=True
        )
        export_run(run_folder, folder / "ours-floats.onnx", ExportChoice(input="float"), Silent(), force=True)
        by_threads, whatever = made["int8"]["recommended_by_threads"], made["int8"]["recommended"] or "float32"
        write_json(made_file, {"format": 1, "recommended": {**by_threads, "whatever": whatever}})
    if not (folder / "nncf.xml").is_file():
        _make_peers(run_folder, folder, size, python)
    ours, plain = folder / "ours.onnx", folder / "plain.onnx"
    contenders = [
        Contender("eager", "eager", run_folder, floats),
        Contender("plain", "onnxruntime", plain, floats),
        Contender("plain-pixels", "onnxruntime", plain, pixels, rule=run.preprocessing),
        Contender("float32", "onnxruntime", ours, pixels),
        Contender("float32-floats", "onnxruntime", folder / "ours-floats.onnx", floats),
        Contender("int8", "onnxruntime", folder / "ours.int8.onnx", pixels),
        Contender("openvino", "openvino", plain, floats, is_peer=True),
        Contender("openvino-int8", "openvino", folder / "nncf.xml", floats, is_peer=True),
        Contender("openvino-ours", "openvino", folder / "ours.int8.onnx", pixels, is_peer=True),
        Contender("ncnn", "ncnn", folder / "traced.ncnn", floats, is_peer=True),
    ]
    return contenders, read_json(made_file, "file")["recommended"]


def _make_peers(run_folder: Path, folder: Path, size: int, python: Path) -> None:
    """The plain export, its quantization by NNCF, and ncnn's conversion; each says its own trouble on stderr."""
    run = read_run(run_folder)
    net = nets.create(run.model, len(run.classes), weights=run_folder / WEIGHTS_FILE, input_size=(size, size)).eval()
    example = torch.randn(1, 3, size, size)
    torch.onnx.export(net, (example,), folder / "plain.onnx", dynamo=True, external_data=False, verbose=False)
    torch.jit.trace(net, example).save(folder / "traced.pt")
    with (folder / "peers.log").open("w") as log:
        pnnx = [str(python.parent / "pnnx"), "traced.pt", f"inputshape=[1,3,{size},{size}]", "fp16=0"]
        subprocess.run(pnnx, cwd=folder, stdout=log, stderr=log, check=False)
        quantize = [str(python), "-c", QUANTIZE, "plain.onnx", "calibration-floats.npy", "nncf.xml"]
        subprocess.run(quantize, cwd=folder, stdout=log, stderr=log, check=False)


def measure(contenders: list[Contender], threads: int, options: argparse.Namespace, python: Path) -> dict[str, Any]:
    """All rounds of one row."""
    turns: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    failed: dict[str, str] = {}
    loads = []
    for _ in range(options.rounds):
        for contender in contenders:
            if contender.name in failed:
                continue
            loads.append(os.getloadavg()[0])
            try:
                turns[contender.name].append(_turn(contender, threads, options.seconds, python))
            except (subprocess.CalledProcessError, OSError) as error:
                said = getattr(error, "stderr", "") or str(error)
                failed[contender.name] = said.strip().splitlines()[-1][:300] if said.strip() else "it failed"
    found = {c.name: _summary(c, turns[c.name]) for c in contenders if turns[c.name]}
    eager = np.array(turns["eager"][0]["answers"])
    for name, row in found.items():
        row["top1_agreement"] = float((np.array(turns[name][0]["answers"]) == eager).mean())
        row["speed_beside_plain"] = found["plain"]["best_p50_s"] / row["best_p50_s"]
    return {"contenders": found, "failed": failed, "load": [min(loads), max(loads)]}


def _turn(contender: Contender, threads: int, seconds: float, python: Path) -> dict[str, Any]:
    command = [str(python) if contender.is_peer else sys.executable, str(WORKER), contender.kind, str(contender.file)]
    command += ["--pictures", str(contender.pictures), "--threads", str(threads), "--seconds", str(seconds)]
    for name in ("mean", "std") if contender.rule is not None else ():
        command += [f"--{name}", *map(str, getattr(contender.rule, name))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def _summary(contender: Contender, turns: list[dict[str, Any]]) -> dict[str, Any]:
    times = np.concatenate([turn["latency_s"] for turn in turns])
    by_round = [float(np.median(turn["latency_s"])) for turn in turns]
    return {
        "p50_s": float(np.median(times)),
        "p90_s": float(np.percentile(times, 90)),
        "p50_s_by_round": by_round,
        "best_p50_s": min(by_round),
        "runs": len(times),
        "load_s": statistics.median(turn["load_s"] for turn in turns),
        "first_s": statistics.median(turn["first_s"] for turn in turns),
        "peak_rss_bytes": max(turn["peak_rss_bytes"] for turn in turns),
        "size_bytes": contender.size_bytes,
    }


def words(row: dict[str, Any]) -> str:
    """One line a row."""

    def each() -> Iterator[str]:
        for name, found in row["contenders"].items():
            mark = "*" if name == row["recommended"] else ""
            yield f"{name}{mark} {1000 * found['best_p50_s']:.2f} ({found['speed_beside_plain']:.2f}x)"

    failed = "".join(f"; {name} failed: {why}" for name, why in row["failed"].items())
    return f"{row['network']} {row['size']} px, {row['threads']} threads, best ms: {', '.join(each())}{failed}"


if __name__ == "__main__":
    main()
