"""The page itself: it holds everything it needs, and its policy allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import re

from jettison.serving.page.document import document


def headers() -> dict[str, str]:
    """The headers of the page."""
    return dict(document().headers)


def test_the_page_asks_for_nothing_outside() -> None:
    """No address of another server, no file beside it."""
    text = document().body.decode()
    without_namespaces = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://", without_namespaces)
    assert not re.search(r"<(script|img|iframe|object|embed|audio|video)[^>]*\ssrc=", text)
    assert re.findall(r"<link[^>]*>", text) == ['<link rel="icon" href="data:,">']
    assert "@import" not in text


def test_the_policy_allows_exactly_this_style_and_this_script() -> None:
    """The hashes in the header are those of what stands in the page."""
    text = document().body.decode()
    policy = headers()["content-security-policy"]
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none';")
    for rule in ("connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy


def test_the_page_has_no_styles_or_events_in_its_tags() -> None:
    """They would be blocked, and the page would look wrong."""
    text = document().body.decode()
    body = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.S)
    assert not re.search(r"\s(style|on[a-z]+)=", body)


def test_nobody_keeps_or_frames_the_page() -> None:
    """Not stored, not sniffed, no referrer."""
    assert headers()["cache-control"] == "no-store"
    assert headers()["x-content-type-options"] == "nosniff"
    assert headers()["referrer-policy"] == "no-referrer"


def test_the_page_stays_small_and_the_same() -> None:
    """Less than 60 kB, the same bytes for everybody: no data in it."""
    assert document() is document()
    assert len(document().body) < 60_000
