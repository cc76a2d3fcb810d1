"""Which requests may share a batch, and how rows are put together and taken apart again."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from jettison.domain.model import Model, TensorSpec
from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed
from jettison.serving.signature import TEXT

SHORTEST = 16
"""Texts up to this long share the first bucket: what padding costs there can't be measured."""


def length_bucket(length: int) -> int:
    """Gives the longest length that may share a batch with this one: 16, 24, 32, 48, 64, 96, ...

    Two buckets for each doubling, so that padding is at most a third of a batch's longest row.
    """
    if length <= SHORTEST:
        return SHORTEST
    power = 1 << (length - 1).bit_length()
    return power if length > power * 3 // 4 else power * 3 // 4


class Grouping:
    """Puts rows of like requests into one batch, and takes its outputs apart.

    Args:
        model: names of inputs and outputs, and the free dimensions that outputs share with inputs.
        pad: inputs whose second axis is ragged, with the value that fills it. Requests of one
            length bucket are then filled up to the longest of them. Where a free axis of an output
            is of no input, its own length can't be told, and only equal lengths share a batch.
    """

    def __init__(self, model: Model, pad: Mapping[str, float]) -> None:
        self._inputs = tuple(spec.name for spec in model.inputs)
        self._outputs = model.outputs
        ragged = {str(s.shape[1]): s.name for s in model.inputs if s.name in pad}
        known = {size for spec in model.inputs for size in spec.shape[1:]}
        untold = any(
            isinstance(size, str) and size not in known
            for spec in model.outputs
            for size in spec.shape[1:]
        )
        self._pad = {} if untold else dict(pad)
        self._cuts = {spec.name: _cuts(spec, ragged) for spec in model.outputs}
        free = any(not isinstance(size, int) for spec in model.inputs for size in spec.shape[1:])
        self._alike = not free and all(spec.dtype != TEXT for spec in model.inputs)

    def group(self, arrays: Batch) -> Hashable:
        """Gives what requests of one batch have in common: dtypes, shapes, buckets of lengths."""
        if self._alike:
            # Whatever was checked against these inputs has their one shape and dtype.
            return ()
        pad = self._pad
        parts: list[Hashable] = []
        for name in self._inputs:
            array = arrays[name]
            shape = array.shape
            parts.append(array.dtype.num)
            if name in pad:
                parts.append(length_bucket(shape[1]))
                parts.append(shape[2:])
            else:
                parts.append(shape[1:])
        return tuple(parts)

    def join(self, parts: Sequence[Batch]) -> Batch:
        """Gives one batch of all the rows in order; the part itself where it is alone."""
        if len(parts) == 1:
            return parts[0]
        joined: dict[str, Array] = {}
        for name in self._inputs:
            arrays = [part[name] for part in parts]
            if name in self._pad:
                joined[name] = _filled(arrays, self._pad[name])
            else:
                joined[name] = np.concatenate(arrays)
        return joined

    def split(
        self, outputs: Mapping[str, Array], parts: Sequence[Batch], sizes: Sequence[int]
    ) -> list[dict[str, Array]]:
        """Gives each part the outputs of its own rows, as views, cut back to its own lengths.

        Args:
            outputs: output name -> array, rows first; those that the model doesn't list are left
                out.
            parts: as they were joined.
            sizes: rows of each part.

        Raises:
            CandidateFailed: if an output is missing, or hasn't one row for each row asked.
        """
        total = sum(sizes)
        for spec in self._outputs:
            _check_rows(outputs, spec, total)
        if len(parts) == 1:
            return [{spec.name: outputs[spec.name] for spec in self._outputs}]
        ends = list(itertools.accumulate(sizes))
        answers: list[dict[str, Array]] = [{} for _ in parts]
        ragged = self._is_ragged(parts)
        for spec in self._outputs:
            name = spec.name
            array = outputs[name]
            if ragged:
                _check_widths(array, spec)
            for answer, size, end in zip(answers, sizes, ends):
                answer[name] = array[end - size : end]
            if ragged and self._cuts[name]:
                for answer, part in zip(answers, parts):
                    answer[name] = _cut(answer[name], self._cuts[name], part)
        return answers

    def _is_ragged(self, parts: Sequence[Batch]) -> bool:
        return any(len({part[name].shape[1] for part in parts}) > 1 for name in self._pad)


def _cuts(spec: TensorSpec, ragged: Mapping[str, str]) -> tuple[tuple[int, str], ...]:
    """Axes of an output that are as long as a ragged input: (axis, name of that input)."""
    sizes = enumerate(spec.shape[1:], start=1)
    return tuple((axis, ragged[str(size)]) for axis, size in sizes if str(size) in ragged)


def _cut(array: Array, cuts: Sequence[tuple[int, str]], part: Batch) -> Array:
    index: list[Any] = [slice(None)] * array.ndim
    for axis, name in cuts:
        index[axis] = slice(part[name].shape[1])
    own: Array = array[tuple(index)]
    return own


def _filled(arrays: Sequence[Array], value: float) -> Array:
    """Joins rows of different lengths; what they lack is filled with a value."""
    longest = max(array.shape[1] for array in arrays)
    if all(array.shape[1] == longest for array in arrays):
        return np.concatenate(arrays)
    first = arrays[0]
    rows = sum(len(array) for array in arrays)
    filled: Array = np.full((rows, longest, *first.shape[2:]), value, dtype=first.dtype)
    start = 0
    for array in arrays:
        filled[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    return filled


def _check_rows(outputs: Mapping[str, Array], spec: TensorSpec, rows: int) -> None:
    array = outputs.get(spec.name)
    if array is None:
        raise CandidateFailed(
            f"the model gave no output `{spec.name}`; it gave "
            f"{', '.join(f'`{name}`' for name in outputs) or 'none'}"
        )
    if not array.ndim or len(array) != rows:
        raise CandidateFailed(
            f"the output `{spec.name}` has shape {array.shape} for {rows} rows: one row of it for "
            "each row asked is needed, or answers would reach the wrong caller"
        )


def _check_widths(array: Array, spec: TensorSpec) -> None:
    """An output said to be of one width that grows with the padding can't be cut back."""
    for wanted, found in zip(spec.shape[1:], array.shape[1:]):
        if isinstance(wanted, int) and wanted != found:
            raise CandidateFailed(
                f"the output `{spec.name}` has shape {array.shape}, but {spec.shape} was found when "
                "the model was loaded: it changes with the padding, and its rows need batches apart"
            )
