"""``edgexfer models``."""

from __future__ import annotations

import click

from edgexfer.cli.common import common_options, emit


@click.command("models", epilog="Example: edgexfer models --json")
@common_options(seed=False, force=False)
def command(as_json: bool) -> None:
    """List the networks: parameters and operations at 1,000 classes and the usual input size."""
    from edgexfer import nets

    listed = nets.describe()
    lines = [
        f"{m['name']:<24}{m['parameters'] / 1e6:>9.2f} M parameters {m['operations'] / 1e9:>8.2f} G operations"
        f"  at {m['input_size'][0]} x {m['input_size'][1]}"
        for m in listed
    ]
    emit(listed, as_json, "\n".join(lines))
