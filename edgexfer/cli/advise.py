"""``edgexfer advise``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgexfer.cli.common import common_options, data_choice_of, data_options, emit, percent
from edgexfer.cli.tables import show_table
from edgexfer.cli.talk import Talk

if TYPE_CHECKING:
    from edgexfer.workflows.advise import AdvisedModel


@click.command("advise", epilog="Example: edgexfer advise photos/ --model resnet18 --weights imagenet")
@click.argument("data")
@click.option("--model", "models", multiple=True, required=True, help="A network; repeat it to compare several.")
@click.option("--weights", "weights", multiple=True, help="imagenet or a weight file, one for each --model.")
@click.option("--mean", type=float, nargs=3, help="Of the input, where the weight file wants another than usual.")
@click.option("--std", type=float, nargs=3, help="Of the input, likewise.")
@click.option("--verify", is_flag=True, help="Try every strategy for a few epochs and show which was right.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of each trial.  [default: 4]")
@click.option("--image-size", type=click.IntRange(8, 4096), help="Input side in pixels.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@data_options
@common_options(force=False)
def command(
    data: str,
    models: tuple[str, ...],
    weights: tuple[str, ...],
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    verify: bool,
    epochs: int | None,
    image_size: int | None,
    device: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Say how much of a pretrained network to retrain for DATA, and why.

    The network's frozen features are computed once and kept; the measurements on them take seconds.
    """
    from edgexfer.training import Recipe
    from edgexfer.workflows.advise import advise_data
    from edgexfer.workflows.train import Start, pair_weights

    choice = data_choice_of(data, options)
    pairs = pair_weights("--model", models, "--weights", weights, "imagenet")
    starts = [Start(model, weight, mean, std) for model, weight in pairs]
    recipe = Recipe(image_size=image_size, epochs=epochs, device=device, seed=options["seed"])
    with Talk() as talk:
        found = advise_data(choice, starts, recipe, talk, verify=verify)
        for one in found:
            _tell(talk, one)
        if len(found) > 1:
            _rank(talk, found)
    best = found[0]
    value = best.to_dict() if len(found) == 1 else {**best.to_dict(), "ranking": [one.to_dict() for one in found]}
    emit(value, as_json, best.advice.strategy)


def _tell(talk: Talk, one: AdvisedModel) -> None:
    advice, measured = one.advice, one.advice.measured
    talk.say(f"{one.model}:")
    for reason in advice.reasons:
        talk.say(f"  - {reason}")
    talk.say(
        f"  - LogME {measured.logme:.3f}, H-score {measured.h_score:.2f}: larger is better; they compare backbones on"
        " the same pictures and say nothing by themselves"
    )
    marks = {advice.runner_up: "runner-up", advice.strategy: "advised"}
    times = [(name, marks.get(name, ""), f"{seconds:,.0f} s") for name, seconds in one.seconds.items()]
    show_table(talk, "Strategies, with their rough time on this machine", ("strategy", "", "time"), times)
    talk.say(
        f"expected accuracy of {advice.strategy}: {percent(advice.expected.low)} to {percent(advice.expected.high)}"
    )
    if one.nearest:
        known = [(near.name, percent(measured.per_class.get(near.name)), _shares(near.source)) for near in one.nearest]
        show_table(talk, "What the backbone calls your classes now", ("class", "probe", "nearest of its own"), known)
    elif measured.per_class:
        rows = [(name, percent(top1)) for name, top1 in measured.per_class.items()]
        show_table(talk, "Probe by class", ("class", "probe"), rows)
    if one.trials:
        _tell_trials(talk, one)


def _shares(source: tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in source)


def _tell_trials(talk: Talk, one: AdvisedModel) -> None:
    rows = [
        (trial.strategy, percent(trial.val_top1), percent(trial.test_top1), f"{trial.seconds:,.0f} s")
        for trial in one.trials
    ]
    show_table(talk, "Tried on the same split", ("strategy", "validation", "test", "time"), rows)
    scores = {t.strategy: t.val_top1 for t in one.trials if t.val_top1 is not None}
    best = max(scores, key=lambda name: scores[name])
    advised = scores.get(one.advice.strategy)
    if advised is not None and advised >= scores[best]:
        talk.say(f"the advice was right: {one.advice.strategy} measured best on validation")
    elif advised is not None:
        lost = scores[best] - advised
        talk.say(f"{best} measured {lost:.1%} better on validation than the advised {one.advice.strategy}")


def _rank(talk: Talk, found: list[AdvisedModel]) -> None:
    rows = []
    for one in found:
        measured = one.advice.measured
        rows.append(
            (one.model, percent(measured.probe.value), percent(measured.knn.value), f"{measured.logme:.3f}",
             f"{measured.h_score:.2f}", one.advice.strategy)
        )  # fmt: skip
    show_table(talk, "Backbones", ("model", "probe", "neighbours", "LogME", "H-score", "advised"), rows)
