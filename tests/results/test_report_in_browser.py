"""The report in a real browser: at the width of a telephone and of a desk, with a run whose cells wish it harm.

Nothing is requested but the page, nothing is complained about, no script but the page's own runs, and the filters work.
Pictures of what was seen are written beside the page (pytest's --basetemp keeps them).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.kernel.protocol import CellResult
from harness.records import Result, Trace
from results.comparison import compare
from results.curve import Curve, Point, Series
from results.intervals import Share
from results.outcomes import outcomes_from_verdicts
from results.report import Report, write_report
from results.reported import reported_rows

pytestmark = pytest.mark.slow

PHONE, DESK = (390, 844), (1280, 900)
HOSTILE = (
    "</pre></details><script>document.title = 'owned'; fetch('https://example.org/x')</script>"
    "<img src='https://example.org/p.png' onerror='document.title=1'><a href='javascript:alert(1)'>x</a>"
    "\x1b[31mred\x1b[0m\n"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as the system has it."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium is installed here (chromium or google-chrome), so the report was not opened")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def page_file(row: Callable[..., Result], trace: Callable[..., Trace], tmp_path: Path) -> Path:
    """A report of 60 questions, one of which printed five megabytes of hostile text."""
    traces = [trace(f"q{i}", correct=i % 3 != 0, family=("fees", "totals", HOSTILE)[i % 3]) for i in range(59)]
    five_megabytes = HOSTILE * (5_000_000 // len(HOSTILE))
    cell = CellResult(code=f"print({HOSTILE!r})", status="ok", stdout=five_megabytes, execution_count=1)
    traces.append(trace("hostile", cell=cell, correct=False, family="fees", question=HOSTILE, guidelines=HOSTILE))
    runs = [outcomes_from_verdicts(name, {f"q{i}": i < k for i in range(72)}) for name, k in (("a", 54), (HOSTILE, 53))]
    points = [Point(0, Share(0, 240)), Point(1, Share(202, 240))]
    report = Report(
        title="Parcels <and> tariffs",
        results=[row(0, 240, checkpoint="untrained", cost_usd=0.5), row(202, 240, checkpoint="epoch 1", errors=3)],
        summary=f"A **tiny** model. {HOSTILE}",
        curve=Curve((Series("held-out", points),), {"guesser": Share(21, 240)}),
        traces=traces,
        comparisons=[compare(runs)],
        reported=reported_rows(),
        notes=[HOSTILE],
    )
    file = tmp_path / "report.html"
    write_report(file, report)
    return file


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_opens_without_a_complaint_and_asks_nobody(browser: Any, page_file: Path, size: tuple[int, int]) -> None:
    page, seen = opened(browser, page_file, size)
    assert page.title() == "Parcels <and> tariffs", "no script of a cell has changed it"
    assert seen == {"console": [], "requests": [page_file.as_uri()]}
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0], "nothing sticks out sideways"
    page.screenshot(path=page_file.with_name(f"report-{size[0]}.png"), full_page=True)
    assert page_file.with_name(f"report-{size[0]}.png").stat().st_size > 50_000
    assert page_file.stat().st_size < 2_000_000, "of the five megabytes, head and tail are shown"
    page.click("#toggle")  # all notebooks, the hostile one among them
    assert page.title() == "Parcels <and> tariffs"
    assert page.evaluate("document.scripts.length") == 1
    assert page.locator("a[href]").count() == 0
    assert seen == {"console": [], "requests": [page_file.as_uri()]}


def test_a_failed_question_of_a_level_and_family_is_one_click_away(browser: Any, page_file: Path) -> None:
    page, _ = opened(browser, page_file, DESK)
    shown = page.locator("details.question:visible")
    assert shown.count() == 60
    page.select_option("[data-filter=family]", "fees")
    page.select_option("[data-filter=verdict]", "failed")
    assert page.inner_text("#count") == f"{shown.count()} of 60 shown"
    assert 0 < shown.count() < 60
    assert {shown.nth(i).get_attribute("data-verdict") for i in range(shown.count())} == {"failed"}
    assert {shown.nth(i).get_attribute("data-family") for i in range(shown.count())} == {"fees"}
    shown.first.locator("summary").click()
    assert shown.first.locator("pre.code").first.is_visible()


def test_a_script_that_got_into_the_page_would_be_stopped_and_seen(browser: Any, page_file: Path) -> None:
    spoiled = page_file.with_name("spoiled.html")
    script = "<script>document.title = 'owned'</script><img src='https://example.org/p.png'><h1>"
    spoiled.write_text(page_file.read_text().replace("<h1>", script))
    page, seen = opened(browser, spoiled, DESK)
    assert page.title() != "owned"
    assert any("Content Security Policy" in said for said in seen["console"])


def opened(browser: Any, file: Path, size: tuple[int, int]) -> tuple[Any, dict[str, list[str]]]:
    """A page, and what it complains of and asks for from now on."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    seen: dict[str, list[str]] = {"console": [], "requests": []}
    page.on("console", lambda message: seen["console"].append(message.text))
    page.on("pageerror", lambda error: seen["console"].append(str(error)))
    page.on(
        "request", lambda request: None if request.url.startswith("data:") else seen["requests"].append(request.url)
    )
    page.goto(file.as_uri())
    return page, seen
