"""The command ``edgexfer``: a group whose commands are imported when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from edgexfer.version import __version__

COMMANDS = {
    "quickstart": ("quickstart", "The whole way on 1,797 handwritten digits, in a few minutes."),
    "models": ("models", "List the networks there are."),
    "advise": ("advise", "Which of the four ways to transfer fits your pictures, and why."),
    "finetune": ("finetune", "Fit a network, pretrained or not, to your own classes."),
    "distill": ("distill", "Teach a compact student with a teacher, or several."),
    "watch": ("watch", "Show a running training in the terminal."),
    "evaluate": ("evaluate", "Accuracy of a run or an ONNX file on labelled pictures."),
    "export": ("export", "Fold BatchNorm and write a proven ONNX file, float32 and int8, of a run or a file."),
    "inspect": ("inspect", "Show what is in a run or an ONNX file, and the state of each BatchNorm."),
    "predict": ("predict", "Say what is on pictures, with a run or an ONNX file."),
    "verify": ("verify", "Check that an ONNX file still is what was exported, also against its run."),
    "bundle": ("bundle", "Make the folder that goes to the device."),
    "bench": ("bench", "Verify and time a model or bundle on this machine."),
    "choose": ("choose", "The most accurate model inside a budget of latency, size and memory."),
    "compare": ("compare", "Compare two benchmark results, where they can be compared."),
    "study": ("study", "Show what batch norm, transfer or distillation does, on digits or your pictures."),
    "report": ("report", "One HTML page of runs, proofs and measurements."),
    "cache": ("cache", "List, measure or clear what is kept to save time."),
}


TOGETHER = ("finetune", "distill")
"""Commands that several processes, started by torchrun, run together."""


class LazyGroup(click.Group):
    """Imports the module of a command only when that command is called, so that ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the flow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        if _processes() > 1 and cmd_name not in TOGETHER:
            raise click.UsageError(f"{cmd_name} works in one process; start it without torchrun", ctx)
        module = importlib.import_module(f"edgexfer.cli.{COMMANDS[cmd_name][0]}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"edgexfer.cli.{cmd_name}.command is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table above, so that none of them is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command explains itself: edgexfer distill --help. Exit codes: 0 done, 1 an error, 2 wrong usage,"
    " 130 interrupted.",
)
@click.version_option(__version__, prog_name="edgexfer")
def cli() -> None:
    """A folder of images and a device in, the smallest proven ONNX classifier out."""


def _processes() -> int:
    """How many processes torchrun started."""
    count = os.environ.get("WORLD_SIZE", "")
    return int(count) if count.isdecimal() else 1


def _follow() -> NoReturn:
    """Runs the command line beside the first process of this machine, which says what is wrong with it."""
    try:
        code = cli(prog_name="edgexfer", standalone_mode=False)
    except click.ClickException as error:
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def main() -> None:
    """Runs the command line; an interrupt ends it with code 130, a closed pipe in silence."""
    try:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            _follow()
        cli(prog_name="edgexfer")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
