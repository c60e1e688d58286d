#!/usr/bin/env python3
"""Teaches the model classes of your own, here on the device: one folder of pictures a class.

    python3 adapt.py --data photos/ --out head.npz
    python3 predict.py --head head.npz photo.jpg

The network stays as it is; a new last layer is learned on its embeddings, which are computed once and kept in the
folder edgexfer-cache beside the head: stopped at any moment, the same command goes on where it was. A fifth of the
pictures is held out and tells the accuracy; pictures that look alike stay on one side, and with --group-by so do
those with the same part in their names. --extend alone keeps the model's own classes, learned from the bundle's
labelled samples; --extend head.npz keeps those of a head, without their pictures.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Optional, Sequence, Union

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import _edgexfer_environment as environment
import _edgexfer_numbers as numbers

WEAKEST = 3


def parse(words: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="adapt.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, metavar="FOLDER", help="one folder of pictures a class")
    parser.add_argument("--out", required=True, metavar="head.npz", help="the file to write")
    parser.add_argument("--model", metavar="MODEL.onnx", help="default: the float32 model of this bundle")
    parser.add_argument(
        "--extend", nargs="?", const="", metavar="head.npz", help="keep a head's, or the model's, classes"
    )
    parser.add_argument("--l2", type=_penalty, default="auto", metavar="X", help="penalty, or auto (default): measured")
    parser.add_argument("--solver", choices=("full", "minibatch"), default="full", help="default: full")
    parser.add_argument("--iterations", type=numbers.count, default=500, metavar="N", help="of minibatch; default: 500")
    parser.add_argument("--batch", type=numbers.count, default=64, metavar="N", help="of minibatch; default: 64")
    parser.add_argument("--group-by", metavar="REGEX", help="names with the same match stay on one side")
    parser.add_argument("--cache", metavar="FOLDER", help="default: edgexfer-cache beside the head")
    parser.add_argument("--refit", action="store_true", help="once the accuracy is known, learn from all pictures")
    parser.add_argument("--seed", type=numbers.whole, default=0, metavar="N", help="of what is held out; default: 0")
    parser.add_argument("--threads", type=numbers.count, metavar="N", help="default: every core")
    parser.add_argument("--force", action="store_true", help="replace the file")
    return parser.parse_args(words)


def main(words: Optional[Sequence[str]] = None) -> int:
    """Learns a head; returns the exit code."""
    args = parse(words)
    environment.ensure(("numpy", "onnxruntime", "PIL"))
    import _edgexfer_adaptation as adaptation

    done = adaptation.adapt(
        adaptation.Request(
            data=args.data,
            out=args.out,
            model=args.model,
            extend=args.extend,
            l2=None if args.l2 == "auto" else args.l2,
            solver=args.solver,
            iterations=args.iterations,
            batch=args.batch,
            group_by=args.group_by,
            cache=args.cache,
            refit=args.refit,
            seed=args.seed,
            threads=args.threads,
            force=args.force,
        )
    )
    accuracy = "no class had a picture to hold out"
    if done["accuracy"] is not None:
        span = f"95% interval {done['accuracy_low']:.1%} to {done['accuracy_high']:.1%}"
        accuracy = f"accuracy {done['accuracy']:.1%} on {done['held_out']} held-out pictures ({span})"
    environment.say(f"{done['images']} pictures, {len(done['classes'])} classes: {accuracy}")
    weak = sorted(done["per_class"].items(), key=lambda one: one[1]["right"] / max(1, one[1]["held_out"]))
    weak = [f"{name} {n['right']} of {n['held_out']}" for name, n in weak if n["right"] < n["held_out"]][:WEAKEST]
    if weak:
        environment.say(f"hardest: {', '.join(weak)}")
    took = done["seconds"]
    environment.say(f"{took['pictures']:.1f} s for the embeddings, {took['head']:.1f} s for the head")
    environment.answer(done, sort_keys=True)
    return 0


def _penalty(text: str) -> Union[float, str]:
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, nor auto")
    return value


if __name__ == "__main__":
    sys.exit(environment.run(main))
