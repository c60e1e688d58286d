"""The arms of ``distill_accuracy.py``: each is one way to teach the student."""

from __future__ import annotations

from dataclasses import dataclass

from edgexfer.distill import Objective
from edgexfer.workflows.distill import Teaching

THREE = ("cifar-resnet20", "cifar-resnet32", "cifar-resnet44")


@dataclass(frozen=True)
class Arm:
    """One way to teach the student.

    Attributes:
        teachers: Names of the networks; none for labels alone.
        teaching: Of an arm with teachers.
        smoothing: Label smoothing of an arm without.
        few: Whether only 2,000 pictures have a label, and the rest none.
        lr: Peak learning rate; the default if ``None``.
        mixup: Share of the pictures that are mixed.
        augment: How pictures are varied; the default if ``None``.
        photos: Whether it learns the photographs.
    """

    teachers: tuple[str, ...] = ()
    teaching: Teaching = Teaching()
    smoothing: float = 0.0
    few: bool = False
    lr: float | None = None
    mixup: float | None = None
    augment: str | None = None
    photos: bool = False


PHOTO_TEACHER = "photo-teacher"
ONE = ("cifar-resnet20",)
KD = Objective("kd")
ARMS = {
    "hard": Arm(),
    "smoothed": Arm(smoothing=0.1),
    "default": Arm(ONE),
    "kd": Arm(ONE, Teaching(KD)),
    "few-hard": Arm(few=True),
    "few-smoothed": Arm(few=True, smoothing=0.1),
    "few-unlabelled": Arm(ONE, few=True),
    "few-unlabelled-kd": Arm(ONE, Teaching(KD), few=True),
    "three": Arm(THREE),
    "three-weighted": Arm(THREE, Teaching(ensemble="weighted")),
    "three-arithmetic": Arm(THREE, Teaching(ensemble="arithmetic")),
    "kd-T2": Arm(ONE, Teaching(Objective("kd", temperature=2.0))),
    "kd-low-lr": Arm(ONE, Teaching(KD), lr=2e-3),
    "dist": Arm(ONE, Teaching(Objective("dist"))),
    "dkd": Arm(ONE, Teaching(Objective("dkd"))),
    "hard-high-lr": Arm(lr=4e-3),
    "default-mixup": Arm(ONE, mixup=0.5),
    "kd-mixup": Arm(ONE, Teaching(KD), mixup=0.5),
    "dist-mixup": Arm(ONE, Teaching(Objective("dist")), mixup=0.5),
    "dkd-mixup": Arm(ONE, Teaching(Objective("dkd")), mixup=0.5),
    "three-mixup": Arm(THREE, mixup=0.5),
    "kd-strong": Arm(ONE, Teaching(KD), augment="strong"),
    "hard-mixup": Arm(mixup=0.5),
    "photo-hard": Arm(photos=True),
    "photo-smoothed": Arm(photos=True, smoothing=0.1),
    "photo-default": Arm((PHOTO_TEACHER,), photos=True),
    "photo-kd": Arm((PHOTO_TEACHER,), Teaching(KD), photos=True),
    "photo-hard-mixup": Arm(photos=True, mixup=0.5),
    "photo-dist": Arm((PHOTO_TEACHER,), Teaching(Objective("dist")), photos=True),
    "resnet56": Arm(("cifar-resnet56",)),
    "resnet8": Arm(("mlperf-resnet8",)),
}
