"""The matrix of networks x float32 and int8 x threads x runtimes on this machine, and what measuring itself costs.

    python benchmarks/on_device.py                                        # about half an hour on two idle cores
    python benchmarks/on_device.py --networks tiny-darknet:112 --runtimes onnxruntime,openvino --out mine.json
    python benchmarks/on_device.py --repeatable results/on_device-monday.json results/on_device-friday.json

Each network learns the embedded digits for two epochs (speed does not ask for more; accuracies here mean nothing and
are left out), is exported in float32 and int8 for this machine, proven, and measured by the very
``bench.py`` of a bundle: rounds of fresh processes, every configuration in turn. ``--repeatable`` holds two such files
against each other: of each configuration the ratio of its median to that of its network in float32, one thread, ONNX
Runtime, which is what should be the same on another day, above all where the script called both of them stable. Leave
the machine alone meanwhile: the verdict on stability is printed and kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import record
from short_training import ANY_LOSS, run_at

from edgexfer.device import load
from edgexfer.files import read_json, write_json
from edgexfer.results import run_bench

RESULTS = Path(__file__).parent / "results"
NETWORKS = "tiny-darknet:224,mobilenet-v1-0.25:224,mobilenet_v2:224,squeezenet1_1:224,resnet18:224,cifar-resnet20:32"
MOST_TIMES = 1_000
"""Kept of a configuration, evenly over all of them; the medians of its rounds are of all."""
WITHIN = 0.05
OVERHEAD_S = 20e-6
BARE_SHARE = 0.01


def edgexfer(command: Sequence[str]) -> None:
    """Runs a command of edgexfer; its talk is shown."""
    print("$ edgexfer", shlex.join(command), file=sys.stderr)
    subprocess.run([sys.executable, "-m", "edgexfer", *command], check=True, stdout=subprocess.DEVNULL)


def make_bundle(network: str, size: int, home: Path) -> Path:
    """A network as a bundle of float32 and int8; what ``home`` holds already is not made again."""
    folder = home / f"{network}-{size}"
    bundle, model = folder / "bundle", folder / f"{network}.onnx"
    if bundle.is_dir():
        return bundle
    run_at(network, size, home / f"{network}-trained", folder / "run")
    drop = ["--max-drop", f"{ANY_LOSS:g}"]
    edgexfer(["export", str(folder / "run"), "--fold-bn", "--int8", *drop, "--out", str(model), "--force"])
    models = [str(model), str(folder / f"{network}.int8.onnx")]
    edgexfer(["bundle", *models, "--data", "digits", "--samples", "8", "--out", str(bundle)])
    return bundle


def measure(bundle: Path, out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The result of a bundle, ``MOST_TIMES`` at most of each, and without the accuracy, which means nothing here."""
    options = ["--runtime", args.runtimes, "--rounds", str(args.rounds), "--precision", args.precision]
    run_bench(
        bundle, out=out, min_seconds=args.min_seconds, min_runs=100, threads=args.threads, verify_only=False,
        force=True, options=options,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    for config in found["configs"]:
        config.update(top1=None, top1_images=0)
        every = -(-len(config["latency_s"]) // MOST_TIMES) or 1
        config["latency_s"] = [round(time, 8) for time in config["latency_s"][::every]]
    return found


def overhead(model: Path, seconds: float) -> dict[str, Any]:
    """What the loop of ``bench.py`` adds to a bare one, in turns within one session.

    Returns:
        ``{timer_overhead_s, bare_p50_s, timed_p50_s, ratio}``, the medians of ten turns each.
    """
    timing, artifacts, runtimes = (load(f"_edgexfer_{name}") for name in ("timing", "model", "runtime"))
    runtime = runtimes.open_model(str(model), 1)
    feed = artifacts.feeder(runtime, artifacts.read_artifact(str(model)))(
        artifacts.golden_pixels(0, artifacts.read_artifact(str(model)).input_size)[:1]
    )
    bare: list[float] = []
    timed: list[float] = []
    for _ in range(10):
        turn: list[float] = []
        end = time.perf_counter() + seconds / 20
        while time.perf_counter() < end:
            before = time.perf_counter()
            runtime.run(["logits"], feed)
            turn.append(time.perf_counter() - before)
        bare.append(statistics.median(turn))
        nanoseconds: list[int] = []
        timing.time_runs(
            lambda: runtime.run(["logits"], feed), nanoseconds, min_seconds=seconds / 20, min_runs=len(turn) // 2
        )
        timed.append(statistics.median(nanoseconds) / timing.SECOND)
    ratios = [b / a for a, b in zip(bare, timed, strict=True)]
    return {
        "model": model.name,
        "timer_overhead_s": timing.overhead_s(),
        "bare_p50_s": statistics.median(bare),
        "timed_p50_s": statistics.median(timed),
        "ratio": statistics.median(ratios),
    }


def ratios(result: dict[str, Any]) -> dict[str, tuple[float, bool]]:
    """Of each configuration the ratio of its median to that of its network in float32 on one thread.

    Beside it, whether the script called both of them stable.
    """
    found: dict[str, tuple[float, bool]] = {}
    for bench in result["results"]:
        configs = {_key(c): c for c in bench["configs"] if c["latency_s"]}
        medians = {key: statistics.median(c["latency_s"]) for key, c in configs.items()}
        stable = {key: bool(c["stability"]["stable"]) for key, c in configs.items()}
        base = next(
            key
            for key, c in configs.items()
            if (c["precision"], c["threads"], c["runtime"]) == ("float32", 1, "onnxruntime")
        )
        found |= {key: (median / medians[base], stable[key] and stable[base]) for key, median in medians.items()}
        del found[base]
    return found


def _key(config: dict[str, Any]) -> str:
    return f"{config['model']} {config['runtime']} {config['threads']}"


def repeatable(first: Path, second: Path) -> int:
    """Prints how well two files agree; 0 where every ratio does within 5%."""
    ours, theirs = (ratios(read_json(path, "measurement")) for path in (first, second))
    apart = {key: theirs[key][0] / ours[key][0] - 1 for key in ours if key in theirs}
    held_still = {key for key in apart if ours[key][1] and theirs[key][1]}
    for key, difference in sorted(apart.items(), key=lambda item: -abs(item[1])):
        mark = "stable" if key in held_still else ""
        print(f"{key:50} {ours[key][0]:8.3f} {theirs[key][0]:8.3f} {difference:+8.1%}  {mark}")
    if not apart:
        print("the two files have no configuration in common")
        return 1
    for keys, what in ((apart.keys(), "in all"), (held_still, "stable in both")):
        if keys:
            found = [abs(apart[key]) for key in keys]
            middle, worst = statistics.median(found), max(found)
            print(f"{len(found)} ratios {what}: {middle:.1%} apart in the middle, {worst:.1%} at most")
    print(f"aim: all within {WITHIN:.0%}")
    return 0 if max(map(abs, apart.values())) <= WITHIN else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=NETWORKS, help="names and input sides, such as tiny-darknet:224")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--runtimes", default="onnxruntime")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--min-seconds", type=float, default=12.0, help="a configuration, all rounds together")
    parser.add_argument("--precision", default="1%")
    parser.add_argument("--work", type=Path, help="where the bundles are kept; a temporary folder if left out")
    parser.add_argument("--prepare-only", action="store_true", help="make the bundles in --work, time nothing")
    parser.add_argument("--out", type=Path, help="default: results/on_device-DATE.json")
    parser.add_argument("--repeatable", nargs=2, type=Path, metavar="FILE", help="compare two such files")
    args = parser.parse_args()
    if args.repeatable:
        return repeatable(*args.repeatable)
    created = datetime.now(UTC)
    out = args.out or RESULTS / f"on_device-{created:%Y-%m-%d}.json"
    networks = [
        (name, int(side or 224)) for name, _, side in (word.partition(":") for word in args.networks.split(","))
    ]
    with contextlib.ExitStack() as stack:
        place = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgexfer-matrix-")))
        bundles = [make_bundle(network, side, place) for network, side in networks]
        if args.prepare_only:
            return 0
        results = [measure(bundle, bundle.parent / "result.json", args) for bundle in bundles]
        cost = overhead(bundles[0] / "models" / f"{networks[0][0]}.onnx", args.min_seconds)
    value = {"format": 1, "created": f"{created:%Y-%m-%dT%H:%M:%SZ}", "command": record.command()}
    write_json(out, {**value, "overhead": cost, "results": results})
    print(
        f"measuring adds {cost['timer_overhead_s'] * 1e6:.2f} us an inference (aim: below {OVERHEAD_S * 1e6:.0f});"
        f" its p50 of {cost['model']} is {cost['ratio'] - 1:+.2%} off a bare loop's (aim: within {BARE_SHARE:.0%})"
    )
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
