"""The step that needs no teacher."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgexfer.training.fit import Batch, Step


def hard_label_step(label_smoothing: float) -> Step:
    """Cross-entropy with the true labels, smoothed by ``label_smoothing`` (Szegedy et al., CVPR 2016, section 7)."""

    def step(student: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        logits = student(batch["inputs"]).float()
        return {"loss": functional.cross_entropy(logits, batch["labels"], label_smoothing=label_smoothing)}

    return step
