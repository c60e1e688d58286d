#!/usr/bin/env python3
"""Says what is on pictures: one line of JSON a picture.

    python3 predict.py photo.jpg more/
    python3 predict.py --threshold 0.6 --head head.npz photo.jpg

The label is null where the most probable class stays below the threshold: none of these.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import _edgexfer_environment as environment

if TYPE_CHECKING:
    from _edgexfer_classify import Model
    from _edgexfer_head import Head


def parse(words: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="predict.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="files, and folders of them")
    parser.add_argument("--model", metavar="MODEL.onnx", help="default: the float32 model of this bundle")
    parser.add_argument("--threshold", type=_share, default=0.0, metavar="T", help="from 0 to 1; default: 0")
    parser.add_argument("--top", type=_count, default=3, metavar="N", help="classes to tell; default: 3")
    parser.add_argument("--head", metavar="head.npz", help="classes of your own, learned by adapt.py")
    parser.add_argument("--threads", type=_count, metavar="N", help="default: every core")
    return parser.parse_args(words)


def main(words: Optional[Sequence[str]] = None) -> int:
    """Labels pictures; returns the exit code."""
    args = parse(words)
    environment.ensure(("numpy", "onnxruntime", "PIL"))
    import _edgexfer_classify as classify
    import _edgexfer_files as files
    import _edgexfer_head as heads
    import _edgexfer_picture as picture

    found = picture.find(args.pictures)
    head = heads.read(args.head) if args.head else None
    path = classify.choose_model(args.model, environment.HERE, head)
    if head is not None:
        heads.check_belongs(head, args.head, path, files.sha256_file(path))
    model = classify.open_proven(path, args.threads)
    bad = 0
    for file in found:
        try:
            line = predict(model, head, file, args.threshold, args.top)
        except environment.DeviceError as error:
            environment.say(f"predict.py: {error}")
            bad += 1
            continue
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    if bad:
        environment.say(f"predict.py: {bad} of {len(found)} pictures could not be read")
    return 1 if bad else 0


def predict(model: Model, head: Optional[Head], file: str, threshold: float, top: int) -> Dict[str, Any]:
    """One line of the output: ``{file, label, probability, top, latency_s}``; the latency is the model's alone.

    Raises:
        DeviceError: The picture cannot be read.
    """
    import _edgexfer_picture as picture
    import numpy as np
    from _edgexfer_model import softmax

    pixels = picture.read(file, model.artifact.preprocessing)[np.newaxis]
    begun = time.perf_counter()
    logits = model.logits(pixels) if head is None else head.logits(model.embeddings(pixels))
    latency_s = time.perf_counter() - begun
    classes = model.artifact.classes if head is None else head.classes
    probabilities = softmax(logits[0])
    best = np.argsort(-probabilities, kind="stable")[:top]
    told = [{"label": classes[i], "probability": round(float(probabilities[i]), 6)} for i in best]
    sure = float(probabilities[best[0]]) >= threshold
    return {
        "file": file,
        "label": told[0]["label"] if sure else None,
        "probability": told[0]["probability"],
        "top": told,
        "latency_s": round(latency_s, 9),
    }


def _count(text: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability from 0 to 1")
    return value


if __name__ == "__main__":
    sys.exit(environment.run(main))
