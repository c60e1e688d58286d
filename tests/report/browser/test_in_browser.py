"""The report as a browser shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser
PAGES = ("usual", "hostile", "many")

OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true })"
WIDER = """[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  if (!box.width || style.position === 'absolute' || e.closest('svg') || e.closest('.sr, .skip')) return false;
  for (let up = e.parentElement; up; up = up.parentElement)
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(up).overflowX)) return false;
  return box.right > innerWidth + 0.5 || box.left < -0.5;
}).map(e => e.tagName + '.' + e.className)"""
FIGURES = """[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width > 0).map(s => ({
  width: s.getBoundingClientRect().width, height: s.getBoundingClientRect().height,
  marks: [...s.querySelectorAll(':is(path, use)[style*="var(--s"], image')].filter(e => {
    const box = e.getBoundingClientRect();
    return !e.closest('defs') && box.width + box.height > 0;
  }).length, label: s.getAttribute('aria-label')}))"""
CUT_TEXT = """[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width > 0).flatMap(s => {
  const frame = s.getBoundingClientRect();
  return [...s.querySelectorAll('text')].filter(t => {
    const box = t.getBoundingClientRect();
    return box.right > frame.right + 6 || box.left < frame.left - 6;
  }).map(t => t.textContent)})"""


@pytest.fixture(params=PAGES)
def page_file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.mark.parametrize("width", [360, 768, 1400])
def test_quiet_console_and_no_overflow(visit: Callable[..., Any], page_file: Path, width: int) -> None:
    page = visit(page_file, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []
    assert page.said == []


@pytest.mark.parametrize("width", [360, 1400])
def test_every_figure_is_drawn(visit: Callable[..., Any], page_file: Path, width: int) -> None:
    page = visit(page_file, width)
    page.evaluate(OPEN_ALL)
    figures = page.evaluate(FIGURES)
    assert figures
    for figure in figures:
        assert figure["width"] > 200 and figure["height"] > 60 and figure["marks"] > 0, figure
    hidden = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length")
    assert hidden == 0


@pytest.mark.parametrize("width", [360, 1400])
def test_no_label_leaves_its_figure(visit: Callable[..., Any], usual: Path, width: int) -> None:
    assert visit(usual, width).evaluate(CUT_TEXT) == []


def test_hostile_names_are_text(visit: Callable[..., Any], hostile: Path) -> None:
    page = visit(hostile)
    assert page.title() == "<script>document.title='broken'</script>"
    assert page.evaluate("document.querySelectorAll('img, svg script').length") == 0
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert "onerror=alert(1)" in page.inner_text("body")
    assert page.said == []


def test_dark_and_light_differ_and_both_can_be_read(visit: Callable[..., Any], usual: Path) -> None:
    contrast = """(() => {
      const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
      const rgb = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => linear(v / 255));
      const light = c => { const [r, g, b] = rgb(c); return .2126 * r + .7152 * g + .0722 * b };
      const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return ['body', 'figcaption', '.kicker', 'nav a', '.tiles dt'].map(
        s => ratio(light(getComputedStyle(document.querySelector(s)).color), paper));
    })()"""
    papers = set()
    for scheme in ("light", "dark"):
        page = visit(usual, scheme=scheme)
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert min(page.evaluate(contrast)) >= 4.5
    assert len(papers) == 2


def test_a_command_is_copied_as_it_was_typed(visit: Callable[..., Any], usual: Path) -> None:
    page = visit(usual)
    page.click("button.copy")
    page.wait_for_function("document.querySelector('button.copy').textContent !== 'Copy'")
    typed = "edgexfer distill digits --student tiny-darknet --teacher resnet18 --hard-label-baseline --out student"
    assert page.evaluate("document.querySelector('.command code').textContent") == typed
    assert page.said == []


def test_a_number_tells_its_file_on_hover(visit: Callable[..., Any], usual: Path) -> None:
    page = visit(usual)
    page.hover(".tiles data")
    assert "student/run.json#/scores/test_top1" in page.get_attribute(".tiles data", "title")


def test_keys_reach_what_scrolls_and_what_opens(visit: Callable[..., Any], usual: Path) -> None:
    page = visit(usual, 360)
    assert page.evaluate("[...document.querySelectorAll('.scroll, pre')].every(e => e.tabIndex === 0)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("details.run:not([open]) > summary")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open")


@pytest.mark.parametrize("how", ["mouse", "keys"])
def test_a_count_leads_to_the_pictures_behind_it(visit: Callable[..., Any], usual: Path, how: str) -> None:
    page = visit(usual)
    count = page.locator(".matrix td.miss a").first
    behind = page.locator(f'[id="{count.get_attribute("href")[1:]}"]')
    assert not behind.is_visible()
    if how == "mouse":
        count.click()
    else:
        count.focus()
        page.keyboard.press("Enter")
    behind.wait_for(state="visible")
    assert behind.locator("img").first.evaluate("e => e.naturalWidth") > 0
    assert page.locator(".behind:visible").count() == 1
    assert page.said == []


def test_figures_carry_their_values_on_hover_or_beside_them(visit: Callable[..., Any], usual: Path) -> None:
    page = visit(usual)
    silent = """[...document.querySelectorAll('figure')].filter(
      f => f.querySelector('svg.plot') && !f.querySelector('details table') && !f.querySelector('svg title'))"""
    assert page.evaluate(f"{silent}.map(f => f.querySelector('h3').textContent)") == []


def test_it_prints_to_a_few_pages(visit: Callable[..., Any], usual: Path, tmp_path: Path) -> None:
    content = visit(usual).pdf(format="A4", print_background=True)
    assert content.startswith(b"%PDF") and len(content) > 20_000


def test_twenty_runs_and_fifty_results_stay_small(visit: Callable[..., Any], many: Path) -> None:
    assert many.stat().st_size < 10_000_000
    assert visit(many).evaluate("document.querySelectorAll('*').length") < 70_000
