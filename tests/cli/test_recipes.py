"""The recipes in ``models/`` can be read by the command that they are for, and their networks are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgexfer import nets
from edgexfer.cli.main import cli

MODELS = Path(__file__).parents[2] / "models"
FOLDERS = sorted(path for path in MODELS.iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_option_is_known(folder: Path) -> None:
    command = ["distill", "data", "--config", str(folder / "recipe.toml")]
    result = CliRunner().invoke(cli, command, prog_name="edgexfer")
    assert result.exit_code == 2 and "Missing option '--teacher'" in result.output
    assert (folder / "card.md").is_file()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_its_networks_are_there(folder: Path) -> None:
    text = (folder / "recipe.toml").read_text()
    named = re.findall(r"--(?:teacher|student|model) ([\w.-]+)", text)
    assert folder.name in named and set(named) <= {*nets.names(), "runs"}
