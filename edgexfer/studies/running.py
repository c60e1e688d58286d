"""Runs a study: seed by seed, each kept when it is finished, so that an interrupted study is gone on with."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgexfer.device import load
from edgexfer.errors import RecipeError, WouldOverwriteError
from edgexfer.files import FORMAT, read_json, remove, to_json, write_json
from edgexfer.runs import utc_now
from edgexfer.studies.catalogue import Entry, studies
from edgexfer.studies.folder import (
    IDENTITY_FILE,
    PAGE_FILE,
    SEEDS_FOLDER,
    STUDY_FILE,
    WORK_FOLDER,
    check_folder,
    make_room,
)
from edgexfer.studies.page import write_page
from edgexfer.studies.values import Lab, Measured, Study, StudyResult
from edgexfer.training import Listener
from edgexfer.training.compute import within_memory
from edgexfer.training.job import split_views
from edgexfer.training.pictures import warn_of_left_out
from edgexfer.version import __version__
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start

USUAL_SEEDS = (0, 1, 2)
_FACTS = ("system", "architecture", "cpu", "cpu_features", "cores", "memory_bytes", "virtual", "python")


@dataclass(frozen=True)
class StudyTarget:
    """Where a study goes.

    Attributes:
        out: Its folder.
        force: Whether a study that is there may be replaced.
        argv: The command as it was typed.
    """

    out: Path
    force: bool = False
    argv: tuple[str, ...] = ()


@within_memory("pass --fast")
def run_study(
    name: str,
    data: DataChoice,
    target: StudyTarget,
    listener: Listener,
    *,
    seeds: Sequence[int] = USUAL_SEEDS,
    fast: bool = False,
    starts: Sequence[Start] = (),
) -> StudyResult:
    """Measures a study and leaves ``study.json`` and ``study.html`` in ``target.out``.

    Seeds that are finished there already, of the same study on the same pictures, are taken as they are.

    Args:
        name: One of ``catalogue.studies()``.
        data: The pictures; each seed draws its own split where the source brings none.
        target: Where it goes.
        listener: Hears how it goes.
        seeds: One measurement each.
        fast: The short form: fewer pictures and steps.
        starts: Networks with their weights, for the studies that take them.

    Raises:
        UnknownNameError: No study goes by that name.
        RecipeError: There are no seeds, or one twice, or networks were named that the study does not take.
        EdgexferError: The pictures, or the networks with their weights, cannot be used.
        WouldOverwriteError: Another study lies in ``target.out``, and ``force`` is off; or what no study left, or what
            this one reads, lies where it would be replaced.
    """
    entry = _entry(name, seeds, starts)
    study = entry.load()
    used = [*data.paths(), *(path for start in starts for path in start.paths())]
    check_folder(target.out, seeds, force=target.force, used=used)

    def lab_of(seed: int) -> Lab:
        splits = dataclasses.replace(data, seed=seed).load()
        return Lab(splits, seed, fast, target.out / WORK_FOLDER / f"{seed}", listener, data, tuple(starts))

    if target.force:
        for seed in seeds:
            study.check(lab_of(seed))  # what cannot be used is refused while what is there still is
        make_room(target.out)
    measured: list[Measured] = []
    classes: tuple[str, ...] = ()
    for seed in seeds:
        lab = lab_of(seed)
        if not measured:
            warn_of_left_out(lab.splits.skipped, listener)
        classes = lab.splits.classes
        measured.append(_seed(entry, study, lab, target))
    result = StudyResult(
        name=name,
        title=entry.title,
        source=data.source,
        classes=classes,
        measured=tuple(measured),
        claims=tuple(study.judge([one.numbers for one in measured])),
        fast=fast,
        command=target.argv,
        created=utc_now(),
        machine=machine_facts(),
    )
    write_json(target.out / STUDY_FILE, result.to_dict())
    write_page(result, study.tell(result), target.out / PAGE_FILE)
    return result


def _entry(name: str, seeds: Sequence[int], starts: Sequence[Start]) -> Entry:
    """The study of that name, once it is known that it can be run as asked."""
    entry = studies()[name]
    if not seeds or len(set(seeds)) < len(seeds):
        raise RecipeError(f"seeds are {list(seeds)}; at least one is needed, and each once")
    if starts and not entry.takes_networks:
        takers = ", ".join(other for other in studies() if studies()[other].takes_networks)
        raise RecipeError(f"{name} makes its own networks; --model and --weights are for {takers}")
    return entry


def machine_facts() -> dict[str, Any]:
    """What a result says of the machine: nothing that names its owner."""
    found = load("_edgexfer_machine").describe()
    return {
        **{key: found[key] for key in _FACTS},
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }


def _seed(entry: Entry, study: Study, lab: Lab, target: StudyTarget) -> Measured:
    """One seed, as it lies in the folder or measured now."""
    seed, splits, listener = lab.seed, lab.splits, lab.listener
    counts = {name: len(view) for name, view in split_views(splits).items()}
    data = {**{f"{name}_images": count for name, count in counts.items()}, "fingerprint": splits.fingerprint}
    identity = {"study": entry.name, "fast": lab.fast, "data": data, "edgexfer_version": __version__}
    identity |= {"networks": [[start.model, start.weights] for start in lab.starts]} if lab.starts else {}
    file = target.out / SEEDS_FOLDER / f"{seed}.json"
    known = read_json(file, "seed of a study") if file.is_file() else None
    if known is not None and known.get("identity") == identity:
        listener.say(f"seed {seed}: measured already, in {known['seconds']:.0f} s")
        return Measured(seed, known["numbers"], known["seconds"], data)
    if known is not None:
        raise WouldOverwriteError(
            f"{str(target.out)!r} holds seed {seed} of another study, of other pictures, of the other form or of"
            " another edgexfer; choose another --out or pass --force to replace it"
        )
    study.check(lab)
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    listener.say(f"seed {seed}: {entry.name} on {splits.source}; pictures: {told}")
    _claim_work(lab.work, identity)
    started = time.perf_counter()
    numbers = json.loads(to_json(study.measure(lab)))  # as it will be read again, in the order of its keys
    seconds = time.perf_counter() - started
    write_json(file, {"format": FORMAT, "identity": identity, "numbers": numbers, "seconds": seconds})
    remove(lab.work)
    if not os.listdir(lab.work.parent):
        lab.work.parent.rmdir()
    listener.say(f"seed {seed}: done in {seconds:.0f} s")
    return Measured(seed, numbers, seconds, data)


def _claim_work(work: Path, identity: dict[str, Any]) -> None:
    """The seed's folder for runs: gone on with where it is of the same study, emptied otherwise."""
    note = work / IDENTITY_FILE
    if note.is_file() and read_json(note, "study's work folder").get("identity") == identity:
        return
    remove(work)
    write_json(note, {"format": FORMAT, "identity": identity})
