"""``edgexfer choose --search``: students of many shapes, timed before they are trained, trained as far as they promise.

1. A network of each shape is exported untrained, in float32 and int8, and measured where it will run.
2. Of what fits the budget, the largest of each family learns from the teacher for a few epochs; the best third goes on.
3. The last ones are fully trained, exported with their proofs and measured again; validation chooses, test is reported.

Everything is kept in ``trace.jsonl``, from which an interrupted search goes on.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.errors import DeviceError, QuantizationError, WouldOverwriteError
from edgexfer.export.targets import target_of
from edgexfer.files import FORMAT, read_json, remove, write_bytes, write_json
from edgexfer.report.gather import gather
from edgexfer.results import Candidate
from edgexfer.runs import LOG_FILE, utc_now
from edgexfer.training import Listener
from edgexfer.training.compute import find_device
from edgexfer.version import __version__
from edgexfer.words import counted
from edgexfer.workflows.bundle import make_bundle
from edgexfer.workflows.choose import Chosen, decide, measured_now, of_classes, only
from edgexfer.workflows.contest import Contest, Trained
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.halving import FINALISTS, Clock
from edgexfer.workflows.hushed import Hushed, Once
from edgexfer.workflows.measuring import taken_out
from edgexfer.workflows.replacing import check_unread
from edgexfer.workflows.search_plan import SearchPlan
from edgexfer.workflows.shapes import NETWORKS, Shape, shapes_of
from edgexfer.workflows.teachers import at_hand
from edgexfer.workflows.timed import Latencies
from edgexfer.workflows.trace import TRACE_FILE, Trace
from edgexfer.workflows.tried import Tried, tried

RESULT_FILE = "search.json"
EXPORTED = "exported"
STUDENT = "student"

Show = Callable[[Sequence[Tried]], None]


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes:
        chosen: The choice among what was trained, and what it was made from.
        artifact: The chosen file.
        bundle: A bundle of it.
        tried: Everything that was tried, the best first.
        seconds: What it took, interruptions excluded.
    """

    chosen: Chosen
    artifact: Path
    bundle: Path
    tried: tuple[Tried, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """What ``search.json`` holds."""
        return {
            "format": FORMAT,
            "created": utc_now(),
            "edgexfer_version": __version__,
            **self.chosen.to_dict(),
            "artifact": str(self.artifact),
            "bundle": str(self.bundle),
            "seconds": self.seconds,
            "tried": [one.to_dict() for one in self.tried],
        }


def search(
    plan: SearchPlan, out: Path, listener: Listener, show: Show, *, resume: bool = False, force: bool = False
) -> Searched:
    """Looks for the most accurate student inside a budget.

    Args:
        plan: What to look for.
        out: The folder of the search.
        listener: Hears how it goes.
        show: Shown everything that was tried so far, whenever a stage has ended.
        resume: Go on with what is in ``out``.
        force: Replace what is in ``out``.

    Raises:
        WouldOverwriteError: ``out`` is there, and neither ``resume`` nor ``force`` covers it.
        DeviceError: No shape fits the budget.
        EdgexferError: Data, teacher or networks cannot be used.
    """
    listener = Once(listener)
    plan.data.refuse_among_pictures(out)
    in_the_way = _in_the_way(plan, out, resume, force)
    splits = plan.data.load()
    shapes = shapes_of(plan.networks or NETWORKS, plan.sizes, splits.image_size)
    _look(plan, splits, listener)
    if in_the_way:
        _check_networks(shapes, splits)
    for path in in_the_way:
        remove(path)
    out.mkdir(parents=True, exist_ok=True)
    trace = Trace(out, plan.settings(shapes, splits))
    clock = Clock(plan.hours, trace.seconds)
    contest = Contest(plan, splits, trace, clock, listener)
    latencies = Latencies(trace, plan.budget, plan.wishes.statistic)
    if not latencies.known:
        latencies.measure(shapes, splits, replace(plan.measuring, data=plan.data), listener, plan.target)
    fitting = latencies.fitting(shapes)
    show(tried(trace, shapes))
    ranked = contest.rank(fitting, lambda: show(tried(trace, shapes)))
    chosen = _finish(plan, contest, ranked, trace, listener)
    artifact = _promoted(chosen, out)
    listener.say("bundle: the chosen file with labelled samples and the device's scripts")
    bundle = make_bundle([artifact], plan.data, out / "bundle", Hushed(listener), force=True)
    found = Searched(chosen, artifact, bundle, tuple(tried(trace, shapes)), clock.spent)
    write_json(out / RESULT_FILE, found.to_dict())
    show(found.tried)
    return found


def _in_the_way(plan: SearchPlan, out: Path, resume: bool, force: bool) -> list[Path]:
    """What has to be removed before a search writes to ``out``.

    Raises:
        WouldOverwriteError: Something is there that ``resume`` or ``force`` does not cover, or that the search reads.
    """
    trace = out / TRACE_FILE
    if not out.exists() or (out.is_dir() and not any(out.iterdir())) or (resume and trace.is_file()):
        return []
    if not trace.is_file():
        raise WouldOverwriteError(f"{str(out)!r} exists already and is no search; choose another --out")
    if force:
        check_unread(out, plan.used())
        return [out]
    if {path.name for path in out.iterdir()} <= {TRACE_FILE, LOG_FILE}:  # begun, and refused before anything was made
        return sorted(out.iterdir())
    raise WouldOverwriteError(f"{str(out)!r} holds a search; pass --resume to go on, or --force to start again")


def _look(plan: SearchPlan, splits: Splits, listener: Listener) -> None:
    """Meets what cannot be used; of teachers that have to be trained first, only whether there is such a network.

    Raises:
        EdgexferError: A teacher, the device, the target or one of the further paths cannot be used.
    """
    find_device(plan.recipe.device)
    target_of(plan.target)
    at_hand(splits, plan.teachers, plan.teacher_recipe, listener, plan.names_file)
    if plan.paths:
        found = of_classes(gather(plan.paths), splits.classes)
        for note in found.notes:
            listener.warn(f"left out: {note}")
        if not found.artifacts:
            listener.warn(f"there is no artifact of these classes in {', '.join(map(str, plan.paths))}")


def _check_networks(shapes: Sequence[Shape], splits: Splits) -> None:
    """Meets networks that cannot be built.

    Raises:
        EdgexferError: One cannot.
    """
    for shape in shapes:
        nets.create(shape.network, len(splits.classes), input_size=(shape.image_size, shape.image_size))


def _finish(plan: SearchPlan, contest: Contest, ranked: Sequence[Shape], trace: Trace, listener: Listener) -> Chosen:
    """Trains the best fully, exports and measures them; where none fits then, the next ones.

    Raises:
        DeviceError: Nothing that was trained fits.
    """
    finalists: list[Trained] = []
    chosen: Chosen | None = None
    for shape in ranked:
        trained = contest.full(shape, needed=not finalists)
        if trained is None:
            continue
        finalists.append(trained)
        _export(plan, trained, trace, listener)
        if len(finalists) < min(FINALISTS, len(ranked)) and shape != ranked[-1]:
            continue
        chosen = _measured(plan, contest.splits.classes, trace, listener)
        if chosen.choice.chosen is not None:
            return chosen
        told = (
            f"{counted(len(finalists), 'student')} trained and exported, and none fits any more; the next one is tried"
        )
        listener.warn(told)
    chosen = chosen or _measured(plan, contest.splits.classes, trace, listener)
    if chosen.choice.chosen is None:
        nearest = chosen.choice.nearest
        told = "" if nearest is None else f"; nearest comes {nearest.name} at {nearest.latency_s * 1000:.3g} ms"
        raise DeviceError(
            f"nothing that was trained fits the budget when it is measured again{told}; allow a little more"
        )
    return chosen


def _export(plan: SearchPlan, trained: Trained, trace: Trace, listener: Listener) -> None:
    path = trace.folder / EXPORTED / f"{trained.shape.name}.onnx"
    if trace.find("export", shape=trained.shape.name, run=str(trained.run.name)) is not None:
        return
    listener.say(f"export {trained.shape.name}: proven, float32 and int8")
    started = time.monotonic()
    choice = ExportChoice(int8=True, target=plan.target, data=plan.data.source, data_root=plan.data.data_root)
    try:
        export_run(trained.run, path, choice, Hushed(listener), force=True)
    except QuantizationError as error:
        listener.warn(f"{trained.shape.name} has no int8 form: {error}")
    seconds = time.monotonic() - started
    trace.add([{"step": "export", "shape": trained.shape.name, "run": trained.run.name, "seconds": seconds}])


def _measured(plan: SearchPlan, classes: Sequence[str], trace: Trace, listener: Listener) -> Chosen:
    """The choice among everything exported, each file measured in the same turns; strangers are left out."""
    out = trace.folder
    paths = [out / EXPORTED, *plan.paths]
    found = of_classes(gather(paths), classes)
    files = sorted(artifact.sha256 for artifact in found.artifacts)
    before = trace.find("measured", files=files)
    if before is not None and all((out / name).is_file() for name in before["results"]):
        results = [out / name for name in before["results"]]
        found = of_classes(only(gather([*paths, *results]), results), classes)
        return decide(found, plan.budget, plan.wishes, listener, plan.data)
    started = time.monotonic()
    found = measured_now(paths, found, replace(plan.measuring, data=plan.data, out=out / "measured"), listener)
    found = of_classes(found, classes)
    chosen = decide(found, plan.budget, plan.wishes, listener, plan.data)
    line = {
        "step": "measured",
        "files": files,
        "results": [str(result.path.relative_to(os.path.abspath(out))) for result in found.results],
        "finals": [_final(candidate, chosen) for candidate in chosen.gathered.candidates],
        "seconds": time.monotonic() - started,
    }
    trace.add([line])
    return chosen


def _final(candidate: Candidate, chosen: Chosen) -> dict[str, Any]:
    return {
        "file": candidate.path.name,
        "precision": candidate.precision,
        "latency_s": candidate.latency_s,
        "size_bytes": candidate.size_bytes,
        "val_top1": candidate.top1,
        "chosen": candidate is chosen.choice.chosen,
    }


def _promoted(chosen: Chosen, out: Path) -> Path:
    """The chosen file under a plain name, with its proof and plan; what was not made here stays where it is.

    Out of a bundle's archive it is taken.
    """
    best = chosen.choice.chosen
    if best is None:
        raise DeviceError("nothing was chosen")
    source = best.path
    if source.suffix.lower() != ".onnx":
        return taken_out(source, best.sha256, out)
    if source.parent != Path(os.path.abspath(out / EXPORTED)):
        return source
    stem = source.name.removesuffix(".onnx").removesuffix(".int8")
    for path in out.glob(f"{STUDENT}.*"):  # of an earlier choice
        remove(path)
    for path in sorted(source.parent.glob(f"{glob.escape(stem)}.*")):
        target = out / path.name.replace(stem, STUDENT, 1)
        if path.name.endswith(".proof.json"):
            write_json(target, _renamed(read_json(path, "proof")))
        else:
            write_bytes(target, path.read_bytes())
    return out / source.name.replace(stem, STUDENT, 1)


def _renamed(proof: dict[str, Any]) -> dict[str, Any]:
    """A proof of the same bytes under another name."""
    made = {**proof, "artifact": f"{STUDENT}.onnx"}
    if isinstance(proof.get("int8"), dict):
        made["int8"] = {**proof["int8"], "artifact": f"{STUDENT}.int8.onnx"}
    return made
