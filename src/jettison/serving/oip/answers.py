"""Answers over HTTP. What is the same in every answer of a model is written once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import orjson

from jettison.domain.rows import Array
from jettison.serving.oip.call import InferCall
from jettison.serving.oip.datatypes import datatype_of_array
from jettison.serving.oip.http_messages import write_answer
from jettison.serving.oip.signature import Signature
from jettison.serving.oip.tensors import to_bytes
from jettison.serving.requests import Answer

KEPT = 256
"""Forms of one model that are kept; the one that came first goes first."""

TEXTS = "OUS"


class AnswerWriter:
    """Writes the answers of one version of a model.

    All that an answer says beside its values follows from the version, the outputs that were asked
    for, and their shapes and types. A form is kept for each of these, as pieces of JSON between
    which the values go. Answers that carry the caller's id, texts, or some outputs only are written
    each time.

    Args:
        name: of the model.
        signature: of the model.
    """

    def __init__(self, name: str, signature: Signature) -> None:
        self._name = name
        self._signature = signature
        self._forms: dict[Hashable, list[bytes]] = {}

    def write(self, call: InferCall, answer: Answer) -> tuple[bytes, int | None]:
        """Writes an answer.

        Returns:
            The body, and the bytes of its JSON where raw tensors follow, else `None`.

        Raises:
            RequestRefused: `shape`, if a canary answered that lacks an output.
        """
        signature = self._signature
        binary = call.outputs is signature.all_binary
        if call.call_id or not (binary or call.outputs is signature.all_json):
            return self._in_full(call, answer)
        arrays: list[Array] = []
        key: list[Hashable] = [answer.version, binary]
        for name in signature.outputs:
            array = answer.arrays.get(name)
            if array is None or array.dtype.kind in TEXTS:
                return self._in_full(call, answer)
            arrays.append(array)
            key += (array.shape, array.dtype)
        known = tuple(key)
        form = self._forms.get(known)
        if form is None:
            form = self._keep(known, self._form(answer.version, arrays, binary=binary))
        if binary:
            [head] = form
            return b"".join((head, *map(to_bytes, arrays))), len(head)
        pieces: list[bytes] = []
        for piece, array in zip(form, arrays):
            pieces += (piece, _json(array.reshape(-1)))
        pieces.append(form[-1])
        return b"".join(pieces), None

    def _in_full(self, call: InferCall, answer: Answer) -> tuple[bytes, int | None]:
        head: dict[str, Any] = {"model_name": self._name, "model_version": answer.version}
        if call.call_id:
            head["id"] = call.call_id
        return write_answer(head, call.outputs, answer.arrays)

    def _keep(self, key: Hashable, form: list[bytes]) -> list[bytes]:
        if len(self._forms) >= KEPT:
            self._forms.pop(next(iter(self._forms)), None)
        self._forms[key] = form
        return form

    def _form(self, version: str, arrays: Sequence[Array], *, binary: bool) -> list[bytes]:
        head = orjson.dumps({"model_name": self._name, "model_version": version})
        before = head[:-1] + b',"outputs":['
        pieces: list[bytes] = []
        for name, array in zip(self._signature.outputs, arrays):
            told: dict[str, Any] = {
                "name": name,
                "datatype": datatype_of_array(array),
                "shape": array.shape,
            }
            if binary:
                told["parameters"] = {"binary_data_size": array.nbytes}
            entry = orjson.dumps(told)
            if binary:
                before += entry + b","
            else:
                pieces.append(before + entry[:-1] + b',"data":')
                before = b"},"
        if binary:
            return [before.removesuffix(b",") + b"]}"]
        return [*pieces, b"}]}"]


def _json(flat: Array) -> bytes:
    if not flat.flags.c_contiguous:
        flat = flat.copy()
    return orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)
