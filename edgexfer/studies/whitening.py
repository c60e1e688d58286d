"""``whitening``: why the normalisation has to stand inside the gradient step, on a single unit.

Ioffe and Szegedy 2015, section 2: a unit x = w.u + b is centred, y = x - E[x]. If the gradient step takes E[x] for a
constant, it changes b by -rate * dl/dy; the centring takes the change out again, y and the loss stay as they are, and
so does the gradient: b grows without bound. Batch norm differentiates through E[x], too, and b's gradient is zero.

The unit here says by a sigmoid whether a picture, 8 x 8 grey pixels, shows one class; steps are full gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from edgexfer.report.tables import Figure, Key
from edgexfer.studies.drawing import Band, Panel, draw_panels, mean_table
from edgexfer.studies.stepping import even_looks, step_job
from edgexfer.studies.values import APPEARED, Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, seeds_words
from edgexfer.training import Job

RATE, SIDE, EPSILON = 0.5, 8, 1e-5
Normalise = Callable[[torch.Tensor], torch.Tensor]
VARIANTS: dict[str, Normalise] = {
    "mean outside the step": lambda x: x - x.mean().detach(),
    "mean inside the step": lambda x: x - x.mean(),
    "mean and deviation outside": lambda x: (x - x.mean().detach()) / (x.var(correction=0) + EPSILON).sqrt().detach(),
    "batch norm": lambda x: (x - x.mean()) / (x.var(correction=0) + EPSILON).sqrt(),
}
OUTSIDE, INSIDE, BOTH, BATCH_NORM = VARIANTS


def measure(lab: Lab) -> dict[str, Any]:
    """Loss, bias and size of the weights against steps, for each way of normalising."""
    steps = 400 if lab.fast else 2_000
    job = step_job(lab, SIDE, 64, (2_000, 100))
    pixels, labels = _pictures(job)
    label = lab.seed % len(job.splits.classes)
    target = (labels == label).double()
    when = even_looks(steps, 20)
    runs = {name: _run(pixels, target, normalise, name == BATCH_NORM, when) for name, normalise in VARIANTS.items()}
    return {"class": job.splits.classes[label], "share": float(target.mean()), "steps": when, "runs": runs}


def _pictures(job: Job) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey pixels ``(N, 64)`` in float64, each of mean 0, and labels ``(N,)``."""
    batches = list(job.plain_batches("train"))
    grey = torch.cat([batch["inputs"] for batch in batches]).double().mean(1).flatten(1)
    return grey - grey.mean(0), torch.cat([batch["labels"] for batch in batches])


def _run(
    pixels: torch.Tensor, target: torch.Tensor, normalise: Normalise, affine: bool, when: Sequence[int]
) -> dict[str, Any]:
    """One unit, trained on all pictures by gradient steps; ``affine`` gives it batch norm's scale and shift."""
    generator = torch.Generator().manual_seed(0)
    weight = 0.1 * torch.randn(pixels.shape[1], generator=generator, dtype=torch.float64)
    values = [weight, *(torch.zeros((), dtype=torch.float64) for _ in range(2)), torch.ones((), dtype=torch.float64)]
    weight, bias, shift, scale = (value.requires_grad_() for value in values)
    learned = [weight, bias, *([shift, scale] if affine else [])]
    found: dict[str, list[float]] = {"loss": [], "bias": [], "weight": []}
    for step in range(when[-1] + 1):
        y = scale * normalise(pixels @ weight + bias) + shift
        loss = functional.binary_cross_entropy_with_logits(y, target)
        if step in when:
            found["loss"].append(float(loss.detach()))
            found["bias"].append(float(bias.detach()))
            found["weight"].append(float(weight.detach().norm()))
        gradients = torch.autograd.grad(loss, learned)
        with torch.no_grad():
            for value, gradient in zip(learned, gradients, strict=True):
                value -= RATE * gradient
    return found


def _growth(numbers: Numbers, name: str, key: str) -> float:
    """How many times as large a value is at the end as half the way."""
    values = numbers["runs"][name][key]
    return float(abs(values[-1]) / max(abs(values[len(values) // 2]), 1e-12))


def _way(numbers: Numbers) -> float:
    """How far the bias goes in the second half of the training, with the mean outside the step."""
    values = numbers["runs"][OUTSIDE]["bias"]
    return float(abs(values[-1] - values[len(values) // 2]))


def _drift(numbers: Numbers, name: str) -> float:
    """Share by which the loss still changes in the second half."""
    losses = numbers["runs"][name]["loss"]
    middle = losses[len(losses) // 2]
    return float(abs(losses[-1] - middle) / middle)


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Growth outside the step, rest inside it."""
    still = tuple(max(abs(value) for value in one["runs"][INSIDE]["bias"]) for one in numbers)
    lower = tuple(one["runs"][OUTSIDE]["loss"][-1] - one["runs"][BATCH_NORM]["loss"][-1] for one in numbers)
    return [
        Claim("With the mean outside the gradient step the bias grows without bound.",
              "How far the bias goes in the second half of the training, the loss standing still",
              tuple(_way(one) for one in numbers), "number", 1.0),
        Claim("Meanwhile its loss stands still.", "Share by which the loss changes in the second half of the training",
              tuple(_drift(one, OUTSIDE) for one in numbers), "share", 0.02, at_most=True),
        Claim("With the mean inside the step the bias stays where it is.", "Largest bias on the way, without its sign",
              still, "number", 1e-6, at_most=True),
        Claim("With the deviation outside the step, too, the weights grow without bound.",
              "Length of the weights at the end divided by that half the way",
              tuple(_growth(one, BOTH, "weight") for one in numbers), "times", 1.2, 1.0),
        Claim("Batch norm, whose shift and scale are learned inside the step, reaches a lower loss.",
              "Final loss with the mean outside the step less that of batch norm", lower, "number", 0.01),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Loss, bias and length of the weights, one above the other."""
    steps = result.numbers[0]["steps"]
    titles = {"loss": "loss, nats a picture", "bias": "bias", "weight": "length of the weights"}
    panels = []
    for key, title in titles.items():
        bands = [
            Band(name, steps, [one["runs"][name][key] for one in result.numbers], i) for i, name in enumerate(VARIANTS)
        ]
        panels.append(Panel(title, bands))
    name = "Loss, bias and weights against steps"
    wide, narrow = draw_panels("growth", panels, x="full gradient steps", description=name)
    caption = f"One sigmoid unit on 8 x 8 grey pixels: is it the class or not? {seeds_words(result)}"
    keys = [Key(variant, i) for i, variant in enumerate(VARIANTS)]
    return Telling(
        [Figure(name, caption, wide, narrow, mean_table("Bias against steps", "steps", panels[1].bands), keys)],
        _seen(result),
        _LITERATURE,
        _DIFFERS,
    )


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")


def _seen(result: StudyResult) -> str:
    grows, stands, still, both, lower = result.claims
    ends = [one["runs"][OUTSIDE]["bias"][-1] for one in result.numbers]
    shares = [one["share"] for one in result.numbers]
    cause = ""
    if grows.verdict == APPEARED:
        cause = (
            " The sigmoid says the class too often or too seldom, which"
            f" {', '.join(f'{share:.0%}' for share in shares)} of the pictures show, and the bias that is to mend it is"
            " taken out again."
        )
    return (
        f"With the mean taken out after the step, the bias went to {', '.join(_signed(value) for value in ends)} (seed"
        f" by seed), {grows.measured} of it in the second half of the training, {claim_words(grows)}, in which the loss"
        f" changed by {stands.measured}, {claim_words(stands)}.{cause} With the mean inside the step the bias moved by"
        f" {still.write(max(still.values))} at most, {claim_words(still)}. With the deviation outside as well, the"
        f" weights at the end were {both.measured} as long as half the way, {claim_words(both)}. Batch norm ended"
        f" {lower.measured} lower in loss, {claim_words(lower)}."
    )


_LITERATURE = (
    "Ioffe and Szegedy (2015, section 2) give this case by algebra: b is updated, the centring takes the update out,"
    " the loss stays fixed and b grows indefinitely; they report that it gets worse, and that the model blows up, when"
    " the scale is normalised outside the step, too. It is their reason to make the normalisation part of the network."
)
_DIFFERS = (
    "They say no network for what they observed. Here it is one unit, in float64, by full gradients at a constant rate,"
    " so that nothing is hidden by noise. The growth is linear in the bias and about the square root of the steps in"
    " the weights: nothing overflows within this run, and the loss would not tell. Where the class is half of the"
    " pictures, the bias has nothing to mend and stays."
)

STUDY = Study(measure, judge, tell)
