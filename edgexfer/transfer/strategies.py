"""Carries a strategy out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgexfer.errors import RecipeError
from edgexfer.runs import Run
from edgexfer.training import Job, Listener
from edgexfer.training.compute import Compute
from edgexfer.transfer.classifier import train_classifier
from edgexfer.transfer.finetune import finetune
from edgexfer.transfer.head import train_head
from edgexfer.transfer.probe import Probe
from edgexfer.transfer.strategy import AUTO, STRATEGIES, WORDS, Strategy


def transfer(
    job: Job,
    strategy: Strategy,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    probes: Sequence[Probe] = (),
) -> Run:
    """Trains the network of ``job`` by a strategy and leaves a run in ``out``.

    Args:
        job: What to train on.
        strategy: How much of the network is retrained, and how.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings and the strategy.
        probes: The probe by depth of the job's network, where advice has made it already.

    Raises:
        RecipeError: The strategy is still ``auto``: ask ``advise`` first.
        EdgexferError: The training cannot start or go on.
    """
    if strategy.name == AUTO:
        raise RecipeError(f"strategy is {AUTO!r}; allowed here: {', '.join(STRATEGIES)}")
    record = {**record, "strategy": strategy.to_dict()}
    listener.say(f"strategy {strategy.name}: {WORDS[strategy.name]}")
    if strategy.name in ("head", "classifier"):
        job = _plain(job, strategy, listener)
        record |= Compute().to_dict()
    if strategy.name == "head":
        return train_head(job, strategy, out, listener, record=record)
    if strategy.name == "classifier":
        return train_classifier(job, strategy, out, listener, record=record, probes=probes)
    return finetune(job, strategy, out, listener, record=record)


def _plain(job: Job, strategy: Strategy, listener: Listener) -> Job:
    """The job without a precision and a compiler that do not reach what learns on frozen features."""
    settings = job.settings
    if settings.precision == "bfloat16":
        listener.warn(f"--precision bfloat16 does not reach the strategy {strategy.name}, which computes in float32")
        settings = replace(settings, precision="float32")
    if settings.compile:
        listener.warn(f"--compile does not reach the strategy {strategy.name}, whose steps are small")
        settings = replace(settings, compile=False)
    return replace(job, settings=settings)
