#!/usr/bin/env python3
"""Proves that models answer correctly on this device, then measures how fast they are.

    python3 bench.py                                   # every model of this bundle
    python3 bench.py student.onnx --threads 1,4 --out result.json

Each model and thread count gets a process of its own. The result file holds every single time and the state of the
machine; the table is derived from it.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import List, Optional, Sequence, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import _edgexfer_environment as environment


def parse(words: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="MODEL.onnx|BUNDLE", help="default: the folder of this script")
    parser.add_argument("--threads", type=_counts, metavar="N,N", help="default: 1 and every core")
    parser.add_argument("--min-seconds", type=_seconds, default=10.0, metavar="S", help="default: 10")
    parser.add_argument("--min-runs", type=_count, default=100, metavar="N", help="default: 100")
    parser.add_argument("--labelled", type=int, metavar="N", help="labelled samples to score (default: all)")
    parser.add_argument("--runtime", default="onnxruntime", help="default: onnxruntime")
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
    from _edgexfer_runtime import usable_cores

    plan = benchmark.Plan(
        models=tuple(files.find_models(args.targets, environment.HERE)),
        threads=args.threads or tuple(sorted({1, usable_cores()})),
        min_seconds=args.min_seconds,
        min_runs=args.min_runs,
        runtime=args.runtime,
        verify_only=args.verify_only,
        time_anyway=args.time_anyway,
        labelled=args.labelled,
        out=args.out,
        force=args.force,
        as_json=args.as_json,
    )
    return benchmark.benchmark(plan)


def _counts(text: str) -> Tuple[int, ...]:
    counts: List[int] = []
    for word in text.split(","):
        count = _count(word)
        if count not in counts:
            counts.append(count)
    return tuple(counts)


def _count(text: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


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
