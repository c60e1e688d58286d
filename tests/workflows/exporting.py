"""Commands as a user types them, and artifacts that someone changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
from click.testing import CliRunner, Result

from edgexfer.cli.main import cli
from edgexfer.export import graph
from edgexfer.export.metadata import info_of


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], prog_name="edgexfer")


def changed(path: Path, out: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """A copy with a change and a digest that hides it."""
    model = onnx.load(path)
    change(model)
    info = info_of(model, "it")
    assert info is not None
    out.write_bytes(graph.to_bytes(graph.attach(model, info)[0]))
    return out
