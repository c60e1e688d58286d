"""The strategy ``classifier``: the feature extractor stays, everything above it is retrained.

The extractor runs once over the pictures (see ``crossings``). Above the cut dropout and BatchNorm behave as in any
training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from edgexfer import nets
from edgexfer.errors import NetworkError
from edgexfer.runs import RESUME_FOLDER, Run
from edgexfer.training import Extras, Job, Listener, fit, hard_label_step
from edgexfer.training.checkpoint import copy_state
from edgexfer.training.fit import FitResult
from edgexfer.training.followed import followed
from edgexfer.training.leave import leave_run
from edgexfer.training.optim import LayerPlan, refuse_single_pictures
from edgexfer.transfer.blocks import EMBEDDING, Cut, before_dense_layers, cut_at
from edgexfer.transfer.crossings import compute_crossings, predict_crossings
from edgexfer.transfer.features import Extractor
from edgexfer.transfer.finetune import batchnorm_frozen, class_weights, finish_with, settle_batchnorm
from edgexfer.transfer.head import fit_students_head, head_scores, ready_student
from edgexfer.transfer.probe import Probe, probe_by_depth
from edgexfer.transfer.strategy import Strategy


def train_classifier(
    job: Job,
    strategy: Strategy,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    probes: Sequence[Probe] = (),
) -> Run:
    """Retrains what lies above the feature extractor and leaves a run in ``out``.

    Args:
        job: What to train on.
        strategy: Where to cut, how many views, and how BatchNorm above the cut is treated.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings.
        probes: The probe by depth, where it has been made already.

    Raises:
        NetworkError: The network cannot be cut, or not there.
        TrainingError: What crosses the cut does not fit on the disk.
    """
    out.mkdir(parents=True, exist_ok=True)
    if job.settings.mixup:
        listener.warn("--mixup does not reach what lies above the cut: the extractor saw each picture by itself")
    student = ready_student(job)
    policy = settle_batchnorm(job, student, strategy.bn, listener)
    scores = head_scores(fit_students_head(job, student, listener, balance=strategy.balance))
    parts, probes = choose_cut(job, student, strategy.cut, probes, listener)
    above = nets.count_parameters(parts.suffix)
    total = nets.count_parameters(student.net)
    listener.say(f"retraining everything above {parts.place.name}: {above:,} of {total:,} parameters")
    layers = LayerPlan() if policy == "train" else LayerPlan(thaws=batchnorm_frozen(parts.suffix))
    refuse_single_pictures(parts.suffix, job.settings.batch_size, layers)
    train, val = compute_crossings(job, student, parts.prefix, strategy.views, listener)
    identity = {**job.identity, "strategy": strategy.to_dict()}
    with followed(out, job.settings.epochs, listener) as told:
        result = fit(
            parts.suffix,
            hard_label_step(job.settings.label_smoothing, class_weights(job, strategy.balance)),
            train,
            lambda net: predict_crossings(net, val, job.splits.val.labels, job.device),
            job.settings,
            device=job.device,
            folder=out,
            resume_folder=out / RESUME_FOLDER,
            listener=told,
            extras=Extras(layers=layers, count_start=True, identity=identity),
        )
    scores |= {"cut": parts.place.name, "trained_parameters": above, "views": train.views, "bn_policy": policy}
    if probes:
        scores["probe_by_depth"] = [vars(probe) for probe in probes]
    whole = _of_the_whole(result, parts.suffix, student)
    finish = finish_with(job, strategy, listener)
    return leave_run(job, student, whole, out, listener, record=record, extra_scores=scores, finish=finish)


def choose_cut(
    job: Job, student: nets.Normalized, cut: str | None, probes: Sequence[Probe], listener: Listener
) -> tuple[Cut, Sequence[Probe]]:
    """Where to cut: where the user says, below the dense layers, or where the probe by depth is best.

    Returns:
        The cut, and the probes that chose it; none where none was needed.
    """
    if cut is not None:
        return cut_at(student.net, cut), ()
    dense = before_dense_layers(student.net)
    if dense is not None:
        return dense, ()
    if not probes:
        extract = Extractor(student, job.preprocessing, job.device, model=job.model, with_depths=True)
        rows = extract(job.splits.train, job.stores["train"], listener)
        classes, labels = len(job.splits.classes), job.splits.train.labels
        probes = probe_by_depth(rows, extract.depths, labels, classes, job.settings.seed, job.splits.train.groups)
        told = ", ".join(f"{probe.place} {probe.top1:.1%}" for probe in probes)
        listener.say(f"linear probe by depth: {told}")
    inner = [probe for probe in probes if probe.place != EMBEDDING]
    if not inner:
        raise NetworkError(f"{job.model} has no place where it can be cut; use --strategy head or full")
    best = max(probes, key=lambda probe: probe.top1)
    chosen = inner[-1] if best.place == EMBEDDING else best
    listener.say(f"features stay general up to {chosen.place}")
    return cut_at(student.net, chosen.place), probes


def _of_the_whole(result: FitResult, suffix: nn.Module, student: nets.Normalized) -> FitResult:
    """The same result with the weights of the whole student in place of the suffix's."""
    states = []
    for state in (result.last, result.best):
        suffix.load_state_dict(state)  # the suffix shares the student's layers
        states.append(copy_state(student.state_dict()))
    return FitResult(states[1], states[0], result.best_epoch, result.metrics, result.seconds)
