"""A headless Chromium, and the pages that it looks at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgexfer.report import write_report

HOSTILE = (
    "<script>document.title='broken'</script>",
    '"><img src=x onerror=alert(1)>',
    "$x^2$ & 'y'",
    "日本語 " + "long " * 20,
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def _chromium() -> str | None:
    asked = os.environ.get("CHROMIUM")
    return asked or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: make test-browser installs it")
    path = _chromium()
    if path is None:
        pytest.skip("needs Chromium: make test-browser installs it, or set CHROMIUM=/path/to/chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def usual(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a whole project."""
    return write_report([world.root], tmp_path_factory.mktemp("usual") / "report.html").out


@pytest.fixture(scope="session")
def hostile(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose names were chosen to break it."""
    root = tmp_path_factory.mktemp("hostile")
    run = make.run(
        root / "run", classes=HOSTILE, model=HOSTILE[1], images=40, accuracy=0.6,
        files=lambda split, i: f"{HOSTILE[i % 4]}/{i}.jpg", argv=["edgexfer", "finetune", *HOSTILE],
    )  # fmt: skip
    configs = [make.profiled(make.judged(make.config(name))) for name in HOSTILE]
    for config in configs:
        for operator in config["profile"]:
            operator["layer"] = HOSTILE[0]
        config["stability"] = {"stable": False, "symptoms": HOSTILE, "causes": [{"cause": HOSTILE[1], "remedy": "-"}]}
    make.result(root / "r.json", [*configs, make.sustained(HOSTILE[3])], cpu=HOSTILE[1])
    return write_report([run, root / "r.json"], root / "report.html", title=HOSTILE[0]).out


@pytest.fixture(scope="session")
def many(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of twenty runs with photographs and fifty results."""
    root = make.many(tmp_path_factory.mktemp("many"))
    return write_report([root], root / "report.html").out


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page and collects everything that the console says."""
    opened = []

    def open_page(path: Path, width: int = 1400, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.said.append(request.url) if request.url.startswith("http") else None)
        page.on("dialog", lambda dialog: (page.said.append("a dialog opened"), dialog.dismiss()))
        page.goto(path.as_uri())
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.close()
