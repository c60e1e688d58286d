"""The first stage of a search: what each shape costs, measured on untrained networks, and which shapes fit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.errors import DeviceError
from edgexfer.files import remove, sha256_file
from edgexfer.results import Accuracy, Budget, Candidate, Config, percentile, read_result
from edgexfer.results.choice import words_of_overrun
from edgexfer.training import Listener
from edgexfer.workflows.candidates import STATISTICS
from edgexfer.workflows.hushed import Hushed
from edgexfer.workflows.measuring import Measuring, measure
from edgexfer.workflows.shapes import Shape, untrained, worth_training
from edgexfer.workflows.trace import Trace

FOLDER = ".latency"
"""Hidden, so that nobody takes an untrained network for a result."""
MIN_SECONDS = 1.0


class Latencies:
    """What each shape costs in each precision.

    Args:
        trace: Where it is kept, in the folder of the search.
        budget: What a student may cost.
        statistic: Which latency.
    """

    def __init__(self, trace: Trace, budget: Budget, statistic: str) -> None:
        self._trace, self._folder, self._statistic = trace, trace.folder / FOLDER, statistic
        self._budget = budget

    @property
    def known(self) -> bool:
        """Whether everything was measured already."""
        return bool(self._trace.all("latency"))

    def measure(
        self, shapes: Sequence[Shape], splits: Splits, measuring: Measuring, listener: Listener, target: str | None
    ) -> None:
        """Exports and times an untrained network of every shape, all of them in turns.

        Raises:
            DeviceError: The measurement failed.
        """
        started = time.monotonic()
        listener.say(f"timing {len(shapes)} shapes, untrained, in float32 and int8")
        files: dict[Path, tuple[Shape, str]] = {}
        for number, shape in enumerate(shapes, 1):
            listener.begin(f"export {shape.name}, {number} of {len(shapes)}", 1)
            try:
                made = untrained(shape, splits, self._folder, Hushed(listener), target=target)
            finally:
                listener.end()
            files |= {path: (shape, precision) for precision, path in made.items()}
        how = replace(measuring, out=self._folder / "results", min_seconds=min(measuring.min_seconds, MIN_SECONDS))
        remove(how.out)
        configs = _configs(measure(list(files), how, listener))
        lines = [self._line(configs, path, *what) for path, what in files.items()]
        lines[0]["seconds"] = time.monotonic() - started
        self._trace.add(lines)
        for path in files:
            path.unlink()

    def _line(self, configs: Mapping[str, Config], path: Path, shape: Shape, precision: str) -> dict[str, Any]:
        line: dict[str, Any] = {"step": "latency", "shape": shape.name, "precision": precision}
        config = configs.get(sha256_file(path))
        latency = None if config is None else percentile(config.latency_s, STATISTICS[self._statistic])
        if config is None or not config.timed or latency is None:
            why = "not measured" if config is None else config.error or config.status
            return {**line, "latency_s": None, "problem": why}
        size = path.stat().st_size
        candidate = Candidate(
            shape.name, path, config.sha256, precision, config.threads, Accuracy(0.0, 0), latency, size,
            config.peak_rss_bytes,
        )  # fmt: skip
        figures = {"latency_s": latency, "size_bytes": size, "memory_bytes": config.peak_rss_bytes}
        return {**line, **figures, "over_budget": self._budget.overrun(candidate)}

    def fitting(self, shapes: Sequence[Shape]) -> list[Shape]:
        """The shapes that are worth a training; why the others are not is added to the trace.

        Raises:
            DeviceError: None fits.
        """
        lines = self._trace.all("latency")
        fitting = [s for s in shapes if any(_fits(line) for line in lines if line["shape"] == s.name)]
        if not fitting:
            raise DeviceError(_nothing(lines, len(shapes), self._statistic))
        reasons = {shape: _too_much(shape, lines) for shape in shapes if shape not in fitting}
        reasons |= worth_training(fitting)
        known = {line["shape"] for line in self._trace.all("drop")}
        dropped = [
            {"step": "drop", "shape": shape.name, "reason": reason}
            for shape, reason in reasons.items()
            if reason and shape.name not in known
        ]
        if dropped:
            self._trace.add(dropped)
        return [shape for shape in fitting if not reasons[shape]]


def _configs(results: Sequence[Path]) -> dict[str, Config]:
    found: dict[str, Config] = {}
    for path in results:
        result = read_result(path)
        if result.emulated:
            raise DeviceError("the processor is emulated, and its times are no latencies; search on a real machine")
        found |= {config.sha256: config for config in result.configs}
    return found


def _fits(line: Mapping[str, Any]) -> bool:
    return line.get("latency_s") is not None and not line["over_budget"]


def _too_much(shape: Shape, lines: Sequence[Mapping[str, Any]]) -> str:
    """Why a shape does not fit: by how much its best precision is over budget."""
    timed = [line for line in lines if line["shape"] == shape.name and line.get("latency_s") is not None]
    if not timed:
        return "could not be measured"
    return f"over budget: {words_of_overrun(min(timed, key=_worst)['over_budget'])}"


def _worst(line: Mapping[str, Any]) -> float:
    return max(float(ratio) for ratio in line["over_budget"].values())


def _nothing(lines: Sequence[Mapping[str, Any]], shapes: int, statistic: str) -> str:
    timed = [line for line in lines if line.get("latency_s") is not None]
    if not timed:
        problems = sorted({str(line.get("problem")) for line in lines})
        return f"none of {shapes} shapes could be measured: {'; '.join(problems)}"
    nearest = min(timed, key=_worst)
    over = words_of_overrun(nearest["over_budget"])
    return (
        f"none of {shapes} shapes fits the budget: nearest comes {nearest['shape']} in {nearest['precision']} with"
        f" {nearest['latency_s'] * 1000:.3g} ms ({statistic}) untrained, over budget: {over};"
        " allow more, or name a narrower --student or a smaller --image-size"
    )
