"""Reads Dockerfiles as far as ours go: instructions, continued lines, comments, JSON forms."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "docker"
KNOWN = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"}


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``name`` in capitals, ``value`` as written, continued lines joined."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The value's words, without options (``--platform=...``); of the JSON form, its strings."""
        if self.value.startswith("["):
            return [str(word) for word in json.loads(self.value)]
        return [word for word in shlex.split(self.value) if not word.startswith("--")]


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile.

    Raises:
        ValueError: A line that is no instruction we know.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"[ \t]*\\\n[ \t]*", " ", "\n".join(lines))
    found = []
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        name, _, value = line.partition(" ")
        if name not in KNOWN:
            raise ValueError(f"{line!r} is no instruction; allowed: {', '.join(sorted(KNOWN))}")
        found.append(Instruction(name, value.strip()))
    return found


def read(name: str) -> list[Instruction]:
    """The instructions of ``docker/<name>.Dockerfile``."""
    return parse((FOLDER / f"{name}.Dockerfile").read_text(encoding="utf-8"))


def named(instructions: list[Instruction], name: str) -> list[Instruction]:
    """Those called ``name``, in order."""
    return [instruction for instruction in instructions if instruction.name == name]


def environment(instructions: list[Instruction]) -> dict[str, str]:
    """What ``ENV`` sets."""
    return dict(word.split("=", 1) for instruction in named(instructions, "ENV") for word in instruction.words)


def pins(path: Path) -> dict[str, str]:
    """``{package: version}`` of a requirements file, names in small letters.

    Raises:
        ValueError: A line is not ``name==version``.
    """
    found = {}
    for line in filter(None, (raw.partition("#")[0].strip() for raw in path.read_text().splitlines())):
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        if match is None:
            raise ValueError(f"{path.name}: {line!r} is not pinned; write name==version")
        found[match[1].lower()] = match[2]
    return found
