"""What all commands share: their common options, one-line errors, and the way they talk.

stdout is the result, stderr is the talk.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tomllib
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from edgexfer.errors import EdgexferError, RecipeError
from edgexfer.words import counted

F = TypeVar("F", bound=Callable[..., Any])
INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""


def common_options(*, seed: bool = True, force: bool = True) -> Callable[[F], Callable[..., Any]]:
    """Adds ``--json``, ``--debug`` and, where they mean something, ``--seed`` and ``--force``; errors become exits."""

    def decorate(function: F) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, debug: bool, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except EdgexferError as error:
                _fail(str(error), debug)
            except OSError as error:  # no space, no permission, a vanished file: the person's to mend, not a bug
                if isinstance(error, BrokenPipeError):
                    raise
                where = f" {error.filename!r}" if error.filename else ""
                _fail(f"{error.strerror or error}{where}", debug)
            except KeyboardInterrupt:
                _interrupted()

        decorated: Callable[..., Any] = wrapped
        decorated = click.option("--debug", is_flag=True, help="Show the traceback of an error.")(decorated)
        if force:
            decorated = click.option("--force", is_flag=True, help="Replace what is there already.")(decorated)
        if seed:
            decorated = click.option(
                "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything that is random."
            )(decorated)
        return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(decorated)

    return decorate


def _fail(message: str, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    click.echo(f"Error: {message}", err=True)
    sys.exit(1)


def _interrupted() -> NoReturn:
    """Ends the command with the code of an interrupt, and says how to go on where it can be gone on with."""
    given = click.get_current_context().params
    goes_on = "resume" in given and given.get("search", True)  # choose has something to go on with in a search only
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes, one speaks
        click.echo("Interrupted" + ("; the same command with --resume goes on from there" if goes_on else ""), err=True)
    sys.exit(INTERRUPTED)


def emit(result: Mapping[str, Any] | list[Any], as_json: bool, plain: str) -> None:
    """Prints the result of a command on stdout: JSON for machines, else ``plain``."""
    click.echo(json.dumps(result, sort_keys=True, indent=2, ensure_ascii=False) if as_json else plain)


def command_line() -> tuple[str, ...]:
    """The command as it was typed, for the record that a run keeps."""
    return ("edgexfer", *sys.argv[1:])


def percent(share: float | None) -> str:
    """A share as a person reads it; a dash where there is none."""
    return "-" if share is None else f"{share:.1%}"


def data_options(function: F) -> F:
    """Options of every command that reads a data set."""
    options = (
        click.option("--data-root", type=click.Path(path_type=Path), help="Where torchvision's data sets lie."),
        click.option("--download", is_flag=True, help="Download a missing torchvision data set."),
        click.option("--strict", is_flag=True, help="Refuse unreadable pictures instead of leaving them out."),
        click.option(
            "--val-split",
            type=click.FloatRange(0, 1, max_open=True),
            default=0.15,
            show_default=True,
            help="Share held out for validation, where no folder says so.",
        ),
        click.option(
            "--test-split",
            type=click.FloatRange(0, 1, max_open=True),
            default=0.15,
            show_default=True,
            help="Share held out for the test, where no folder says so.",
        ),
        click.option("--group-by", metavar="REGEX", help="Files with the same match stay on one side of a split."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def training_options(function: F) -> F:
    """Options that ``finetune`` and ``distill`` share; each has a default that suits the data, told in the log."""
    for option in reversed(
        (
            click.option("--image-size", type=click.IntRange(8, 4096), help="Input side in pixels."),
            click.option("--epochs", type=click.IntRange(1), help="Passes over the training pictures."),
            click.option("--batch-size", type=click.IntRange(1), help="Pictures a step, of all processes together."),
            click.option("--lr", type=float, help="Peak learning rate."),
            click.option("--optimizer", type=click.Choice(["adamw", "sgd"]), help="How steps are made."),
            click.option("--weight-decay", type=float, help="Of weights; BatchNorm and biases have none."),
            click.option("--warmup-epochs", type=click.IntRange(0), help="Epochs to the peak learning rate."),
            click.option("--label-smoothing", type=float, help="Share of a label spread over all classes."),
            click.option("--patience", type=click.IntRange(1), help="Epochs without a better one before it stops."),
            click.option("--augment", type=click.Choice(["none", "light", "strong"]), help="How pictures are varied."),
            click.option("--mixup", type=float, help="Share of the training pictures that are mixed with another one."),
            click.option("--ema", type=float, help="Decay of a running average of the weights to keep, such as 0.999."),
            click.option(
                "--precision",
                type=click.Choice(["auto", "float32", "bfloat16"]),
                default="auto",
                show_default=True,
                help="Of the arithmetic; auto measures which is faster where the training is long.",
            ),
            click.option(
                "--compile", is_flag=True, help="Compile the training steps (torch.compile); takes a C++ compiler."
            ),
            click.option(
                "--sync-bn", is_flag=True, help="Under torchrun: BatchNorm statistics over all processes' pictures."
            ),
            click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Loader processes."),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
            click.option("--resume", is_flag=True, help="Go on with an interrupted training in --out."),
            click.option(
                "--config",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                is_eager=True,
                expose_value=False,
                callback=_read_config,
                help="A TOML file of these options; the command line wins over it.",
            ),
        )
    ):
        function = option(function)
    return function


BESIDE = "tensorboard"
"""Folder in the run for ``--tensorboard`` without a place of its own."""


def tensorboard_option(function: F) -> F:
    """``--tensorboard [DIR]`` of commands that train."""
    return click.option(
        "--tensorboard",
        is_flag=False,
        flag_value="",
        metavar="[DIR]",
        help=f"Also log each epoch for TensorBoard, in DIR or in {BESIDE}/ of the run; write --tensorboard=DIR.",
    )(function)


def board_folder(wish: str | None, out: Path) -> Path | None:
    """Where ``--tensorboard`` says that the events go; ``None`` where it was not given."""
    return None if wish is None else Path(wish) if wish else out / BESIDE


RECIPE_KEYS = (
    "image_size", "epochs", "batch_size", "lr", "optimizer", "weight_decay", "warmup_epochs", "label_smoothing",
    "patience", "augment", "mixup", "ema", "precision", "compile", "sync_bn", "workers", "device", "seed",
)  # fmt: skip


def recipe_of(options: dict[str, Any]) -> Any:
    """Takes the training options out of ``options`` and makes a ``Recipe`` of them."""
    from edgexfer.training import Recipe

    return Recipe(**{key: options.pop(key) for key in RECIPE_KEYS})


CUT_KEYS = ("val_split", "test_split", "group_by")
DATA_KEYS = ("data_root", "download", "strict", *CUT_KEYS)


def data_choice_of(source: str, options: dict[str, Any]) -> Any:
    """Takes the data options out of ``options`` and makes a ``DataChoice`` of them."""
    from edgexfer.workflows.data import DataChoice

    taken = {key: options.pop(key) for key in DATA_KEYS}
    root = taken.pop("data_root")
    context = click.get_current_context()
    sources = {context.get_parameter_source(key) for key in (*CUT_KEYS, "seed")}
    said = bool(sources - {ParameterSource.DEFAULT, None})  # None: the command has no such option
    return DataChoice(source, str(root) if root else None, **taken, seed=options["seed"], cut_as_said=said)


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Turns a recipe file into defaults of the command's own options; all its mistakes are told together."""
    if path is None:
        return
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"cannot read {str(path)!r}: {error}", ctx, param) from error
    try:
        ctx.default_map = {**(ctx.default_map or {}), **_checked(ctx.command, table, path)}
    except RecipeError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _checked(command: click.Command, table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    known = [p for p in command.params if isinstance(p, click.Option) and p.name != "config"]
    options = {name.removeprefix("--"): option for option in known for name in option.opts}
    taken: dict[str, Any] = {}
    mistakes = []
    for key, value in table.items():
        option = options.get(key.replace("_", "-"))
        if option is None or option.name is None:
            allowed = ", ".join(sorted(options))
            mistakes.append(f"{key!r} is not an option of {command.name} (allowed: {allowed})")
            continue
        try:
            taken[option.name] = _converted(option, value)
        except click.ClickException as error:
            mistakes.append(f"{key} = {value!r}: {error.message}")
    if mistakes:
        raise RecipeError.gathered(f"{path.name}: {mistake}" for mistake in mistakes)
    return taken


def _converted(option: click.Option, value: Any) -> Any:
    """A value of a recipe file as the option takes it: a list for one that takes several, else a single value."""
    values = value if isinstance(value, list) else [value]
    wanted = len(values) if option.multiple else option.nargs
    if len(values) != wanted or (isinstance(value, list) and wanted == 1 and not option.multiple):
        raise click.BadParameter(f"expected {counted(wanted, 'value')}")
    for one in values:
        if isinstance(one, bool) and not option.is_flag:
            raise click.BadParameter("true and false are for options without a value")
        option.type.convert(one, option, None)
    return values if option.multiple else value
