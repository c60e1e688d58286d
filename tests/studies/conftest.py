"""What the tests of the studies share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgexfer.studies.values import Measured, StudyResult


@pytest.fixture
def result_of() -> Callable[[Any, str, list[dict[str, Any]]], StudyResult]:
    """Makes the result of a study from the numbers of its seeds."""
    data = {"train_images": 3, "val_images": 2, "test_images": 2, "fingerprint": "x"}
    machine = {"cpu": "A", "architecture": "x86_64", "torch": "2", "torch_threads": 1}

    def made(study: Any, name: str, numbers: list[dict[str, Any]]) -> StudyResult:
        measured = tuple(Measured(i, one, 1.0, data) for i, one in enumerate(numbers))
        claims = tuple(study.judge(numbers))
        return StudyResult(name, "T", "digits", ("a",), measured, claims, False, (), "2026-01-01T00:00:00Z", machine)

    return made
