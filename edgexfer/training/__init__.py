"""Training: one fit loop for every student, its optimisers, schedule, checkpoints and the run it leaves behind."""

from edgexfer.training.fit import FitResult, fit
from edgexfer.training.job import Job, prepare, train
from edgexfer.training.learner import Extras, Step
from edgexfer.training.listener import Listener, Silent
from edgexfer.training.recipe import Recipe, Settings
from edgexfer.training.scoring import Predictions, predict, top1
from edgexfer.training.steps import hard_label_step, hard_loss

__all__ = [
    "Extras",
    "FitResult",
    "Job",
    "Listener",
    "Predictions",
    "Recipe",
    "Settings",
    "Silent",
    "Step",
    "fit",
    "hard_label_step",
    "hard_loss",
    "predict",
    "prepare",
    "top1",
    "train",
]
