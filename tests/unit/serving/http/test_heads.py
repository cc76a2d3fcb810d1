"""Heads of calls for tensors: what may go straight, and what is taken for the same again."""

from __future__ import annotations

import pytest

from jettison.serving.http.heads import KEPT, LARGEST_BODY_BYTES, LONGEST, KnownHeads, read_head

URL = b"/v2/models/m/infer"
LENGTH = (b"content-length", b"3")


def data(length: int = 3, more: bytes = b"", body: bytes = b"abc") -> bytes:
    """A whole request."""
    return b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (URL, more, length, body)


def test_a_usual_call_is_read() -> None:
    """Name, version, sizes, keys and ids are found."""
    headers = [
        (b"content-length", b"80"),
        (b"inference-header-content-length", b"60"),
        (b"authorization", b"Bearer k"),
        (b"x-request-id", b"one"),
        (b"traceparent", b"00-a-b-01"),
    ]
    head = read_head(b"/v2/models/m/versions/4/infer", headers)
    assert head is not None
    assert (head.name, head.version, head.body_bytes, head.header_length) == ("m", "4", 80, 60)
    assert (head.authorization, head.request_id) == (b"Bearer k", "one")
    assert head.traceparent == "00-a-b-01"
    assert read_head(URL, [LENGTH])._asdict()["header_length"] is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (b"/v2/models/m/predict", [LENGTH]),
        (b"/v2/models//infer", [LENGTH]),
        (b"/v2/models/m/infer?x=1", [LENGTH]),
        (b"/v2/models/%6d/infer", [LENGTH]),
        ("/v2/models/ä/infer".encode(), [LENGTH]),
        (URL, []),
        (URL, [(b"content-length", b"%d" % (LARGEST_BODY_BYTES + 1))]),
        (URL, [LENGTH, (b"transfer-encoding", b"chunked")]),
        (URL, [LENGTH, (b"content-encoding", b"gzip")]),
        (URL, [LENGTH, (b"expect", b"100-continue")]),
        (URL, [LENGTH, (b"upgrade", b"h2c")]),
        (URL, [LENGTH, (b"inference-header-content-length", b"-1")]),
        (URL, [LENGTH, (b"inference-header-content-length", b"9" * 13)]),
    ],
)
def test_what_is_unusual_goes_the_other_way(url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Other paths, escapes, bodies without a length, encodings and expectations."""
    assert read_head(url, headers) is None


def kept(sent: bytes, length: int = 3) -> KnownHeads:
    """Heads of which one was read from `sent`."""
    head = read_head(URL, [(b"content-length", b"%d" % length)])
    assert head is not None
    heads = KnownHeads()
    heads.keep(sent, head)
    return heads


def test_only_the_same_bytes_with_a_whole_body_are_known() -> None:
    """Another header, half a body, or a second request behind the first go to the parser."""
    heads = kept(data())
    found = heads.find(data(body=b"xyz"))
    assert found is not None
    assert found[1] == b"xyz"
    for other in (
        data(body=b"ab"),
        data(body=b"abcd"),
        data() + data(),
        data(more=b"x: y\r\n"),
        data().replace(b"POST", b"post"),
        data()[:-8],
        b"",
        b"abc",
    ):
        assert heads.find(other) is None


def test_a_part_or_more_than_a_request_is_not_kept() -> None:
    """What came in pieces, or with something behind it, is no whole request."""
    for sent in (data(body=b"ab"), data() + b"POST", b"\r\n\r\n" + data(), b"abc", b""):
        assert kept(sent).find(sent) is None


def test_a_head_that_will_not_come_again_is_not_kept() -> None:
    """An id or a trace is another one each time; a very long head would fill the memory."""
    for more in ((b"x-request-id", b"a"), (b"traceparent", b"00-a-b-01")):
        head = read_head(URL, [LENGTH, more])
        assert head is not None
        heads = KnownHeads()
        heads.keep(data(), head)
        assert heads.find(data()) is None
    long = data(more=b"x: " + b"y" * LONGEST + b"\r\n")
    assert kept(long).find(long) is None


def test_the_number_of_heads_is_bounded() -> None:
    """The one that came first goes when there are too many."""
    heads = kept(data())
    head = read_head(URL, [LENGTH])
    assert head is not None
    for number in range(KEPT):
        heads.keep(data(more=b"x: %d\r\n" % number), head)
    assert heads.find(data()) is None
    assert heads.find(data(more=b"x: 0\r\n")) is not None
