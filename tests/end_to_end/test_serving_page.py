"""The page of a real server in a real browser: what it shows, and that a person can try a model."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from jettison.domain.files import write_atomically
from jettison.domain.record import file_digest, to_json
from jettison.trust import bundle_layout as layout
from tests.end_to_end.browser import Browser, find_browser
from tests.serving_bundle import FEATURES, Made, make_bundle
from tests.serving_process import ServeProcess, infer_body

pytestmark = pytest.mark.slow

DESKTOP, PHONE = 1280, 390
KEY = "0123456789abcdef-test"
HOSTILE = """# A card that means harm
<script>window.hostile = 1</script> <img src=x onerror="window.hostile = 1">

![pixel](https://evil.example/pixel.png) [a link](javascript:window.hostile=1)

| a | b |
| --- | ---: |
| <svg onload="window.hostile = 1"> | 1 |
"""
SECTION = 'section[data-model="{}"]'
WIDER = """[...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll") &&
  e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map((e) => e.tagName + "." + e.className).slice(0, 5)"""


def with_card(bundle: Path, card: str) -> Path:
    """Gives a bundle another card, and a manifest that agrees with it."""
    (bundle / layout.CARD).write_text(card, encoding="utf-8")
    manifest = layout.read_manifest(bundle)
    files = {**manifest.files, layout.CARD: file_digest(bundle / layout.CARD)}
    changed = type(manifest)(files, manifest.status, manifest.created, manifest.jettison)
    write_atomically(bundle / layout.MANIFEST, to_json(changed))
    return bundle


def part(model: str, inside: str = "") -> str:
    """A selector inside the section of a model."""
    return f"{SECTION.format(model)} {inside}".strip()


def text_of(browser: Browser, selector: str) -> str:
    """What a person reads in an element."""
    return str(browser.value(f"document.querySelector({selector!r}).innerText"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """Three models: numbers and certified, a text model, and one that is neither certified nor kind."""
    find_browser()
    place = tmp_path_factory.mktemp("page")
    numbers = make_bundle(place / "numbers", Made(seed=0))
    words = make_bundle(place / "words", Made(kind="text"))
    bare = with_card(make_bundle(place / "bare", Made(seed=2, certified=False)), HOSTILE)
    models = [f"numbers={numbers}", f"words={words}", f"bare={bare}"]
    with ServeProcess(
        place / "server", *models, "--allow-uncertified", "--no-grpc", "--max-batch-rows", "8"
    ) as running:
        yield running


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A fresh browser."""
    with Browser(tmp_path) as running:
        yield running


def opened(browser: Browser, server: ServeProcess, width: int = DESKTOP) -> None:
    """Opens the page and waits until all of it is there."""
    browser.size(width)
    browser.open(server.url)
    browser.wait('document.querySelectorAll("section[data-described]").length === 3')


def kept(browser: Browser, tmp_path: Path, name: str) -> None:
    """Saves a picture, also where a person who runs the tests wants to look at it."""
    picture = browser.picture(tmp_path / f"{name}.png")
    folder = os.environ.get("JETTISON_PICTURES")
    if folder:
        (Path(folder) / picture.name).write_bytes(picture.read_bytes())


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_page_shows_models_and_certificates_at_any_width(
    server: ServeProcess, browser: Browser, tmp_path: Path, width: int
) -> None:
    """Names, standing and card of each model; nothing overflows, nothing outside is asked for."""
    opened(browser, server, width)
    assert text_of(browser, "h1") == "3 models, NOT certified: bare"
    assert "Certified as served here" in text_of(browser, part("numbers"))
    banner = text_of(browser, part("bare", ".banner:not([hidden])"))
    assert banner.startswith("✗ NOT CERTIFIED")
    assert "Nothing is known about the quality" in banner
    assert browser.value("document.querySelectorAll('.banner:not([hidden])').length") == 1
    for model in ("numbers", "words", "bare"):
        browser.click(part(model, "details.card > summary"))
    assert "made cheaper by jettison" in text_of(browser, part("numbers", ".card"))
    assert browser.value("document.documentElement.scrollWidth") == width, browser.value(WIDER)
    assert browser.value(WIDER) == []
    kept(browser, tmp_path, f"page-{width}")
    assert browser.problems == []
    assert {url.split("/")[2] for url in browser.asked if url.startswith("http")} == {
        server.url.removeprefix("http://")
    }


def test_a_hostile_card_is_shown_and_does_nothing(server: ServeProcess, browser: Browser) -> None:
    """Its scripts don't run and its pictures are not asked for; its words are there."""
    opened(browser, server)
    browser.click(part("bare", "details.card > summary"))
    assert "A card that means harm" in text_of(browser, part("bare", ".card"))
    assert "<script>" in text_of(browser, part("bare", ".card"))
    assert browser.value("typeof window.hostile") == "undefined"
    inside = (
        f"document.querySelector({part('bare', '.card')!r}).querySelectorAll('img, script, svg')"
    )
    assert browser.value(f"{inside}.length") == 0
    assert not [url for url in browser.asked if "evil" in url]
    assert browser.problems == []


def test_a_text_can_be_tried(server: ServeProcess, browser: Browser, tmp_path: Path) -> None:
    """Typing a text and pressing the button shows the answer that the API gives."""
    opened(browser, server)
    browser.type(part("words", "textarea"), "the film the plot bright good")
    browser.click(part("words", "button"))
    browser.wait(f"document.querySelector({part('words', '.result')!r}).dataset.done === '1'")
    rows = {"rows": ["the film the plot bright good"]}
    told = httpx.post(f"{server.url}/v2/models/words/predict", json=rows).json()
    (prediction,) = told["predictions"]
    assert text_of(browser, part("words", ".said")) == prediction["label"]
    shown = browser.value(
        f"[...document.querySelectorAll({part('words', '.scores li')!r})].map((e) => e.innerText)"
    )
    assert [line.split()[0] for line in shown] == sorted(
        prediction["scores"], key=lambda name: -prediction["scores"][name]
    )
    kept(browser, tmp_path, "page-tried")
    assert browser.problems == []


def test_a_row_can_be_tried_on_a_phone(
    server: ServeProcess, browser: Browser, tmp_path: Path
) -> None:
    """The field begins with a row that works; a mistake in it is told, and can be mended."""
    opened(browser, server, PHONE)
    field = part("numbers", "textarea")
    begun = browser.value(f"document.querySelector({field!r}).value")
    browser.click(part("numbers", "button"))
    done = f"document.querySelector({part('numbers', '.result')!r}).dataset.done"
    browser.wait(f"{done} === '1'")
    first = text_of(browser, part("numbers", ".said"))
    browser.type(field, "{ this is no JSON")
    browser.click(part("numbers", "button"))
    browser.wait(f"{done} === '2'")
    assert "This is not JSON" in text_of(browser, part("numbers", ".result .error"))
    browser.type(field, '{"y": [1]}')
    browser.click(part("numbers", "button"))
    browser.wait(f"{done} === '3'")
    assert "Refused (400)" in text_of(browser, part("numbers", ".result .error"))
    kept(browser, tmp_path, "page-phone-refused")
    browser.type(field, begun)
    browser.click(part("numbers", "button"))
    browser.wait(f"{done} === '4'")
    assert text_of(browser, part("numbers", ".said")) == first
    assert browser.value("document.documentElement.scrollWidth") == PHONE, browser.value(WIDER)
    # A refused request is logged by the browser itself; nothing else is.
    assert all("400" in problem for problem in browser.problems)


def test_live_numbers_follow_the_traffic(
    server: ServeProcess, browser: Browser, tmp_path: Path
) -> None:
    """Rates, latency and batch sizes appear as requests come in, with how many they are from."""
    opened(browser, server)
    rng = np.random.default_rng(0)
    with httpx.Client(base_url=server.url) as client:
        for _ in range(250):
            body = infer_body(rng.normal(size=(2, FEATURES)).astype(np.float32))
            assert client.post("/v2/models/numbers/infer", json=body).status_code == 200
    tiles = _tiles_of("numbers")
    browser.wait(f"{tiles}['Latency, p95'].value.endsWith('ms')")
    # The page may have looked while a row was waiting; its next look finds none.
    browser.wait(f"{tiles}['Waiting rows'].value === '0'")
    told: dict[str, dict[str, str]] = browser.value(tiles)
    assert float(told["Requests"]["value"].split()[0]) > 0
    assert told["Latency, median"]["value"].endswith("ms")
    assert "of the last" in told["Latency, p95"]["note"]
    assert float(told["Rows in a batch"]["value"]) >= 1
    line = f"document.querySelector({part('numbers', '.spark polyline')!r}).getAttribute('points')"
    assert browser.value(line).count(",") >= 1
    kept(browser, tmp_path, "page-live")
    assert browser.problems == []


def test_a_page_that_stays_open_keeps_up(tmp_path: Path, browser: Browser) -> None:
    """It asks for the key, follows a swap of versions by itself, and says when the server is gone."""
    first = make_bundle(tmp_path / "release", Made(seed=0))
    second = make_bundle(tmp_path / "next", Made(seed=1, certified=False))
    (tmp_path / "key").write_text(KEY)
    words = ["--key-file", str(tmp_path / "key"), "--allow-uncertified", "--no-grpc"]
    with ServeProcess(tmp_path / "server", str(first), *words, "--max-batch-rows", "8") as server:
        browser.size(PHONE)
        browser.open(server.url)
        _unlocked(browser)
        browser.click(part("release", "button"))
        browser.wait(f"document.querySelector({part('release', '.said')!r}) !== null")
        assert KEY not in browser.value("document.documentElement.outerHTML")
        assert browser.value("localStorage.length + sessionStorage.length") == 0
        before = browser.value("document.querySelector('section').dataset.version")
        answer = _load(server.url, second)
        assert answer.status_code == 200, answer.text
        browser.wait(f"document.querySelector('section').dataset.version !== {before!r}")
        assert browser.value("document.querySelectorAll('section').length") == 1
        assert "NOT CERTIFIED" in text_of(browser, "section")
        server.end(signal.SIGTERM)
        browser.wait("document.getElementById('problem').innerText.includes('does not answer')")
        kept(browser, tmp_path, "page-silent")


def _unlocked(browser: Browser) -> None:
    """Without the key no fact is shown; with a wrong one neither; with the right one all are."""
    browser.wait("!document.getElementById('unlock').hidden")
    assert "release" not in text_of(browser, "body")
    kept(browser, browser.place, "page-locked")
    browser.type("#key", "not the key at all")
    browser.click("#unlock button")
    browser.wait("document.getElementById('problem').innerText.includes('does not take')")
    browser.type("#key", KEY)
    browser.click("#unlock button")
    browser.wait('document.querySelectorAll("section[data-described]").length === 1')
    assert browser.value("document.getElementById('unlock').hidden") is True


def _load(url: str, folder: Path) -> httpx.Response:
    body = {"parameters": {"folder": folder.name}}
    path = f"{url}/v2/repository/models/release/load"
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(path, json=body, headers=headers, timeout=60.0)


def _tiles_of(model: str) -> str:
    return (
        f"Object.fromEntries([...document.querySelectorAll({part(model, '.tile')!r})].map((t) => "
        "[t.querySelector('dt').innerText, {value: t.querySelector('.value').innerText, "
        "note: t.querySelector('.note').innerText}]))"
    )
