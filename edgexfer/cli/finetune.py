"""``edgexfer finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgexfer.cli.common import (
    board_folder,
    command_line,
    common_options,
    data_choice_of,
    data_options,
    emit,
    percent,
    recipe_of,
    tensorboard_option,
    training_options,
)
from edgexfer.cli.talk import talking_together

STRATEGY_KEYS = ("cut", "views", "bn", "layer_decay", "gradual", "balance", "reestimate_bn")


@click.command(
    "finetune", epilog="Example: edgexfer finetune photos/ --model resnet18 --weights imagenet --out runs/teacher"
)
@click.argument("data")
@click.option("--model", required=True, help="A network (see edgexfer models) or path/to/net.py:build.")
@click.option("--weights", default="none", show_default=True, help="imagenet, none, or a weight file to start from.")
@click.option("--mean", type=float, nargs=3, help="Of the input, where the weight file wants another than usual.")
@click.option("--std", type=float, nargs=3, help="Of the input, likewise.")
@click.option(
    "--strategy",
    type=click.Choice(["auto", "head", "classifier", "full", "scratch"]),
    default="auto",
    show_default=True,
    help="How much of the network is retrained; auto asks edgexfer advise.",
)
@click.option("--cut", metavar="BLOCK", help="classifier: retrain everything above this block.")
@click.option("--views", type=click.IntRange(1), help="head, classifier: varied views of each picture to compute.")
@click.option(
    "--bn",
    type=click.Choice(["frozen", "adapt", "train"]),
    help="full, classifier: BatchNorm statistics kept, taken anew, or trained.",
)
@click.option("--layer-decay", type=float, help="full: learning rate of each group of layers beside the one above.")
@click.option("--gradual/--no-gradual", default=None, help="full: layers join from the last to the first, or at once.")
@click.option("--balance", is_flag=True, help="Every class counts the same, however many pictures it has.")
@click.option("--reestimate-bn", is_flag=True, help="Re-estimate BatchNorm at the end, kept if validation gains.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder to make.")
@tensorboard_option
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
    from edgexfer.training.board import with_board
    from edgexfer.transfer import Strategy
    from edgexfer.workflows.train import Start, Target, finetune_data, run_summary

    choice = data_choice_of(data, options)
    recipe = recipe_of(options)
    wishes = {key: options.pop(key) for key in STRATEGY_KEYS}
    strategy = Strategy(options.pop("strategy"), **{key: wish for key, wish in wishes.items() if wish is not None})
    board = board_folder(options.pop("tensorboard"), out)
    with (
        talking_together(out / "log.txt", replacing=force) as talk,
        with_board(None if talk.quiet else board, out, talk) as listener,
    ):
        target = Target(out, force=force, resume=resume, argv=command_line())
        run = finetune_data(choice, Start(model, weights, mean, std), recipe, target, listener, strategy)
        talk.say(f"validation {percent(run.scores['val_top1'])}, test {percent(run.scores['test_top1'])}")
    if not talk.quiet:
        emit(run_summary(out, run), as_json, str(out))
