"""Fine-tuning: every layer learns from hard labels, from pretrained weights or from random ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgexfer.runs import Run
from edgexfer.training import Job, Listener, hard_label_step, train


def finetune(job: Job, out: Path, listener: Listener, *, record: Mapping[str, Any]) -> Run:
    """Trains the network of ``job`` on hard labels and leaves a run in ``out``."""
    return train(job, hard_label_step(job.settings.label_smoothing), out, listener, record=record)
