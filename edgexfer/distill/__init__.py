"""Distillation: a student learns from the softened outputs of one teacher or an ensemble."""

from edgexfer.distill.checking import Checked, check_teachers, confidence
from edgexfer.distill.distill import describe_teachers, distill, distill_step, hard_label_baseline, soft_loss
from edgexfer.distill.objective import Choice, Hint, Objective, Settled, settle
from edgexfer.distill.teacher import Teacher, Teachers, from_onnx, from_run, from_weights

__all__ = [
    "Checked",
    "Choice",
    "Hint",
    "Objective",
    "Settled",
    "Teacher",
    "Teachers",
    "check_teachers",
    "confidence",
    "describe_teachers",
    "distill",
    "distill_step",
    "from_onnx",
    "from_run",
    "from_weights",
    "hard_label_baseline",
    "settle",
    "soft_loss",
]
