"""The systems these tests run in; prepared once, by ``make test-arm64`` or by the first test that asks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "docker"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import arm64_emulator  # noqa: E402
import arm64_root  # noqa: E402


@pytest.fixture(scope="session")
def board() -> arm64_root.System:
    arm64_emulator.enable()
    return arm64_root.build(arm64_root.ARM64)


@pytest.fixture(scope="session")
def pc() -> arm64_root.System:
    return arm64_root.build(arm64_root.X86_64)
