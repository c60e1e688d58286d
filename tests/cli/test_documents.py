"""The commands that the documents tell have the options that they name, and all that they need."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgexfer.cli.main import cli

REPOSITORY = Path(__file__).parents[2]
CALL = re.compile(r"\bedgexfer(?::\w+)? ([a-z]+) (.*)")


def commands(document: str) -> Iterator[tuple[str, list[str]]]:
    """Name and words of each command in the blocks of a document."""
    for block in (REPOSITORY / document).read_text(encoding="utf-8").split("```")[1::2]:
        for line in block.splitlines():
            found = CALL.search(line)
            if found:
                yield found[1], shlex.split(found[2], comments=True)


@pytest.mark.parametrize(("document", "least"), [("README.md", 8), ("docker/README.md", 2)])
def test_commands_in_a_document_can_be_typed(document: str, least: int) -> None:
    told = list(commands(document))
    assert len(told) >= least
    for name, words in told:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        given, _, _ = command.make_parser(click.Context(command, info_name=name)).parse_args(words)
        missing = [p.name for p in command.params if p.required and not given.get(p.name or "")]
        assert not missing, f"{name} {' '.join(words)} lacks {missing}"
