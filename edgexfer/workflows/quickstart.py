"""``edgexfer quickstart``: the whole way on scikit-learn's handwritten digits, which need no download."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.files import refuse_overwrite, remove
from edgexfer.results import run_bench
from edgexfer.training import Listener, Recipe
from edgexfer.workflows.bundle import make_bundle
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import DistillResult, Teaching, distill_data
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.replacing import check_replaceable
from edgexfer.workflows.report import make_report
from edgexfer.workflows.train import Start, Target, finetune_data

TEACHER = "resnet18"
TEACHER_FOLDER = "teacher"
STUDENT = "tiny-darknet"
TEACHER_EPOCHS = 4
STUDENT_EPOCHS = 8
BATCH_SIZE = 64
BENCH_SECONDS = 2.0


@dataclass(frozen=True)
class QuickstartResult:
    """What a quickstart leaves behind, all inside one folder.

    Attributes:
        out: The folder.
        distilled: The student's run, with its teacher's scores.
        exported: What ``edgexfer export --json`` would print.
        bench: The benchmark result, as its file holds it.
        report: The report page.
    """

    out: Path
    distilled: DistillResult
    exported: dict[str, Any]
    bench: dict[str, Any]
    report: Path


def quickstart(out: Path, listener: Listener, *, seed: int = 0, force: bool = False) -> QuickstartResult:
    """Teacher, student, folding, ONNX in float32 and int8, bundle, benchmark and report, in ``out``.

    Raises:
        WouldOverwriteError: ``out`` exists and ``force`` is off, or it is no quickstart's.
    """
    refuse_overwrite(out, force)
    if out.exists():
        check_replaceable(out, (), first=TEACHER_FOLDER)
    remove(out)
    data = DataChoice("digits", seed=seed)
    argv = ("edgexfer", "quickstart", "--out", str(out), "--seed", str(seed))
    listener.say(f"1/6 teacher: {TEACHER} learns the digits")
    recipe = Recipe(epochs=TEACHER_EPOCHS, batch_size=BATCH_SIZE, seed=seed)
    finetune_data(data, Start(TEACHER), recipe, Target(out / TEACHER_FOLDER, argv=argv), listener)
    listener.say(f"2/6 student: {STUDENT} learns from the teacher")
    (distilled,) = distill_data(
        data,
        [Start(STUDENT)],
        [Start(str(out / TEACHER_FOLDER))],
        Recipe(epochs=STUDENT_EPOCHS, batch_size=BATCH_SIZE, seed=seed),
        Target(out / "student", argv=argv),
        listener,
        Teaching(),
    )
    listener.say("3/6 export: BatchNorm folded, ONNX in float32 and int8, each proven")
    exported = export_run(out / "student", out / "student.onnx", ExportChoice(int8=True), listener)
    artifacts = [out / "student.onnx", Path(exported["int8"]["artifact"])]
    listener.say("4/6 bundle: what would go to the device")
    bundle = make_bundle(artifacts, data, out / "bundle", listener)
    listener.say("5/6 benchmark: the device's own script, on this machine")
    bench = run_bench(
        bundle,
        out=out / "bench.json",
        min_seconds=BENCH_SECONDS,
        min_runs=100,
        threads="1",
        verify_only=False,
        force=False,
    )
    listener.say("6/6 report")
    report = out / "report.html"
    make_report([out], report, title="edgexfer quickstart: handwritten digits")
    return QuickstartResult(out, distilled, exported, json.loads(bench.read_text(encoding="utf-8")), report)
