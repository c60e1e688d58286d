"""``edgexfer choose``: of everything that was measured, or is measured now, what fits a budget best."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.data import Splits, View, map_labels
from edgexfer.errors import DataError, FormatError
from edgexfer.export.metadata import Cut, read_info
from edgexfer.proportions import Difference
from edgexfer.report.gather import gather
from edgexfer.report.records import Found, FoundArtifact
from edgexfer.results import Accuracy, Budget, Candidate, Choice, choose
from edgexfer.training import Listener
from edgexfer.training.pictures import tell_of
from edgexfer.workflows.candidates import FOREIGN, Gathered, Wishes, gather_candidates
from edgexfer.workflows.data import DataChoice, held_out
from edgexfer.workflows.evaluate import onnx_logits
from edgexfer.workflows.measuring import Measuring, measure, paths_of
from edgexfer.workflows.remembered import load_as_cut, warn_of_known_pictures


@dataclass(frozen=True)
class Chosen:
    """A choice with what it was made from.

    Attributes:
        choice: What was chosen.
        gathered: What there was.
        wishes: How it was looked at.
        test: The chosen one's accuracy on test pictures, where validation pictures chose it.
    """

    choice: Choice
    gathered: Gathered
    wishes: Wishes
    test: Accuracy | None = None

    def to_dict(self) -> dict[str, Any]:
        """What ``edgexfer choose --json`` prints."""
        choice, budget = self.choice, self.choice.budget
        return {
            "chosen": None if choice.chosen is None else self._one(choice.chosen),
            "test_top1": None if self.test is None else self.test.top1,
            "budget": {axis: getattr(budget, axis) for axis in ("latency_s", "size_bytes", "memory_bytes")},
            "statistic": self.wishes.statistic,
            "machine": self.gathered.machine,
            "accuracy_from": self.gathered.source,
            "candidates": [self._one(candidate) for candidate in self.gathered.candidates],
            "front": [self._one(candidate) for candidate in choice.front],
            "next_step": None if choice.next_step is None else self._one(choice.next_step),
            "gain": None if choice.gain is None else _difference(choice.gain),
            "alike": None
            if choice.alike is None
            else {**self._one(choice.alike.candidate), "loss": _difference(choice.alike.difference)},
            "left_out": self.gathered.left_out,
        }

    def _one(self, candidate: Candidate) -> dict[str, Any]:
        return {
            "name": candidate.name,
            "path": str(candidate.path),
            "sha256": candidate.sha256,
            "precision": candidate.precision,
            "threads": candidate.threads,
            "top1": candidate.top1,
            "images": candidate.accuracy.images,
            "latency_s": candidate.latency_s,
            "latency_interval_s": candidate.interval_s and list(candidate.interval_s),
            "size_bytes": candidate.size_bytes,
            "memory_bytes": candidate.memory_bytes,
            "over_budget": self.choice.budget.overrun(candidate),
            "notes": list(candidate.notes),
        }


def choose_from(
    paths: Sequence[Path],
    budget: Budget,
    wishes: Wishes,
    listener: Listener,
    *,
    measuring: Measuring,
    data: DataChoice | None = None,
) -> Chosen:
    """Chooses among what lies under ``paths``.

    Args:
        paths: Result files, artifacts, bundles, run folders, or folders of these.
        budget: What the model may cost.
        wishes: How measurements are looked at.
        listener: Hears how it goes.
        measuring: How artifacts are measured where there is no result yet, or where a device is named.
        data: Pictures to score all artifacts on; validation chooses, test is reported. Where they do not say how they
            are cut, they are cut as for the artifacts' runs, if those agree.

    Raises:
        EdgexferError: There is nothing to choose from, or it cannot be compared.
    """
    found = gather(paths)
    if measuring.host is not None or not found.results:
        found = measured_now(paths, found, replace(measuring, data=measuring.data or data), listener)
    return decide(found, budget, wishes, listener, data)


def measured_now(paths: Sequence[Path], found: Found, measuring: Measuring, listener: Listener) -> Found:
    """What was found, with fresh results of every artifact in it and no others: what was measured now counts."""
    with tempfile.TemporaryDirectory(prefix="edgexfer-choose-") as place:
        results = measure(paths_of(found, Path(place)), measuring, listener)
    listener.say(f"measured now: {', '.join(map(str, results))}")
    return only(gather([*(Path(os.path.abspath(path)) for path in paths), *results]), results)


def only(found: Found, results: Sequence[Path]) -> Found:
    """What was found, with no other results than these."""
    wanted = {Path(os.path.abspath(path)) for path in results}
    return replace(found, results=tuple(result for result in found.results if result.path in wanted))


def of_classes(found: Found, classes: Sequence[str]) -> Found:
    """What was found without the artifacts that answer for other classes than these; a note tells of each of them."""
    strange = {artifact.sha256: why for artifact in found.artifacts if (why := _strange(artifact, classes))}
    kept = tuple(artifact for artifact in found.artifacts if artifact.sha256 not in strange)
    return replace(found, artifacts=kept, notes=(*found.notes, *strange.values()))


def _strange(artifact: FoundArtifact, classes: Sequence[str]) -> str:
    """How an artifact's classes differ; an empty text where they do not."""
    if artifact.info is None:
        return f"{artifact.label}: {FOREIGN}"
    known = [str(name) for name in artifact.info.get("classes", ())]
    lacks, more = [name for name in classes if name not in known], [name for name in known if name not in classes]
    told = [f"lacks {', '.join(lacks[:5])}"] if lacks else []
    told += [f"also knows {', '.join(more[:5])}"] if more else []
    return f"{artifact.label}: its classes are not those of the data: it {' and '.join(told)}" if told else ""


def decide(found: Found, budget: Budget, wishes: Wishes, listener: Listener, data: DataChoice | None) -> Chosen:
    """Chooses among artifacts and results that were found; see ``choose_from``."""
    with tempfile.TemporaryDirectory(prefix="edgexfer-choose-") as place:
        scorer = None if data is None else Scorer(data, found, Path(place), listener)
        scores = None if scorer is None else scorer.scores(listener)
        gathered = gather_candidates(found, wishes, scores, "" if scorer is None else scorer.words)
        choice = choose(gathered.candidates, budget)
        test = None
        if scorer is not None and choice.chosen is not None:
            test = scorer.test(choice.chosen)
    return Chosen(choice, gathered, wishes, test)


class Scorer:
    """Scores artifacts on pictures: validation to choose by, test to report, where there are both.

    A warning names each artifact that may have learned from them.
    """

    def __init__(self, data: DataChoice, found: Found, place: Path, listener: Listener) -> None:
        files = _files(found, place)
        self._splits = _cut_for([(artifact.label, path) for artifact, path in files], data, listener)
        self._source = data.source
        self._files = {artifact.sha256: path for artifact, path in files}
        self._view = self._splits.val if self._splits.test is not None else held_out(self._splits)

    @property
    def words(self) -> str:
        """What the scores are of."""
        return f"{'validation' if self._view.name == 'val' else self._view.name} pictures of {self._source}"

    def scores(self, listener: Listener) -> dict[str, Accuracy]:
        """The accuracy of every artifact, by SHA-256."""
        listener.begin("score", len(self._files))
        found: dict[str, Accuracy] = {}
        try:
            for number, (sha256, path) in enumerate(self._files.items(), 1):
                try:
                    found[sha256] = accuracy_of(path, self._splits, self._view, self._source)
                except (DataError, FormatError) as error:
                    listener.warn(f"{path.name} is not scored: {error}")
                listener.advance(number, path.name)
        finally:
            listener.end()
        return found

    def test(self, candidate: Candidate) -> Accuracy | None:
        """The accuracy on test; ``None`` where there are no test pictures."""
        if self._splits.test is None:
            return None
        return accuracy_of(self._files[candidate.sha256], self._splits, self._splits.test, self._source)


def _cut_for(files: Sequence[tuple[str, Path]], data: DataChoice, listener: Listener) -> Splits:
    """The pictures, cut as for the runs of the artifacts where all that tell of it agree; else as ``data`` says."""
    told: dict[str, Cut] = {}
    for label, path in files:
        with contextlib.suppress(FormatError):  # such a file is not scored, which is told there
            if (cut := read_info(path).cut) is not None:
                told[label] = cut
    cuts = set(told.values())
    splits = load_as_cut(cuts.pop() if len(cuts) == 1 else None, data, listener)
    tell_of(splits, listener)
    for label, cut in told.items():
        warn_of_known_pictures(cut.fingerprint, splits, listener, repr(label))
    return splits


def accuracy_of(path: Path, splits: Splits, view: View, source: str) -> Accuracy:
    """What an artifact scores on a view of the data, picture by picture.

    Raises:
        DataError: It does not know every class of the data.
        FormatError: It is no artifact of ours.
    """
    labelled = map_labels(view, splits.classes, read_info(path).classes, source)
    right = np.argmax(onnx_logits(path, labelled), axis=1) == labelled.labels
    return Accuracy(float(right.mean()), len(right), tuple(bool(one) for one in right))


def _files(found: Found, place: Path) -> list[tuple[Any, Path]]:
    ours = [artifact for artifact in found.artifacts if artifact.info is not None]
    return list(zip(ours, paths_of(found, place), strict=True))


def _difference(value: Difference) -> dict[str, Any]:
    return {"top1": value.value, "low": value.low, "high": value.high, "paired": value.paired}
