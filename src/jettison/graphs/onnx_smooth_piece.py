"""Smoothing the activations of a model on the bench, with what its fitting rows show."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jettison.domain.files import write_atomically
from jettison.domain.rows import Array
from jettison.domain.running_time import running
from jettison.graphs.onnx_prepare import float_answers
from jettison.graphs.onnx_quantize import Rounding, quantize_dynamic
from jettison.graphs.onnx_smooth import READERS, Site, Smoothed, best_alphas, find_sites, smooth
from jettison.graphs.onnx_storage import read_light, save_model
from jettison.graphs.onnx_taps import Taps
from jettison.graphs.onnx_workpiece import Workpiece
from jettison.numerics.range_choice import held_out_rows
from jettison.numerics.sensitivity import relative_distance

ROWS = 64
"""Fitting rows that are watched."""

ONE_FOR_ALL = (0.7, 0.85)
"""Strengths for all activations alike that are compared with one found for each: its own products
don't tell what an activation does to those behind it."""

Seen = Mapping[str, tuple[Array, Sequence[Array]]]
Alphas = Mapping[str, float]


def smooth_piece(
    piece: Workpiece, everywhere: bool, alpha: float | None, *, compare: bool = False
) -> tuple[Workpiece, Smoothed]:
    """Gives the same model with smoothed activations, and says what was done.

    Args:
        piece: a prepared graph and its rows.
        everywhere: also where a multiplication is needed, not only where a norm can be folded into.
        alpha: for all activations; `None` looks for the best for each.
        compare: whether these are compared with `ONE_FOR_ALL` on held-out rows.

    Raises:
        CandidateFailed: if the graph does not run, or its answers moved.
    """
    seen = _watched(piece, everywhere)
    if not seen:
        return piece, Smoothed(0, 0, (), 0, 0)
    own = functools.cache(lambda: best_alphas(*_filled(piece, everywhere, seen)))
    if compare:
        alpha = _best(piece, everywhere, seen, own)
    alphas = own() if alpha is None else dict.fromkeys(seen, alpha)
    graph, done = _scaled(piece, everywhere, seen, alphas)
    if not done.alphas:
        return piece, done
    folder = piece.graph.parent / "smoothed"
    save_model(graph, folder)
    path = folder / "model.onnx"
    with running():
        piece.check_same(path)
    marks = (*piece.marks, "smoothed", everywhere, done.alphas)
    return dataclasses.replace(piece, graph=path, light=read_light(path), marks=marks), done


def smoothed_if(piece: Workpiece, *, wanted: bool, whole_range: bool) -> tuple[Workpiece, str]:
    """Smooths every activation that gains, if it is wanted; tells of it in a half-sentence.

    Args:
        piece: a prepared graph and its rows.
        wanted: whether to.
        whole_range: whether activations are rounded over all that they reach. Then one alpha for
            all can be better; where outliers are clipped, it leaves too many of them (MiniLM).
    """
    if not wanted:
        return piece, ""
    smoothed, done = smooth_piece(piece, everywhere=True, alpha=None, compare=whole_range)
    return smoothed, str(done)


def _watched(piece: Workpiece, everywhere: bool) -> Seen:
    """Activation -> magnitudes of its channels and some of its values, on rows not held out."""
    sites = {site.tensor: site for site in find_sites(read_light(piece.graph), everywhere)}
    if sites:
        n = piece.fitting.rows.n
        with running():
            taps = Taps(piece.graph, sites, threads=1)
            for batch in piece.batches(min(ROWS, n - held_out_rows(n))):
                for name, values in taps.run(batch):
                    sites[name].see(values)
    return {name: (site.largest, site.rows) for name, site in sites.items()}


def _filled(piece: Workpiece, everywhere: bool, seen: Seen) -> tuple[Any, list[Site]]:
    """The graph, weights in memory, and its sites with what was seen."""
    import onnx

    graph = onnx.load(piece.graph)
    sites = find_sites(graph, everywhere)
    for site in sites:
        largest, rows = seen[site.tensor]
        site.largest, site.rows = largest, list(rows)
    return graph, [site for site in sites if site.rows]


def _scaled(piece: Workpiece, everywhere: bool, seen: Seen, alphas: Alphas) -> tuple[Any, Smoothed]:
    graph, sites = _filled(piece, everywhere, seen)
    return graph, smooth(graph, sites, alphas)


def _best(
    piece: Workpiece, everywhere: bool, seen: Seen, own: Callable[[], Alphas]
) -> float | None:
    """The alpha for all whose 8-bit model errs least on held-out rows; `None` where own ones do.

    Judged by dynamic int8, whose ranges are all that an activation reaches. Found once a run.
    """
    held = held_out_rows(piece.fitting.rows.n)
    memory = piece.memory("alpha", everywhere)
    if not memory.exists():
        losses: dict[float | None, float] = {None: 0.0}
        if held and own():
            tried: dict[float | None, Alphas] = {None: own()}
            tried.update((one, dict.fromkeys(seen, one)) for one in ONE_FOR_ALL)
            losses = {a: _loss(piece, everywhere, seen, tried[a], held) for a in tried}
        write_atomically(memory, json.dumps(min(losses, key=lambda one: losses[one])))
    found: float | None = json.loads(memory.read_text())
    return found


def _loss(piece: Workpiece, everywhere: bool, seen: Seen, alphas: Alphas, held: int) -> float:
    folder, output = piece.graph.parent / "tried", piece.model.prediction
    save_model(_scaled(piece, everywhere, seen, alphas)[0], folder)
    rounding = Rounding(
        per_channel=True,
        reduce_range=not piece.bench.device.has_int8_dot_products,
        operators=tuple(sorted(READERS)),
    )
    quantized = quantize_dynamic(folder / "model.onnx", rounding, branches=False)
    save_model(quantized, folder / "in-8-bits")
    rows = piece.last_rows(held)
    with running():
        answers = float_answers(folder / "in-8-bits" / "model.onnx", rows, output)
        loss = relative_distance(float_answers(piece.graph, rows, output), answers)
    return math.inf if math.isnan(loss) else loss
