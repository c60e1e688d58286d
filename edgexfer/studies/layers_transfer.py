"""``layers-transfer``: how transferable each depth of a network is, frozen and fine-tuned.

Yosinski, Clune, Bengio and Lipson, "How transferable are features in deep neural networks?", NeurIPS 2014: the first n
layers come from a network that learned other classes, those above start from random weights; the copied ones are frozen
or learn along. n = 0 is training from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from edgexfer import nets
from edgexfer.report.tables import Figure, Key
from edgexfer.runs import Run
from edgexfer.studies.drawing import Band, Panel, draw_panels, mean_table
from edgexfer.studies.parts import at_most, halves
from edgexfer.studies.stepping import picture_side
from edgexfer.studies.trainings import counting, kept, network_of, quiet_job, scores_of_run, study_recipe
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, percent_of, seeds_words
from edgexfer.training import Extras, Job, Silent, hard_label_step, train
from edgexfer.training.optim import LayerPlan, batchnorms

NETWORK, LAYERS = "conv_bn", 6
PER_CLASS, MOST_SOURCE, MOST_HELD = 20, 2_000, 500
KINDS = ("frozen", "fine-tuned")


def measure(lab: Lab) -> dict[str, Any]:
    """A network on half of the classes, and for each depth its first layers in one for the other half."""
    side, parts = picture_side(lab), halves(lab.splits, lab.seed)
    source = at_most(parts.source, 300 if lab.fast else MOST_SOURCE, MOST_HELD, lab.seed)
    target = at_most(parts.target, PER_CLASS * len(parts.target.classes), 100 if lab.fast else MOST_HELD, lab.seed)
    base = quiet_job(source, NETWORK, study_recipe(lab, len(source.train), side))
    job = quiet_job(target, NETWORK, study_recipe(lab, len(target.train), side))
    depths = (2, LAYERS) if lab.fast else range(1, LAYERS + 1)
    found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    with counting(lab, 2 + 2 * len(depths)) as progress:
        run = kept(lab.work / "base", lambda out: _trained(base, base.new_student(), out, None))
        progress.step(f"{parts.words}: {run.scores['val_top1']:.1%}")
        trained = network_of(lab.work / "base", base)
        scratch = kept(lab.work / "scratch", lambda out: _trained(job, job.new_student(), out, None))
        progress.step(f"from scratch: {scratch.scores['val_top1']:.1%}")
        for depth in depths:
            for kind in KINDS:
                out = lab.work / f"{kind}-{depth}"
                plan = frozen_below(job.new_student(), depth) if kind == "frozen" else None
                done = kept(out, lambda out, d=depth, p=plan: _trained(job, grafted(job, trained, d), out, p))  # type: ignore[misc]
                found[kind][f"{depth}"] = scores_of_run(done)
                progress.step(f"{depth} layers, {kind}: {done.scores['val_top1']:.1%}")
    return {
        "target": list(target.classes),
        "source_words": parts.words,
        "source_val_top1": run.scores["val_top1"],
        "target_images": len(target.train),
        "scratch": scores_of_run(scratch),
        **found,
    }


def _trained(job: Job, student: nets.Normalized, out: Path, plan: LayerPlan | None) -> Run:
    extras = Extras() if plan is None else Extras(layers=plan)
    return train(job, hard_label_step(0.0), out, Silent(), record={"command": "study"}, student=student, extras=extras)


def layers_of(net: nn.Module) -> list[list[str]]:
    """Names of the modules of each layer with weights, its BatchNorm included, from the input on; the head is none."""
    found: list[list[str]] = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            found.append([name])
        elif found and batchnorms([module]):
            found[-1].append(name)
    return found


def grafted(job: Job, trained: nets.Normalized, depth: int) -> nets.Normalized:
    """A new student of ``job`` whose first ``depth`` layers are those of a trained network."""
    student = job.new_student()
    for names in layers_of(student)[:depth]:
        for name in names:
            student.get_submodule(name).load_state_dict(trained.get_submodule(name).state_dict())
    return student


def frozen_below(student: nets.Normalized, depth: int) -> LayerPlan:
    """The first ``depth`` layers never learn, their BatchNorm keeps its statistics."""
    names = [
        f"{module}.{name}"
        for layer in layers_of(student)[:depth]
        for module in layer
        for name, _ in student.get_submodule(module).named_parameters()
    ]
    return LayerPlan(thaws=dict.fromkeys(names))


def top1(numbers: Numbers, kind: str, depth: int) -> float:
    """Test accuracy with so many layers copied; from scratch for none."""
    scores: Mapping[str, Any] = numbers["scratch"] if depth == 0 else numbers[kind][f"{depth}"]
    return float(scores["test_top1"])


def depths_of(numbers: Numbers) -> list[int]:
    """The depths that were measured, 0 first."""
    return [0, *sorted(int(depth) for depth in numbers["frozen"])]


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Early layers are general, late ones specific; fine-tuning heals what freezing breaks."""
    first, last = depths_of(numbers[0])[1], depths_of(numbers[0])[-1]
    drop = tuple(top1(one, "frozen", first) - top1(one, "frozen", last) for one in numbers)
    healed = tuple(top1(one, "fine-tuned", last) - top1(one, "frozen", last) for one in numbers)
    gain = tuple(top1(one, "fine-tuned", last) - top1(one, "fine-tuned", 0) for one in numbers)
    cost = tuple(top1(one, "frozen", 0) - top1(one, "frozen", first) for one in numbers)
    words = numbers[0]["source_words"]
    early = "first layer" if first == 1 else f"first {first} layers"
    whole = f"Test accuracy with all {last} layers copied"
    return [
        Claim(f"Frozen early layers serve {words} better than all frozen layers do.",
              f"Test accuracy with the {early} copied and frozen less that with all {last}", drop, "points", 0.01),
        Claim("Fine-tuning the copied layers recovers what freezing them loses.", f"{whole}, fine-tuned less frozen",
              healed, "points", 0.01),
        Claim("Copied and fine-tuned layers do better than random weights.",
              f"{whole} and fine-tuned less that from scratch", gain, "points", 0.01),
        Claim("The first frozen layers cost nothing against training from scratch.",
              f"Test accuracy from scratch less that with the {early} copied and frozen", cost, "points", 0.01,
              at_most=True),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Accuracy against the number of copied layers."""
    depths = depths_of(result.numbers[0])
    bands = [
        Band(kind, depths, [[top1(one, kind, depth) for depth in depths] for one in result.numbers], i, dotted=True)
        for i, kind in enumerate(KINDS)
    ]
    title = "Test accuracy against the number of layers that were copied"
    first = result.numbers[0]
    caption = (
        f"Copied from the same network on {first['source_words']}; {first['target_images']:,} pictures of"
        f" {len(first['target'])} classes to learn from. 0 is training from scratch, {LAYERS} leaves only a new output"
        f" layer. {seeds_words(result)}"
    )
    panels = [Panel("test accuracy", bands, fraction=True)]
    ticks = [(depth, f"{depth}") for depth in depths]
    wide, narrow = draw_panels("depth", panels, x="copied layers", description=title, ticks=ticks)
    table = mean_table(title, "copied layers", bands, fraction=True)
    keys = [Key(f"copied and {kind}", i) for i, kind in enumerate(KINDS)]
    return Telling([Figure(title, caption, wide, narrow, table, keys)], _seen(result), _LITERATURE, _DIFFERS)


def _seen(result: StudyResult) -> str:
    drop, healed, gain, cost = result.claims
    first, last = depths_of(result.numbers[0])[1], depths_of(result.numbers[0])[-1]
    words = result.numbers[0]["source_words"]

    def share(kind: str, depth: int) -> str:
        return percent_of([top1(one, kind, depth) for one in result.numbers])

    return (
        f"From scratch the network was right for {share('frozen', 0)} of the test pictures. With {first} of"
        f" {last} layers copied from a network on {words} and frozen it had {share('frozen', first)}"
        f", {claim_words(cost)}, with all of them {share('frozen', last)}, {claim_words(drop)}. Copied and"
        f" fine-tuned, all layers gave {share('fine-tuned', last)}: {healed.measured} against frozen ones,"
        f" {claim_words(healed)}, and {gain.measured} against random weights, {claim_words(gain)}."
    )


_LITERATURE = (
    "Yosinski et al. (2014) split ImageNet's classes in two halves: copied and frozen, the first two of eight layers"
    " cost nothing, the middle ones lose by broken co-adaptation and the last by being specific to the old classes;"
    " copied and fine-tuned, every depth does better than random weights, by 1.6 points on average over the depths."
)
_DIFFERS = (
    "Here the network has six convolutions, the halves are those of a small data set, drawn by the seed, and the target"
    " has 20 pictures a class, where theirs had over 600,000 in all: with so few, copied layers can gain where theirs"
    " only cost nothing. There is no control that copies from the same half, so that broken co-adaptation is not told"
    " from specificity."
)

STUDY = Study(measure, judge, tell)
