#!/usr/bin/env python3
"""Says what is on pictures: one line of JSON a picture on stdout.

    python3 predict.py photo.jpg folder-of-photos/
    python3 predict.py --threshold 0.6 --head head.npz photo.jpg
    python3 predict.py --watch incoming/               # each picture as it arrives, until Ctrl-C
    python3 predict.py --camera 0 --rate 5             # five frames a second, until Ctrl-C

The label is null where the most probable class stays below the threshold: none of these. Where bench.py left a
recommended.json here, the model, threads and runtime are the ones it found fastest on this machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Optional, Sequence, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import _edgexfer_environment as environment
import _edgexfer_numbers as numbers

if TYPE_CHECKING:
    from _edgexfer_classify import Model
    from _edgexfer_head import Head


def parse(words: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="predict.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="files, and folders of them")
    parser.add_argument("--watch", metavar="FOLDER", help="label what arrives there from now on")
    parser.add_argument(
        "--camera", type=_number, nargs="?", const=0, metavar="N", help="label what it sees; default: 0"
    )
    parser.add_argument("--rate", type=_rate, metavar="HZ", help="pictures a second (default: as they come)")
    parser.add_argument("--count", type=numbers.count, metavar="N", help="end after so many pictures")
    parser.add_argument("--model", metavar="MODEL.onnx", help="default: the recommended, else the float32 model here")
    parser.add_argument("--threshold", type=_share, default=0.0, metavar="T", help="from 0 to 1; default: 0")
    parser.add_argument("--top", type=numbers.count, default=3, metavar="N", help="classes to tell; default: 3")
    parser.add_argument("--head", metavar="head.npz", help="classes of your own, learned by adapt.py")
    parser.add_argument("--threads", type=numbers.count, metavar="N", help="default: as recommended, else every core")
    args = parser.parse_args(words)
    if bool(args.pictures) + (args.watch is not None) + (args.camera is not None) != 1:
        parser.error("name pictures, or --watch FOLDER, or --camera; one of them")
    return args


def main(words: Optional[Sequence[str]] = None) -> int:
    """Labels pictures; returns the exit code."""
    args = parse(words)
    environment.ensure(("numpy", "onnxruntime", "PIL"))
    import _edgexfer_classify as classify
    import _edgexfer_head as heads

    head = heads.read(args.head) if args.head else None
    chosen = classify.choose(args.model, args.threads, environment.HERE, head, args.head)
    model = classify.open_chosen(chosen)
    given = _source(args, model)
    endless = args.watch is not None or args.camera is not None
    if endless:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as a service is stopped
    told = Told()
    try:
        label(given, model, head, args, told)
    except KeyboardInterrupt:
        if not endless:
            raise
    if endless:
        environment.say(f"{told.good + told.bad} pictures, {told.rate():.3g} a second")
    if told.bad:
        environment.say(f"predict.py: {told.bad} of {told.good + told.bad} pictures could not be read")
    return 1 if told.bad and not endless else 0


class Told:
    """What was told so far."""

    def __init__(self) -> None:
        self.good = self.bad = 0
        self.begun = time.monotonic()

    def rate(self) -> float:
        """Pictures a second."""
        return (self.good + self.bad) / max(1e-9, time.monotonic() - self.begun)


def label(
    given: Iterator[Tuple[str, Callable[[], Any]]],
    model: Model,
    head: Optional[Head],
    args: argparse.Namespace,
    told: Told,
) -> None:
    """Prints a line a picture; what cannot be read is said and passed over."""
    for file, read in given:
        try:
            line = predict(model, head, file, read(), args.threshold, args.top)
        except (environment.DeviceError, ValueError) as error:
            environment.say(f"predict.py: {error}")
            told.bad += 1
        else:
            told.good += 1
            environment.answer(line)
        if told.good + told.bad == args.count:
            return


def predict(model: Model, head: Optional[Head], file: str, pixels: Any, threshold: float, top: int) -> Dict[str, Any]:
    """One line of the output: ``{file, label, probability, top, latency_s}``; the latency is the model's alone."""
    import numpy as np
    from _edgexfer_model import softmax

    begun = time.perf_counter()
    logits = model.logits(pixels[None]) if head is None else head.logits(model.embeddings(pixels[None]))
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


def _source(args: argparse.Namespace, model: Model) -> Iterator[Tuple[str, Callable[[], Any]]]:
    import _edgexfer_picture as picture
    import _edgexfer_sources as sources

    rule = model.artifact.preprocessing
    if args.watch is not None:
        return sources.paced(sources.from_folder(args.watch, rule), args.rate)
    if args.camera is not None:
        return sources.from_camera(args.camera, rule, args.rate)
    return sources.paced(sources.from_files(picture.find(args.pictures), rule), args.rate)


def _number(text: str) -> int:
    if not text.strip().isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of a camera, from 0 up")
    return int(text)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate in pictures a second, above 0 and up to 1000")
    return value


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
