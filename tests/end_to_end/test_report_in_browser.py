"""The report in a real browser: plots are drawn, nothing overflows a phone, no error is logged."""

from __future__ import annotations

import html
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from jettison.reporting.html_report import render_report

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RECORDS = Path(__file__).resolve().parents[1] / "unit" / "reporting" / "records.py"
DESKTOP, PHONE = 1280, 390
PROBE = """
<!doctype html><meta charset="utf-8"><body><pre id="found"></pre>
<iframe id="page" style="width:{width}px;height:2000px;border:0" srcdoc="{page}"></iframe>
<script>
const frame = document.getElementById("page");
const began = Date.now();
const look = () => {{
  const inside = frame.contentDocument;
  const drawn = inside?.documentElement?.dataset.plots === "drawn";
  const missing = inside ? inside.querySelectorAll(".plot .plot-missing").length : 0;
  if (!drawn && Date.now() - began < 30000) return setTimeout(look, 50);
  document.getElementById("found").textContent = JSON.stringify({{
    drawn, missing,
    holders: inside.querySelectorAll("[data-figure]").length,
    plots: inside.querySelectorAll(".plot svg.main-svg").length,
    bars: inside.querySelectorAll(".plot .barlayer .point").length,
    marks: inside.querySelectorAll(".plot .scatterlayer .points path").length,
    hostile: typeof inside.defaultView.hostile,
    width: inside.documentElement.clientWidth,
    needed: inside.documentElement.scrollWidth,
    wide: [...inside.querySelectorAll("body *")].filter((e) => !e.closest(".scroll") &&
      !e.closest("svg") && e.getBoundingClientRect().right > inside.documentElement.clientWidth + 1
    ).map((e) => e.tagName + "." + e.className).slice(0, 5),
  }});
  document.title = "looked";
}};
look();
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    """A browser that runs without a screen; a loud skip where none is installed."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(
        f"NO BROWSER: none of {', '.join(BROWSERS)} is installed, so the report was not opened in "
        "one; install Debian's `chromium` to run these tests"
    )


@pytest.fixture(scope="module")
def records() -> ModuleType:
    """The run records that the unit tests of the report use."""
    spec = importlib.util.spec_from_file_location("report_records", RECORDS)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(RECORDS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def opened(browser: str, folder: Path, page: str, width: int) -> tuple[dict[str, object], str]:
    """Opens a page in a frame of a given width; gives what is there, and what was logged."""
    probe = folder / "probe.html"
    probe.write_text(PROBE.format(width=width, page=html.escape(page)), encoding="utf-8")
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--virtual-time-budget=60000",
            "--window-size=1400,2200",
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[:500] + done.stderr[-2000:]
    logged = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(html.unescape(found.group(1))), logged


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", ["improved", "nothing_better", "many_groups"])
def test_plots_are_drawn_and_nothing_overflows(
    browser: str, records: ModuleType, tmp_path: Path, name: str, width: int
) -> None:
    """All five plots appear with marks in them, and the page is not wider than the screen."""
    found, logged = opened(browser, tmp_path, render_report(records.EVERY_RECORD[name]()), width)
    assert found["drawn"] is True
    assert found["missing"] == 0
    assert found["holders"] == 5
    assert int(str(found["plots"])) >= 5
    assert int(str(found["marks"])) >= 10
    assert int(str(found["bars"])) >= 6
    assert found["width"] == width
    assert found["needed"] == width, found["wide"]
    assert logged == ""


def test_hostile_names_do_not_run(browser: str, records: ModuleType, tmp_path: Path) -> None:
    """Scripts in names don't run in a browser, and long hostile names don't widen a phone's page."""
    page = render_report(records.hostile()).replace("alert(1)", "window.hostile=1")
    page = page.replace("alert(2)", "window.hostile=1")
    found, logged = opened(browser, tmp_path, page, PHONE)
    assert found["drawn"] is True
    assert found["hostile"] == "undefined"
    assert found["needed"] == PHONE, found["wide"]
    assert logged == ""


@pytest.mark.parametrize("name", ["undecided", "without_data", "interrupted", "all_failed"])
def test_records_with_gaps_open_too(
    browser: str, records: ModuleType, tmp_path: Path, name: str
) -> None:
    """A page with fewer plots draws those that it has, and logs no error."""
    found, logged = opened(browser, tmp_path, render_report(records.EVERY_RECORD[name]()), PHONE)
    assert found["drawn"] is True
    assert int(str(found["holders"])) >= 1
    assert found["missing"] == 0
    assert found["needed"] == PHONE, found["wide"]
    assert logged == ""


def test_without_our_script_the_tables_stand(
    browser: str, records: ModuleType, tmp_path: Path
) -> None:
    """Where scripts may not run, the page says so in the place of the plots and keeps its tables."""
    page = re.sub(r"script-src [^;]+;", "script-src 'none';", render_report(records.improved()))
    found, _ = opened(browser, tmp_path, page, PHONE)
    assert found["drawn"] is False
    assert found["missing"] == found["holders"] == 5
