"""A real browser without a screen, driven over its debugging protocol: types, clicks, looks."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_SECONDS = 20.0
LARGEST_MESSAGE = 64 * 1024 * 1024


def find_browser() -> str:
    """The browser that is installed; a loud skip where there is none."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(
        f"NO BROWSER: none of {', '.join(BROWSERS)} is installed, so the page was not opened in "
        "one; install Debian's `chromium` to run these tests"
    )


class Browser:
    """One page of a running browser; the block ends it.

    Attributes:
        problems: what the page logged as an error, and exceptions that nobody caught.
        asked: addresses that the page asked for.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.problems: list[str] = []
        self.asked: list[str] = []
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> Browser:
        profile = self.place / "profile"
        command = [
            find_browser(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        with open(self.place / "browser.log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        with contextlib.ExitStack() as stack:
            stack.callback(self._end)
            page = self._page(profile / "DevToolsActivePort")
            self._socket = stack.enter_context(connect(page, max_size=LARGEST_MESSAGE))
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _end(self) -> None:
        """Ends the browser with all its processes, which are a group of their own."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT_SECONDS)

    def _page(self, told: Path) -> str:
        """The address of the first page, once the browser is there."""
        until = time.monotonic() + WAIT_SECONDS
        while not (told.exists() and told.read_text().count("\n")):
            assert self.process.poll() is None, (self.place / "browser.log").read_text()
            assert time.monotonic() < until, "the browser does not start"
            time.sleep(0.05)
        port = told.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        return str(pages[0]["webSocketDebuggerUrl"])

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol; what the page says meanwhile is kept."""
        self._number += 1
        number = self._number
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=WAIT_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._heard(message)

    def _heard(self, message: dict[str, Any]) -> None:
        kind, told = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif kind == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(told["entry"]["text"])
        elif kind == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.problems.append(str(told["args"]))
        elif kind == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])

    def size(self, width: int, height: int = 900) -> None:
        """Makes the screen this large; below 600 it is a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def open(self, url: str) -> None:
        """Goes to an address, and waits until its page is there."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.protocol !== 'about:'")

    def value(self, expression: str) -> Any:
        """What JavaScript gives in the page."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = WAIT_SECONDS) -> Any:
        """Waits until an expression is true; fails with what the page shows."""
        until = time.monotonic() + seconds
        while not (found := self.value(expression)):
            if time.monotonic() > until:
                shown = self.value("document.body.innerText")
                raise AssertionError(f"never: {expression}\n{self.problems}\n{shown[:3000]}")
            time.sleep(0.05)
        return found

    def click(self, selector: str) -> None:
        """Scrolls to an element and presses the button of a mouse in its middle."""
        place = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def type(self, selector: str, text: str) -> None:
        """Clicks into a field, takes out what stands there, and types."""
        self.click(selector)
        self.value(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def picture(self, path: Path) -> Path:
        """Saves the whole page as a picture."""
        whole = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": whole["width"], "height": whole["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path
