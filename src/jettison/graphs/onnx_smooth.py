"""Activation smoothing of a prepared ONNX graph: scales go from activations into weights.

The inverse scales are folded into the norm in front where nothing else reads its answer; elsewhere
(a residual connection reads it too, or it comes from an activation function) one multiplication is
put in front of the products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettison.domain.rows import Array
from jettison.graphs.onnx_chains import attribute
from jettison.numerics.equalising import channel_ranges, smoothing_scales
from jettison.numerics.smoothing import best_alpha

READERS = frozenset({"Attention", "Gemm", "MatMul"})

NORMS: Mapping[str, tuple[int, ...]] = {
    "LayerNormalization": (1, 2),
    "SimplifiedLayerNormalization": (1,),
    "SkipLayerNormalization": (2, 3),
    "SkipSimplifiedLayerNormalization": (2,),
    "EmbedLayerNormalization": (5, 6),
}
"""Operators that end with a scale and a shift of each channel -> the inputs that hold them."""

SAMPLED = 512
"""Positions of an activation that are kept to compare products on."""

PREFIX = "jettison_smooth_"


@dataclass(slots=True)
class Site:
    """An activation that one or more products read.

    Attributes:
        tensor: its name.
        readers: nodes that multiply it by constant weights.
        norm: the node that gives it, where its scale and shift can take the inverse scales.
        largest: magnitude of each channel seen so far.
        rows: some of the values, each of shape (n, channels).
    """

    tensor: str
    readers: list[Any]
    norm: Any | None
    largest: Array = field(default_factory=lambda: np.zeros(0))
    rows: list[Array] = field(default_factory=list)

    def see(self, values: Array) -> None:
        """Takes note of the values of a batch, shape (..., channels)."""
        flat = values.reshape(-1, values.shape[-1])
        top = np.abs(flat).max(axis=0)
        self.largest = np.maximum(self.largest, top) if self.largest.size else top
        room = SAMPLED - sum(len(part) for part in self.rows)
        if room > 0:
            # From everywhere in the batch: its first positions would be of one row.
            step = max(1, len(flat) // 64)
            self.rows.append(flat[::step][:room].astype(np.float64))


@dataclass(frozen=True, slots=True)
class Smoothed:
    """What was done.

    Attributes:
        folded: sites whose scales a norm took.
        multiplied: sites that got a multiplication.
        alphas: of all of them.
        weights: number of weights changed.
        sites: activations that were looked at.
    """

    folded: int
    multiplied: int
    alphas: tuple[float, ...]
    weights: int
    sites: int

    def __str__(self) -> str:
        if not self.alphas:
            return f"none of {self.sites} activations gained by smoothing"
        told = [f"{self.folded} folded into the norm before"] if self.folded else []
        if self.multiplied:
            told.append(f"{self.multiplied} by a multiplication of their own")
        low, high = min(self.alphas), max(self.alphas)
        strength = f"alpha {low:g}" if low == high else f"alpha {low:g} to {high:g}"
        return (
            f"{len(self.alphas)} of {self.sites} activations smoothed, {strength} "
            f"({', '.join(told)})"
        )


def find_sites(model: Any, everywhere: bool) -> list[Site]:
    """Activations that products read, in the order of the graph.

    Args:
        model: a prepared graph.
        everywhere: also where a multiplication is needed.
    """
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(value.name for value in model.graph.output)
    makers = {name: node for node in model.graph.node for name in node.output}
    sites: dict[str, Site] = {}
    for node in model.graph.node:
        if _can_read(node, sizes, uses) and node.input[0] not in sizes:
            sites.setdefault(node.input[0], Site(node.input[0], [], None)).readers.append(node)
    for site in sites.values():
        norm = makers.get(site.tensor)
        alone = uses[site.tensor] == len(site.readers)
        if alone and norm is not None and _is_norm(norm, site.tensor, sizes, uses):
            site.norm = norm
    return [site for site in sites.values() if site.norm is not None or everywhere]


def best_alphas(model: Any, sites: Sequence[Site]) -> dict[str, float]:
    """Activation -> the alpha that is best for its own products; those that gain nothing are absent.

    Takes seconds on a transformer. No site reads what smoothing another changes, so they may be found
    before any is smoothed.

    Args:
        model: the graph that the sites were found in, weights in memory.
        sites: with what they have seen.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for site in sites:
        matrices = _matrices(site, stored)
        rows = np.concatenate(site.rows)
        alpha = best_alpha(site.largest, rows, matrices) if matrices else None
        if alpha is not None:
            found[site.tensor] = alpha
    return found


def smooth(model: Any, sites: Sequence[Site], alphas: Mapping[str, float]) -> Smoothed:
    """Scales weights and norms of a graph in memory.

    Args:
        model: the graph that the sites were found in, weights in memory; it is changed.
        sites: with what they have seen.
        alphas: activation -> its alpha; the others stay as they are.
    """
    import onnx

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    folded, multiplied, weights, taken = 0, 0, 0, list[float]()
    for site in sites:
        matrices = _matrices(site, stored) if site.tensor in alphas else []
        if not matrices:
            continue
        chosen = alphas[site.tensor]
        ranges = channel_ranges(np.concatenate(matrices, axis=1), 0)
        scales = smoothing_scales(site.largest, ranges, chosen)
        for node, matrix in zip(site.readers, matrices):
            scaled = (matrix * scales[:, None]).astype(np.float32)
            _store(stored[node.input[1]], scaled.T if _by_row(node) else scaled)
            weights += scaled.size
        taken.append(chosen)
        if site.norm is not None:
            folded += 1
            for name in _norm_inputs(site.norm):
                values = onnx.numpy_helper.to_array(stored[name])
                _store(stored[name], (values / scales).astype(np.float32))
        else:
            multiplied += 1
            _multiply(model, site, (1.0 / scales).astype(np.float32))
    return Smoothed(folded, multiplied, tuple(taken), weights, len(sites))


def _can_read(node: Any, sizes: Mapping[str, tuple[int, ...]], uses: Mapping[str, int]) -> bool:
    if node.op_type not in READERS or len(node.input) < 2 or attribute(node, "transA", 0):
        return False
    return len(sizes.get(node.input[1], ())) == 2 and uses[node.input[1]] == 1


def _is_norm(
    node: Any, tensor: str, sizes: Mapping[str, tuple[int, ...]], uses: Mapping[str, int]
) -> bool:
    names = _norm_inputs(node)
    return (
        bool(names)
        and node.output[0] == tensor
        and all(len(sizes.get(name, ())) == 1 and uses[name] == 1 for name in names)
    )


def _norm_inputs(node: Any) -> list[str]:
    places = NORMS.get(node.op_type, ())
    return [node.input[i] for i in places if i < len(node.input) and node.input[i]]


def _by_row(node: Any) -> bool:
    return node.op_type == "Gemm" and bool(attribute(node, "transB", 0))


def _matrices(site: Site, stored: Mapping[str, Any]) -> list[Array]:
    """Weights of all that read an activation; none where one of them reads another axis of it."""
    found = [_matrix(node, stored) for node in site.readers]
    return found if all(len(matrix) == len(site.largest) for matrix in found) else []


def _matrix(node: Any, stored: Mapping[str, Any]) -> Array:
    """Weights of shape (channels, outputs)."""
    import onnx

    values: Array = onnx.numpy_helper.to_array(stored[node.input[1]]).astype(np.float64)
    return values.T if _by_row(node) else values


def _store(tensor: Any, values: Array) -> None:
    import onnx

    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def _multiply(model: Any, site: Site, inverse: Array) -> None:
    """Puts one multiplication in front of all readers of a site."""
    import onnx

    name = PREFIX + site.tensor
    model.graph.initializer.append(onnx.numpy_helper.from_array(inverse, f"{name}_scales"))
    node = onnx.helper.make_node("Mul", [site.tensor, f"{name}_scales"], [name], name=name)
    names: Sequence[str] = [reader.name for reader in site.readers]
    first = next(i for i, n in enumerate(model.graph.node) if n.name in names)
    for reader in model.graph.node:
        if reader.name in names:
            reader.input[0] = name
    model.graph.node.insert(first, node)
