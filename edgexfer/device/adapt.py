#!/usr/bin/env python3
"""Teaches the model classes of your own, here on the device: one folder of pictures a class.

    python3 adapt.py --data photos/ --out head.npz
    python3 predict.py --head head.npz photo.jpg

The network stays as it is; a new last layer is learned on its embeddings. A fifth of the pictures is held out and
tells the accuracy. With --extend the model keeps its own classes too, learned from the bundle's labelled samples.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Optional, Sequence

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import _edgexfer_environment as environment


def parse(words: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="adapt.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, metavar="FOLDER", help="one folder of pictures a class")
    parser.add_argument("--out", required=True, metavar="head.npz", help="the file to write")
    parser.add_argument("--model", metavar="MODEL.onnx", help="default: the float32 model of this bundle")
    parser.add_argument("--extend", action="store_true", help="keep the model's own classes")
    parser.add_argument("--l2", type=_positive, default=0.01, metavar="X", help="shrinkage; default: 0.01")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the held-out fifth; default: 0")
    parser.add_argument("--threads", type=int, metavar="N", help="default: every core")
    parser.add_argument("--force", action="store_true", help="replace the file")
    return parser.parse_args(words)


def main(words: Optional[Sequence[str]] = None) -> int:
    """Learns a head; returns the exit code."""
    args = parse(words)
    environment.ensure(("numpy", "onnxruntime", "PIL"))
    import _edgexfer_adaptation as adaptation

    done = adaptation.adapt(
        adaptation.Request(args.data, args.out, args.model, args.extend, args.l2, args.seed, args.threads, args.force)
    )
    accuracy = "no class had a picture to hold out"
    if done["accuracy"] is not None:
        accuracy = f"accuracy {done['accuracy']:.1%} on {done['held_out']} held-out pictures"
    environment.say(f"{done['images']} pictures, {len(done['classes'])} classes: {accuracy}")
    sys.stdout.write(json.dumps(done, ensure_ascii=False, sort_keys=True) + "\n")
    return 0


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(environment.run(main))
