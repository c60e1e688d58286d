"""Every number on the page is the number in the file it came from."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.report.reading import Files, Page


def test_every_number_is_the_number_in_its_file(world: Any, page: Page) -> None:
    files = Files(world.root)
    assert len(page.numbers) > 300
    for value, origin, text in page.numbers:
        assert float(value) == pytest.approx(files.number(origin), rel=1e-12, abs=1e-15), (origin, text)


def test_no_number_in_a_table_stands_without_its_file(page: Page) -> None:
    """Columns of words aside: the classes of this page are called by numbers."""
    figure = re.compile(r"[−+-]?[\d,]+(\.\d+)?\s*(%|ms|µs|s|min|h|[kMG]?B|[kMG]|×|°C|MHz)?")
    assert sum(has_file for _, has_file in page.cells) > 300
    assert [text for text, has_file in page.cells if not has_file and figure.fullmatch(text.strip())] == []


UNITS = {
    "%": 0.01,
    "ms": 1e-3,
    "µs": 1e-6,
    "s": 1,
    "min": 60,
    "h": 3600,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "B": 1,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "×": 1,
    "°C": 1,
    "MHz": 1e6,
    "": 1,
}


def test_every_number_is_written_as_what_it_is(page: Page) -> None:
    seen = 0
    for value, origin, text in page.numbers:
        match = re.fullmatch(r"([−+\d.,e-]+)\s*(%|ms|µs|s|min|h|[kMG]?B|[kMG]|×|°C|MHz|)", text)
        if match is None:
            assert re.search(r"points (above|below)|level with|\d+ of \d+", text), text
            continue
        if origin.endswith(" gap"):  # in percentage points
            assert float(value) == pytest.approx(float(match.group(1).replace("−", "-")) / 100, abs=5.1e-4)
            continue
        written = float(match.group(1).replace(",", "").replace("−", "-"))
        factors = [UNITS[match.group(2)]] + ([1e-3] if match.group(2) == "" and "latency" in origin else [])
        factors += [1e-3] if "profile | mean_s" in origin else []
        factors += [1e-3] if origin.endswith(("load_s", "first_s")) else []
        exact = float(value)
        assert any(abs(written * f - exact) <= max(abs(exact) * 0.05, 0.0005001) for f in factors), (
            origin,
            text,
            value,
        )
        seen += 1
    assert seen > 300
