"""Asks a running server the bundle's probes, and compares its answers with the certified model's.

    python check_answers.py http://127.0.0.1:8000 NAME [--key-file FILE] [--probes FILE]

Speaks the Open Inference Protocol v2 with binary tensors: Triton, KServe, Ray Serve and jettison
all take it. Each probe is sent alone. Exit code 0 if every answer is the same within the tolerance
of `jettison verify`, 1 if one is not. Needs NumPy and nothing else.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""Of the largest value of an output, and absolute."""

DATATYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}
LENGTH = "inference-header-content-length"


def main() -> int:
    """Compares every probe; prints what differs."""
    parser = argparse.ArgumentParser(description="Compares a server with the certified model.")
    parser.add_argument("server", help="http://HOST:PORT")
    parser.add_argument("name", help="of the model")
    parser.add_argument("--key-file", type=Path, help="file with the bearer key")
    parser.add_argument("--probes", type=Path, default=Path(__file__).with_name("probes.npz"))
    given = parser.parse_args()
    key = given.key_file.read_text().strip() if given.key_file else ""
    server = Server(given.server.rstrip("/"), given.name, key)
    with np.load(given.probes, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored}
    expected = {n.removeprefix("output."): a for n, a in arrays.items() if n.startswith("output.")}
    answers = [server.ask(row) for row in rows(arrays)]
    problems = [
        problem
        for name, values in expected.items()
        for problem in differences(name, values, [answer.get(name) for answer in answers])
    ]
    for problem in problems:
        print(problem)
    print(f"{len(answers)} probes, {len(problems)} differences")
    return 1 if problems or not answers else 0


def rows(arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """The stored inputs, one row at a time, each cut to its own length where rows are ragged."""
    names = [str(name) for name in arrays["names"]]
    pad = json.loads(str(arrays["pad"]))
    for place in range(len(arrays[f"input.{names[0]}"])):
        row = {name: arrays[f"input.{name}"][place : place + 1] for name in names}
        if pad:
            longest = max(1, int(arrays["input._lengths"][place]))
            row.update({name: row[name][:, :longest] for name in pad})
        yield row


def differences(name: str, expected: Array, found: list[Array | None]) -> Iterator[str]:
    """What is not the same, one sentence for each probe."""
    number = expected.dtype.kind in "fiub"
    allowed = 0.0
    if number:
        finite = expected[np.isfinite(expected)].astype(np.float64)
        allowed = ABSOLUTE + RELATIVE * float(np.abs(finite).max(initial=0.0))
    for place, (before, after) in enumerate(zip(expected, found, strict=True)):
        if after is None or after.size != before.size:
            yield f"probe {place}: output `{name}` is missing or has another size"
        elif not number:
            if list(after.reshape(-1)) != [str(value) for value in before.reshape(-1)]:
                yield f"probe {place}: output `{name}` differs"
        elif not np.allclose(
            after.reshape(before.shape).astype(np.float64),
            before.astype(np.float64),
            rtol=0.0,
            atol=allowed,
            equal_nan=True,
        ):
            yield f"probe {place}: output `{name}` differs by more than {allowed:.3g}"


class Server:
    """One model on one server."""

    def __init__(self, address: str, name: str, key: str) -> None:
        self._url = f"{address}/v2/models/{name}"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        told = json.loads(self._open(self._url, None, {})[0])
        self._ranks = {entry["name"]: len(entry["shape"]) for entry in told["inputs"]}

    def ask(self, row: Mapping[str, Array]) -> dict[str, Array]:
        """Answers one row."""
        inputs: list[dict[str, Any]] = []
        bodies: list[bytes] = []
        for name, values in row.items():
            # Triton has no shape (rows,): there it is (rows, 1).
            shaped = values.reshape(-1, 1) if self._ranks[name] > values.ndim else values
            datatype, body = encoded(shaped)
            size = {"binary_data_size": len(body)}
            shape = list(shaped.shape)
            inputs.append({"name": name, "datatype": datatype, "shape": shape, "parameters": size})
            bodies.append(body)
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
        headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}
        payload, length = self._open(f"{self._url}/infer", b"".join([head, *bodies]), headers)
        return decoded(payload, length)

    def _open(self, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[bytes, int]:
        request = urllib.request.Request(url, body, {**self._headers, **headers})
        with urllib.request.urlopen(request, timeout=60) as answer:
            payload: bytes = answer.read()
            return payload, int(answer.headers.get(LENGTH) or len(payload))


def encoded(values: Array) -> tuple[str, bytes]:
    """Datatype and bytes of a tensor, little endian; texts carry their length in 4 bytes."""
    if values.dtype.kind in "UO":
        texts = [str(value).encode() for value in values.reshape(-1)]
        return "BYTES", b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return DATATYPES[values.dtype.name], values.astype(values.dtype.newbyteorder("<")).tobytes()


def decoded(payload: bytes, length: int) -> dict[str, Array]:
    """The outputs of an answer, binary or JSON."""
    outputs: dict[str, Array] = {}
    start = length
    for told in json.loads(payload[:length])["outputs"]:
        size = told.get("parameters", {}).get("binary_data_size")
        if size is None:
            flat = np.asarray(told["data"], dtype=DTYPES.get(told["datatype"], np.str_))
        else:
            part = payload[start : start + size]
            start += size
            flat = texts_of(part) if told["datatype"] == "BYTES" else numbers(part, told["datatype"])
        outputs[told["name"]] = flat.reshape(told["shape"])
    return outputs


def numbers(part: bytes, datatype: str) -> Array:
    """A flat tensor of numbers."""
    return np.frombuffer(part, dtype=np.dtype(DTYPES[datatype]).newbyteorder("<"))


def texts_of(part: bytes) -> Array:
    """A flat tensor of texts."""
    found: list[str] = []
    start = 0
    while start < len(part):
        (size,) = struct.unpack_from("<I", part, start)
        found.append(part[start + 4 : start + 4 + size].decode())
        start += 4 + size
    return np.array(found, dtype=np.str_)


if __name__ == "__main__":
    sys.exit(main())
