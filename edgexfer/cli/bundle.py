"""``edgexfer bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgexfer.cli.common import common_options, data_choice_of, data_options, emit
from edgexfer.cli.talk import Talk


@click.command("bundle", epilog="Example: edgexfer bundle student.onnx student.int8.onnx --data photos/ --out bundle/")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", required=True, help="Where the labelled samples come from: the data of the run.")
@click.option("--samples", type=click.IntRange(1), default=256, show_default=True, help="How many labelled samples.")
@click.option("--tar", is_flag=True, help="Write one .tar.gz instead of a folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle to make.")
@data_options
@common_options()
def command(
    models: tuple[Path, ...], data: str, samples: int, tar: bool, out: Path, force: bool, as_json: bool, **options: Any
) -> None:
    """Put MODELS, labelled samples and the device's own scripts into one folder."""
    from edgexfer.workflows.bundle import make_bundle

    choice = data_choice_of(data, options)
    with Talk() as talk:
        made = make_bundle(list(models), choice, out, talk, samples=samples, tar=tar, force=force)
        talk.say(f"on the device: {_there(made)} && ./setup.sh && python3 bench.py")
    emit({"bundle": str(made)}, as_json, str(made))


def _there(bundle: Path) -> str:
    """What is typed on a device to be in the bundle's folder."""
    from edgexfer.export.bundle import TAR_SUFFIX

    folder = bundle.name.removesuffix(TAR_SUFFIX)
    return f"cd {folder}" if folder == bundle.name else f"tar xf {bundle.name} && cd {folder}"
