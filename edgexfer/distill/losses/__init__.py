"""Losses of distillation, one file each: pure functions on logits, in float32, averaged over the batch.

Every soft loss takes the student's logits and the softened log-probabilities of the teachers' one voice, so that one
teacher, an ensemble and cached outputs all look the same to it.
"""

from edgexfer.distill.losses.dist import dist_loss
from edgexfer.distill.losses.dkd import dkd_loss, target_classes
from edgexfer.distill.losses.hinton import kd_loss
from edgexfer.distill.losses.hints import hint_loss
from edgexfer.distill.losses.standardise import standardise
from edgexfer.distill.losses.voice import ENSEMBLES, soft_targets

__all__ = [
    "ENSEMBLES",
    "dist_loss",
    "dkd_loss",
    "hint_loss",
    "kd_loss",
    "soft_targets",
    "standardise",
    "target_classes",
]
