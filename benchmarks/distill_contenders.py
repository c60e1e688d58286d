"""The contenders of ``distill_speed.py``: each trains the same student from the same teacher, and is timed."""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

STUDENT, TEACHER = "tiny-darknet", "cifar-resnet56"
BATCH, LR, WEIGHT_DECAY, TEMPERATURE, ALPHA = 64, 2e-3, 0.05, 4.0, 0.9


class Watch:
    """Seconds of training epochs, and the validation accuracy after each."""

    def __init__(self) -> None:
        self.wall_s, self.cpu_s, self.images = 0.0, 0.0, 0
        self.curve: list[tuple[float, float]] = []
        self._started = (time.perf_counter(), time.process_time())

    def start(self) -> None:
        """An epoch begins."""
        self._started = (time.perf_counter(), time.process_time())

    def stop(self, images: int) -> None:
        """An epoch of so many pictures has ended."""
        self.wall_s += time.perf_counter() - self._started[0]
        self.cpu_s += time.process_time() - self._started[1]
        self.images += images

    def validated(self, top1: float) -> None:
        """What the student scores now."""
        self.curve.append((self.wall_s, top1))

    def result(self) -> dict[str, Any]:
        """As the result file holds it."""
        return {
            "images_per_s": self.images / self.wall_s,
            "images_per_cpu_s": self.images / self.cpu_s,
            "wall_s": self.wall_s,
            "curve": self.curve,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def networks(weights: Path, seed: int) -> tuple[Any, Any]:
    """Student and teacher, taking normalised pictures; the random numbers of what follows begin with the seed."""
    import torch

    from edgexfer import nets

    torch.manual_seed(seed)
    student = nets.create(STUDENT, 10, input_size=(32, 32), seed=seed)
    teacher = nets.create(TEACHER, 10, weights=str(weights), input_size=(32, 32))
    return student, teacher.eval().requires_grad_(False)


def folders(data: Path) -> tuple[Any, Any]:
    """Training and validation pictures as torchvision reads and varies them."""
    from edgexfer.torchvision_import import import_torchvision

    import_torchvision()
    from torchvision import datasets, transforms

    usual = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    varied = [transforms.RandomCrop(32, padding=4, padding_mode="reflect"), transforms.RandomHorizontalFlip()]
    train = datasets.ImageFolder(str(data / "train"), transforms.Compose([*varied, transforms.ToTensor(), usual]))
    return train, datasets.ImageFolder(str(data / "val"), transforms.Compose([transforms.ToTensor(), usual]))


def top1(student: Any, validation: Any) -> float:
    """Accuracy of a student that takes normalised pictures."""
    import torch

    student.eval()
    with torch.no_grad():
        right = sum(int((student(x).argmax(1) == y).sum()) for x, y in validation)
    student.train()
    return right / len(validation.dataset)


def run_plain(options: argparse.Namespace) -> dict[str, Any]:
    """The loop of the tutorials: the teacher in it, and a DataLoader of decoded files."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader

    student, teacher = networks(options.weights, options.seed)
    train, val = folders(options.data)
    loader = DataLoader(train, BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * len(loader))
    watch = Watch()
    for _ in range(options.epochs):
        student.train()
        watch.start()
        for x, y in loader:
            with torch.no_grad():
                targets = functional.log_softmax(teacher(x) / TEMPERATURE, dim=1)
            logits = student(x)
            soft = functional.kl_div(
                functional.log_softmax(logits / TEMPERATURE, dim=1), targets, reduction="batchmean", log_target=True
            )
            loss = ALPHA * TEMPERATURE**2 * soft + (1 - ALPHA) * functional.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        watch.stop(len(train))
        watch.validated(top1(student, DataLoader(val, BATCH)))
    return watch.result()


def run_torchdistill(options: argparse.Namespace) -> dict[str, Any]:
    """Torchdistill's box, trained as its examples do."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler

    from edgexfer.torchvision_import import import_torchvision

    import_torchvision()
    from torchdistill.core.distillation import get_distillation_box

    student, teacher = networks(options.weights, options.seed)
    train, val = folders(options.data)
    paths = {"student_module_path": ".", "student_module_io": "output"}
    paths |= {"teacher_module_path": ".", "teacher_module_io": "output"}
    loss = {"key": "KDLoss", "kwargs": {**paths, "temperature": TEMPERATURE, "alpha": 1 - ALPHA}}
    steps = options.epochs * -(-len(train) // BATCH)
    config = {
        "num_epochs": options.epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {"batch_size": BATCH},
        },
        "teacher": {"sequential": [], "requires_grad": False, "forward_proc": "forward_batch_only"},
        "student": {"sequential": [], "requires_grad": True, "forward_proc": "forward_batch_only"},
        "optimizer": {"key": "AdamW", "kwargs": {"lr": LR, "weight_decay": WEIGHT_DECAY}},
        "scheduler": {"key": "CosineAnnealingLR", "kwargs": {"T_max": steps}, "scheduling_step": 1},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}}},
    }
    box = get_distillation_box(teacher, student, {"train": train}, config, torch.device("cpu"), None, False, 1)
    teacher.eval()
    watch = Watch()
    for epoch in range(options.epochs):
        watch.start()
        box.pre_epoch_process(epoch=epoch)
        for x, y, extra in box.train_data_loader:
            box.pre_forward_process()
            box.post_forward_process(loss=box.forward_process(x, targets=y, supp_dict=extra))
        box.post_epoch_process()
        watch.stop(len(train))
        watch.validated(top1(box.student_model, DataLoader(val, BATCH)))
    return watch.result()


def run_ours(options: argparse.Namespace) -> dict[str, Any]:
    """``edgexfer distill`` from its library, with whatever the cache holds."""
    from edgexfer.distill import Objective
    from edgexfer.training import Recipe, Silent
    from edgexfer.workflows.data import DataChoice
    from edgexfer.workflows.distill import Teaching, distill_data
    from edgexfer.workflows.train import Start, Target

    watch = Watch()

    class Timed(Silent):
        """Times what ``fit`` calls an epoch: its training, not its validation."""

        timing = False

        def begin(self, title: str, total: int) -> None:
            self.timing = title.startswith("epoch ")
            watch.start()

        def end(self) -> None:
            if self.timing:
                watch.stop(options.images)
            self.timing = False

        def epoch(self, metrics: Mapping[str, Any]) -> None:
            watch.validated(metrics["val_top1"])
            waiting.append(metrics["waiting_share"])

    waiting: list[float] = []
    recipe = Recipe(
        epochs=options.epochs,
        batch_size=BATCH,
        lr=LR,
        image_size=32,
        device="cpu",
        precision=options.precision,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory() as out:
        (result,) = distill_data(
            DataChoice(str(options.data)),
            [Start(STUDENT)],
            [Start(TEACHER, str(options.weights))],
            recipe,
            Target(Path(out) / "run"),
            Timed(),
            Teaching(Objective("kd", TEMPERATURE, ALPHA)),
        )
    return {
        **watch.result(),
        "waiting_share": statistics.mean(waiting),
        "compute": {key: result.student.recipe[key] for key in ("precision", "channels_last")},
    }


def run_limit(options: argparse.Namespace) -> dict[str, Any]:
    """The student alone on one batch in memory: as fast as this machine gets."""
    import torch

    from edgexfer.training.compute import Compute
    from edgexfer.training.optim import build_optimizer

    student, _ = networks(options.weights, options.seed)
    compute = Compute(options.precision, channels_last=options.precision == "bfloat16")
    compute.network(student)
    optimizer = build_optimizer(student, "adamw", LR, WEIGHT_DECAY)
    device = torch.device("cpu")
    batch = compute.batch({"inputs": torch.randn(BATCH, 3, 32, 32), "labels": torch.randint(0, 10, (BATCH,))}, device)
    watch = Watch()
    for step in range(options.epochs * options.images // BATCH + 3):
        if step == 3:
            watch.start()
        with compute.autocast(device):
            logits = student(batch["inputs"])
        loss = torch.nn.functional.cross_entropy(logits.float(), batch["labels"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    watch.stop(options.epochs * options.images // BATCH * BATCH)
    return watch.result()


WORK: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "plain": run_plain, "torchdistill": run_torchdistill, "cold": run_ours, "warm": run_ours, "limit": run_limit,
}  # fmt: skip
