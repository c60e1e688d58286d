#!/usr/bin/env python3
"""Proves that models answer correctly on this device, then measures how fast they are.

    python3 bench.py                                   # every model of this bundle
    python3 bench.py student.onnx --threads 1,4 --out result.json

    python3 bench.py --sweep --precision 2%            # what suits this machine best, into recommended.json
    python3 bench.py --scenario sustained              # minutes of load: does it throttle?

Every configuration takes its turn in rounds, each time in a process of its own. The result file holds every single time
and the state of the machine; the table is derived from it, and predict.py uses what is recommended.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import List, Optional, Sequence, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import _edgexfer_environment as environment
import _edgexfer_numbers as numbers

BOTH = {
    "on": (True,), "off": (False,), "free": (False,), "pinned": (True,), "both": (False, True),
}  # fmt: skip


def parse(words: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="MODEL.onnx|BUNDLE", help="default: the folder of this script")
    parser.add_argument("--threads", type=_counts, metavar="N,N", help="default: 1 and every core")
    parser.add_argument(
        "--min-seconds", type=_seconds, default=10.0, metavar="S", help="default: 10, all rounds together"
    )
    parser.add_argument("--min-runs", type=numbers.count, default=100, metavar="N", help="default: 100")
    parser.add_argument("--rounds", type=numbers.count, metavar="N", help="turns of each configuration (default: 3)")
    parser.add_argument("--precision", type=_share, metavar="2%%", help="stop early once the median is this well known")
    parser.add_argument("--scenario", type=_scenarios, default=("single-stream",), metavar="NAME,NAME",
                        help="single-stream (default), multi-stream, offline, sustained")  # fmt: skip
    parser.add_argument(
        "--streams", type=numbers.count, default=8, metavar="N", help="pictures a multi-stream query; default: 8"
    )
    parser.add_argument(
        "--batch", type=_counts, default=(8,), metavar="N,N", help="pictures an offline query; default: 8"
    )
    parser.add_argument("--sustained-seconds", type=_seconds, default=300.0, metavar="S", help="default: 300")
    parser.add_argument("--spinning", choices=("on", "off", "both"), default="on", help="do threads wait actively")
    parser.add_argument("--affinity", choices=("free", "pinned", "both"), default="free", help="bind to cores")
    parser.add_argument("--sweep", action="store_true", help="1, 2, 4... threads, spinning and affinity both ways")
    parser.add_argument("--runtime", type=_words, default=("onnxruntime",), metavar="NAME,NAME",
                        help="onnxruntime (default), openvino")  # fmt: skip
    parser.add_argument("--head", metavar="head.npz", help="check and time a head of adapt.py on top")
    parser.add_argument("--profile", action="store_true", help="tell the time of each operator too")
    parser.add_argument("--labelled", type=numbers.whole, metavar="N", help="labelled samples to score (default: all)")
    parser.add_argument("--verify-only", action="store_true", help="prove the answers, time nothing")
    parser.add_argument("--time-anyway", action="store_true", help="time even on an emulated processor")
    parser.add_argument("--out", metavar="FILE", help="default: bench-<host>-<UTC time>.json here")
    parser.add_argument("--force", action="store_true", help="replace FILE")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print a summary as JSON")
    return parser.parse_args(words)


def main(words: Optional[Sequence[str]] = None) -> int:
    """Runs the benchmark; returns the exit code."""
    args = parse(words)
    environment.ensure(("numpy", "onnxruntime"))
    import _edgexfer_benchmark as benchmark
    import _edgexfer_files as files
    import _edgexfer_head as heads
    from _edgexfer_plan import Plan
    from _edgexfer_runtime import usable_cores

    models = files.find_models(args.targets, environment.HERE)
    if args.head is not None:
        models = heads.models_of(heads.read(args.head), args.head, models)
    cores = usable_cores()
    sweep = tuple(sorted({1, cores, *(n for n in (2, 4, 8, 16, 32, 64) if n < cores)}))
    plan = Plan(
        models=tuple(models),
        threads=args.threads or (sweep if args.sweep else tuple(sorted({1, cores}))),
        min_seconds=args.min_seconds,
        min_runs=args.min_runs,
        rounds=args.rounds or (3 if args.precision is None else 10),
        precision=args.precision,
        scenarios=args.scenario,
        streams=args.streams,
        batches=args.batch,
        sustained_seconds=args.sustained_seconds,
        spinning=(True, False) if args.sweep else BOTH[args.spinning],
        pinned=(False, True) if args.sweep else BOTH[args.affinity],
        runtimes=args.runtime,
        head=args.head,
        profile=args.profile,
        verify_only=args.verify_only,
        time_anyway=args.time_anyway,
        labelled=args.labelled,
        out=args.out,
        force=args.force,
        as_json=args.as_json,
    )
    return benchmark.benchmark(plan)


def _words(text: str) -> Tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def _scenarios(text: str) -> Tuple[str, ...]:
    allowed = ("single-stream", "multi-stream", "offline", "sustained")
    for word in _words(text):
        if word not in allowed:
            raise argparse.ArgumentTypeError(f"{word!r} is not a scenario; allowed: {', '.join(allowed)}")
    return _words(text)


def _share(text: str) -> float:
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 2% or 0.02")
    return value


def _counts(text: str) -> Tuple[int, ...]:
    counts: List[int] = []
    for word in text.split(","):
        count = numbers.count(word)
        if count not in counts:
            counts.append(count)
    return tuple(counts)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 up")
    return value


if __name__ == "__main__":
    sys.exit(environment.run(main))
