"""Distillation: a student learns from the softened outputs of one teacher or an ensemble."""

from edgexfer.distill.distill import Softness, describe_teachers, distill, distill_step, hard_label_baseline
from edgexfer.distill.losses import distillation_loss, kd_loss, soft_targets
from edgexfer.distill.teacher import Teacher, Teachers, check_teachers, from_run, from_weights

__all__ = [
    "Softness",
    "Teacher",
    "Teachers",
    "check_teachers",
    "describe_teachers",
    "distill",
    "distill_step",
    "distillation_loss",
    "from_run",
    "from_weights",
    "hard_label_baseline",
    "kd_loss",
    "soft_targets",
]
