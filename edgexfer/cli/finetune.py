"""``edgexfer finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgexfer.cli.common import (
    command_line,
    common_options,
    data_choice_of,
    data_options,
    emit,
    percent,
    recipe_of,
    training_options,
)
from edgexfer.cli.talk import Talk


@click.command(
    "finetune", epilog="Example: edgexfer finetune photos/ --model resnet18 --weights imagenet --out runs/teacher"
)
@click.argument("data")
@click.option("--model", required=True, help="A network (see edgexfer models) or path/to/net.py:build.")
@click.option("--weights", default="none", show_default=True, help="imagenet, none, or a weight file to start from.")
@click.option("--mean", type=float, nargs=3, help="Of the input, where the weight file wants another than usual.")
@click.option("--std", type=float, nargs=3, help="Of the input, likewise.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder to make.")
@training_options
@data_options
@common_options()
def command(
    data: str,
    model: str,
    weights: str,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    out: Path,
    force: bool,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a network to the classes of DATA and leave a run folder.

    DATA is "digits", a folder of class folders (with or without train/ val/ test/ inside), or a torchvision data set by
    name (cifar10, mnist, flowers102, ...).
    """
    from edgexfer.workflows.train import Start, Target, finetune_data, run_summary

    choice = data_choice_of(data, options)
    recipe = recipe_of(options)
    with Talk(out / "log.txt") as talk:
        target = Target(out, force=force, resume=resume, argv=command_line())
        run = finetune_data(choice, Start(model, weights, mean, std), recipe, target, talk)
        talk.say(f"validation {percent(run.scores['val_top1'])}, test {percent(run.scores['test_top1'])}")
    emit(run_summary(out, run), as_json, str(out))
