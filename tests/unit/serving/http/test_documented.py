"""What docs/serving-protocol.md shows works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from jettison.domain.encoder import Encoder
from jettison.errors import REFUSALS
from jettison.serving.http.raw_rows import columns_of
from jettison.serving.oip.http_messages import read_call
from jettison.serving.oip.signature import ANY, Signature, Tensor
from tests.serving_bundle import FEATURES
from tests.serving_live import LiveServer

PAGE = (Path(__file__).parents[4] / "docs" / "serving-protocol.md").read_text(encoding="utf-8")
DIGITS = Signature(
    inputs={"x": Tensor("x", "FP32", (ANY, 4))},
    outputs={"scores": Tensor("scores", "FP32", (ANY, 10))},
)
COLUMNS = {"digits": ["x"], "reviews": ["text"], "credit": ["age", "town", "income"]}


def calls() -> list[tuple[str, str, str]]:
    """Method, path and body of each curl line."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S):
        for line in re.split(r"\n(?=curl)", block.replace("\\\n", " ")):
            words = shlex.split(line)
            address = next(word for word in words if word.startswith("localhost:8080"))
            body = words[words.index("-d") + 1] if "-d" in words else ""
            posts = bool(body) or "POST" in words
            found.append(("POST" if posts else "GET", address.removeprefix("localhost:8080"), body))
    return found


def test_every_call_has_a_route(live: LiveServer) -> None:
    """No curl line of the page asks for a path or a method that is not there."""
    with live.client() as client:
        for method, path, body in calls():
            here = re.sub(r"/(digits|reviews|credit)", "/mlp", path)
            reply = client.request(method, here, content=body)
            assert reply.status_code not in (404, 405), (path, reply.text)


def test_every_body_is_read() -> None:
    """Bodies of infer are calls of a model with four floats; rows of predict become columns."""
    read = 0
    for _, path, body in calls():
        if path.endswith("infer"):
            call = read_call(body.encode(), None, DIGITS)
            assert call.arrays["x"].shape == (2, 4)
            assert (call.priority, call.timeout_seconds) == ("high", 0.2)
            read += 1
        elif path.endswith("predict"):
            name = path.split("/")[3]
            rows = orjson.loads(body)["rows"]
            assert columns_of(rows, Encoder("any", {"columns": COLUMNS[name]})).n == len(rows)
            read += 1
    assert read == 4


def test_the_python_example_runs(live: LiveServer) -> None:
    """The raw call of the page, for a model of another name and width."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    for shown, here in (
        ("localhost:8080", live.host),
        ("/digits/", "/mlp/"),
        ("(2, 4)", f"(2, {FEATURES})"),
    ):
        assert shown in code
        code = code.replace(shown, here)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["told"]["model_name"] == "mlp"
    assert names["scores"].shape == (2, 4)
    np.testing.assert_allclose(names["scores"].sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("status", sorted({*REFUSALS.values(), 200, 405, 408}))
def test_every_status_has_a_line(status: int) -> None:
    """The table of statuses leaves none out."""
    assert re.search(rf"^\| {status} \|", PAGE, re.M)
