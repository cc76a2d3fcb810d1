"""Leaves whole blocks out of a module that runs them one after the other (a transformer).

Which blocks go is found by leaving each out in turn and running the rest: the one whose absence
moves the answers least goes first, and the search is repeated without it (greedy backward
selection). This is the depth pruning of Shortened LLaMA (Kim et al. 2024, arXiv 2402.02834), with
the distance from the original's answers in place of perplexity, so that it needs no labels.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from jettison.errors import NothingChanged
from jettison.graphs.torch_blocks import find_chain
from jettison.graphs.torch_macs import frozen, rows_of, total_macs

__all__ = ["Shortened", "shorten"]

Distance = Callable[[Any, Any], Any]
"""(answer, original's answer) -> mean distance over rows, a scalar tensor."""


@dataclass(frozen=True, slots=True)
class Shortened:
    """What was left out.

    Attributes:
        names: of the blocks, in the order in which they went.
        blocks: how many there were.
        macs_before, macs_after: of one row, in all layers with weights.
        weights: that went with them.
    """

    names: tuple[str, ...]
    blocks: int
    macs_before: int
    macs_after: int
    weights: int


def shorten(
    module: Any,
    removed: float,
    batches: Sequence[Mapping[str, Any]],
    distance: Distance,
    place: int = 0,
) -> Shortened:
    """Leaves out the blocks that the answers miss least; changes the module.

    Args:
        module: in eval mode, called with tensors by name.
        removed: share of the multiply-accumulates to remove; the number of blocks that comes
            nearest is left out, at least one and never all.
        batches: input name -> tensor of shape (n, ...).
        distance: between answers.
        place: of the answer that counts, where the module gives a tuple.

    Raises:
        NothingChanged: if the module has no list of blocks that run one after the other.
    """
    first = {name: tensor[:4] for name, tensor in batches[0].items()}
    with frozen(module):
        chain = find_chain(module, first)
    if len(chain.names) < 2:
        raise NothingChanged(
            "no block of this model can be left out: it has no list of two or more blocks that run "
            "one after the other; remove channels instead"
        )
    path, _, _ = chain.names[0].rpartition(".")
    blocks = list(chain.blocks)
    names = dict(zip(map(id, blocks), chain.names, strict=True))
    wanted = _answers(module, batches, place)
    before = now = total_macs(module, first)
    gone: list[Any] = []
    while len(blocks) > 1:
        worst = _least_missed(module, path, blocks, (batches, wanted, distance, place))
        rest = [block for block in blocks if block is not worst]
        _put(module, path, rest)
        macs = total_macs(module, first)
        target = (1.0 - removed) * before
        if gone and abs(macs - target) > abs(now - target):
            _put(module, path, blocks)
            break
        gone.append(worst)
        blocks, now = rest, macs
    weights = sum(int(weight.numel()) for block in gone for weight in block.parameters())
    left_out = tuple(names[id(block)] for block in gone)
    return Shortened(left_out, len(chain.names), before, now, weights)


def _least_missed(
    module: Any,
    path: str,
    blocks: Sequence[Any],
    rows: tuple[Sequence[Mapping[str, Any]], Sequence[Any], Distance, int],
) -> Any:
    batches, wanted, distance, place = rows
    count = sum(rows_of(batch) for batch in batches)
    missed = []
    for left_out in blocks:
        _put(module, path, [block for block in blocks if block is not left_out])
        answers = _answers(module, batches, place)
        apart = sum(
            float(distance(one, two)) * len(one) for one, two in zip(answers, wanted, strict=True)
        )
        # A NaN compares with nothing, so it would look like the least.
        missed.append(apart / count if apart == apart else float("inf"))
    _put(module, path, blocks)
    return blocks[min(range(len(blocks)), key=missed.__getitem__)]


def _answers(module: Any, batches: Sequence[Mapping[str, Any]], place: int) -> list[Any]:
    found = []
    with frozen(module):
        for batch in batches:
            answer = module(**batch)
            found.append(answer[place] if isinstance(answer, tuple) else answer)
    return found


def _put(module: Any, path: str, blocks: Sequence[Any]) -> None:
    way, _, last = path.rpartition(".")
    setattr(module.get_submodule(way), last, nn.ModuleList(blocks))
