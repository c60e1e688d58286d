"""What is asked of a model while it is timed: one picture, several, or a head on top of the embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional

import _edgexfer_head as heads
import _edgexfer_model as model
import numpy as np
from _edgexfer_environment import DeviceError
from _edgexfer_runtime import Runtime

HEAD_TOLERANCE = 1e-3  # of the largest logit, beside what the model itself is allowed


@dataclass(frozen=True)
class Query:
    """One query.

    Attributes:
        run: Asks it.
        input: Type and shape of every input.
        wrong_head: What is wrong with the answers of the head, ``None`` for nothing.
    """

    run: Callable[[], Any]
    input: Dict[str, Any]
    wrong_head: Callable[[], Optional[str]]


def build(runtime: Runtime, artifact: Optional[model.Artifact], job: Mapping[str, Any]) -> Query:
    """The query of a job: ``job["batch"]`` of the golden pictures, repeated, or random input for a foreign file.

    Raises:
        DeviceError: The model does not take so many pictures at once, or the head is not this model's.
    """
    feed = _feed(runtime, artifact, int(job["batch"]))
    described = {name: [str(value.dtype), list(value.shape)] for name, value in feed.items()}
    if job.get("head"):
        head = heads.read(job["head"])
        heads.check_belongs(head, job["head"], job["model"], job["sha256"])

        def with_head() -> Any:
            return head.logits(runtime.run(["embedding"], feed)[0])

        return Query(with_head, described, lambda: wrong_head(runtime, artifact, head, job["head"]))
    names = [tensor.name for tensor in runtime.outputs]
    asked = ["logits"] if artifact is not None and "logits" in names else names
    run = runtime.run
    return Query(lambda: run(asked, feed), described, lambda: None)


def wrong_head(runtime: Runtime, artifact: Optional[model.Artifact], head: heads.Head, path: str) -> Optional[str]:
    """Whether a head answers here as it did where it was learned; a head that does not say how cannot be proven."""
    if artifact is None or head.golden_logits is None or artifact.golden is None:
        return None
    pixels = model.golden_pixels(int(artifact.golden["seed"]), artifact.input_size)
    feeder = model.feeder(runtime, artifact)
    rows = [head.logits(runtime.run(["embedding"], feeder(pixels[i : i + 1]))[0]) for i in range(len(pixels))]
    found, expected = np.concatenate(rows), head.golden_logits
    scale = float(artifact.golden["tolerance"]) / max(1e-9, _spread(artifact.golden["logits"]))
    allowed = (scale + HEAD_TOLERANCE) * float(np.abs(expected).max()) + HEAD_TOLERANCE
    error = float(np.abs(found - expected).max()) if np.isfinite(found).all() else float("inf")
    if error <= allowed:
        return None
    return (
        f"the head {path!r} answers differently here: logits off by up to {error:.3g} where {allowed:.3g} is allowed;"
        " learn it again here with adapt.py"
    )


def _spread(logits: List[Any]) -> float:
    return float(np.abs(np.asarray(logits, np.float64)).max())


def _feed(runtime: Runtime, artifact: Optional[model.Artifact], batch: int) -> Dict[str, Any]:
    fixed = [t.shape[0] for t in runtime.inputs if t.shape and t.shape[0] is not None]
    if batch > 1 and any(size != batch for size in fixed):
        raise DeviceError(
            f"the model takes {fixed[0]} pictures at once, not {batch}; export it with a free batch, or leave out"
            " multi-stream and offline"
        )
    if artifact is None:
        feed = model.random_feed(runtime)
        return {k: np.repeat(v, batch, axis=0) if batch > 1 and v.ndim else v for k, v in feed.items()}
    seed = int((artifact.golden or {}).get("seed", 0))
    pixels = model.golden_pixels(seed, artifact.input_size)
    repeated = np.ascontiguousarray(pixels[np.arange(batch) % len(pixels)])
    return model.feeder(runtime, artifact)(repeated)
