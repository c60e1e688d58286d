"""One contender of ``peers_inference.py`` in a process of its own: loads a file, answers pictures, is timed.

    python benchmarks/peers_worker.py KIND FILE --pictures pictures.npy --threads 1 --seconds 1

Prints one JSON line: ``load_s, first_s, latency_s`` (every inference of one picture), ``peak_rss_bytes`` and
``answers`` (the class of each picture). With ``--mean`` and ``--std`` the pictures are uint8 pixels, and each is
normalised in the time. Imports numpy and the runtime that it times, and nothing else of ours but for eager PyTorch,
which has no file of its own: there FILE is a run folder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WARM_RUNS = 10
Infer = Callable[[np.ndarray], np.ndarray]


def eager(file: Path, threads: int, example: np.ndarray) -> Infer:
    """The network as PyTorch runs it, BatchNorm and all."""
    import torch

    from edgexfer import nets
    from edgexfer.runs import WEIGHTS_FILE, read_run

    torch.set_num_threads(threads)
    run = read_run(file)
    net = nets.create(
        run.model, len(run.classes), weights=file / WEIGHTS_FILE, input_size=run.preprocessing.input_size
    ).eval()

    def infer(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(x)).numpy()

    return infer


def in_onnxruntime(file: Path, threads: int, example: np.ndarray) -> Infer:
    """An ONNX file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    return lambda x: session.run(outputs, {name: x})[0]


def in_openvino(file: Path, threads: int, example: np.ndarray) -> Infer:
    """An ONNX or OpenVINO file in OpenVINO; float32 stays float32 on processors with bfloat16 units too."""
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    model.reshape({model.input(0): list(example.shape)})
    wishes = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", wishes).create_infer_request()

    def infer(x: np.ndarray) -> np.ndarray:
        request.infer({0: x})
        return request.get_output_tensor(0).data

    return infer


def in_ncnn(file: Path, threads: int, example: np.ndarray) -> Infer:
    """A pair of ncnn files, ``FILE.param`` and ``FILE.bin``."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    if net.load_param(f"{file}.param") or net.load_model(f"{file}.bin"):
        raise SystemExit(f"ncnn cannot read {file}")

    def infer(x: np.ndarray) -> np.ndarray:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(x[0]).clone())
            return np.array(extractor.extract("out0")[1])[None]

    return infer


def normalised(pixels: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """uint8 pixels ``(N, H, W, 3)`` as a network is fed them: ``(x / 255 - mean) / std``, float32 ``(N, 3, H, W)``."""
    values = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)  # the quickest way numpy has
    values *= (1 / (255 * np.array(std))).astype(np.float32)[:, None, None]
    values -= (np.array(mean) / np.array(std)).astype(np.float32)[:, None, None]
    return values


KINDS = {"eager": eager, "onnxruntime": in_onnxruntime, "openvino": in_openvino, "ncnn": in_ncnn}


def main() -> None:
    """Answers, times, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--pictures", type=Path, required=True, help="(N, ...) as the file takes them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--least-runs", type=int, default=30)
    parser.add_argument("--mean", type=float, nargs=3)
    parser.add_argument("--std", type=float, nargs=3)
    options = parser.parse_args()
    pictures = np.load(options.pictures)
    one = np.ascontiguousarray(pictures[:1])
    started = time.perf_counter()
    infer = network = KINDS[options.kind](options.file, options.threads, one)
    if options.mean:
        infer = lambda x: network(normalised(x, options.mean, options.std))  # noqa: E731
    load_s = time.perf_counter() - started
    first_s = seconds_of(infer, one)
    answers = [int(infer(np.ascontiguousarray(x[None])).argmax()) for x in pictures]
    for _ in range(WARM_RUNS):
        infer(one)
    latency_s: list[float] = []
    while sum(latency_s) < options.seconds or len(latency_s) < options.least_runs:
        latency_s.append(seconds_of(infer, one))
    found: dict[str, Any] = {"load_s": load_s, "first_s": first_s, "peak_rss_bytes": peak_rss_bytes()}
    found["answers"] = answers
    print(json.dumps({**found, "latency_s": [round(s, 8) for s in latency_s]}))


def peak_rss_bytes() -> int:
    """The most memory that this process held; getrusage would count what its parent held before it began."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def seconds_of(infer: Infer, x: np.ndarray) -> float:
    """How long one inference takes."""
    started = time.perf_counter()
    infer(x)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
