"""Smoothing the activations of a model on the bench, with what its fitting rows show."""

from __future__ import annotations

import dataclasses

from jettison.domain.running_time import running
from jettison.graphs.onnx_smooth import Smoothed, find_sites, smooth
from jettison.graphs.onnx_storage import read_light, save_model
from jettison.graphs.onnx_taps import Taps
from jettison.graphs.onnx_workpiece import Workpiece

ROWS = 64
"""Fitting rows that are watched."""


def smooth_piece(
    piece: Workpiece, everywhere: bool, alpha: float | None
) -> tuple[Workpiece, Smoothed]:
    """Gives the same model with smoothed activations, and says what was done.

    Args:
        piece: a prepared graph and its rows.
        everywhere: also where a multiplication is needed, not only where a norm can be folded into.
        alpha: for all activations; `None` looks for the best for each.

    Raises:
        CandidateFailed: if the graph does not run, or its answers moved.
    """
    import onnx

    graph = onnx.load(piece.graph)
    sites = {site.tensor: site for site in find_sites(graph, everywhere)}
    if not sites:
        return piece, Smoothed(0, 0, (), 0, 0)
    with running():
        taps = Taps(piece.graph, sites, threads=1)
        for batch in piece.batches(ROWS):
            for name, values in taps.run(batch):
                sites[name].see(values)
    done = smooth(graph, [site for site in sites.values() if site.rows], alpha)
    if not done.alphas:
        return piece, done
    folder = piece.graph.parent / "smoothed"
    save_model(graph, folder)
    path = folder / "model.onnx"
    with running():
        piece.check_same(path)
    marks = (*piece.marks, "smoothed", everywhere, alpha)
    return dataclasses.replace(piece, graph=path, light=read_light(path), marks=marks), done


def smoothed_if(piece: Workpiece, wanted: bool) -> tuple[Workpiece, str]:
    """Smooths every activation that gains, if it is wanted; tells of it in a half-sentence."""
    if not wanted:
        return piece, ""
    smoothed, done = smooth_piece(piece, everywhere=True, alpha=None)
    return smoothed, str(done)
