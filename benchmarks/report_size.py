"""How large a report of many runs and results is, how long it takes to write, and how long a browser takes to open it.

    python benchmarks/report_size.py --out benchmarks/results/report_size.json

Needs Playwright and Chromium (`make test-browser` installs both). The runs and results are those of
`tests/report/worlds.py`: 20 runs on photographs with 60 epochs, 20 ONNX files, 50 results on five machines.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from record import header  # isort: skip

from edgexfer.files import write_json
from edgexfer.report import write_report
from tests.report.worlds import make_many

READY = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--results", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = make_many(Path(folder) / "many", options.runs, options.results)
        started = time.perf_counter()
        summary = write_report([root], Path(folder) / "report.html")
        found = {"write_s": time.perf_counter() - started, "size_bytes": summary.size_bytes}
        found |= opened(summary.out, options.repeats)
    counts = {"runs": summary.runs, "artifacts": summary.artifacts, "results": summary.results}
    write_json(options.out, {**header(), "counts": counts, **found})
    print(f"{summary.size_bytes / 1e6:.2f} MB, written in {found['write_s']:.1f} s, opened in {found['open_s']:.2f} s")


def opened(page: Path, repeats: int) -> dict[str, Any]:
    """Seconds from asking for the page to its second frame, in a new browser each time."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    times = []
    with sync_playwright() as driver:
        for _ in range(repeats):
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            tab = browser.new_page(viewport={"width": 1400, "height": 900})
            tab.goto(page.as_uri())
            times.append(tab.evaluate(READY) / 1e3)
            elements = tab.evaluate("document.querySelectorAll('*').length")
            version = browser.version
            browser.close()
    return {"open_s": statistics.median(times), "opens_s": times, "elements": elements, "chromium": version}


if __name__ == "__main__":
    main()
