"""Chains of blocks in a PyTorch module: each runs on what the one before it answered.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

__all__ = ["Chain", "find_chain"]

CLOSE = 1e-4
"""How far answers may be apart, relative to the largest, to be taken as the same."""


@dataclass(frozen=True, slots=True)
class _Call:
    """How a block was called, and what it answered."""

    given: tuple[Any, ...]
    named: Mapping[str, Any]
    answer: Any


@dataclass(slots=True)
class Chain:
    """Blocks that run one after the other; no blocks where the module has no such chain.

    Attributes:
        names: of the blocks, in order.
        blocks: the modules.
    """

    names: tuple[str, ...] = ()
    blocks: tuple[Any, ...] = ()
    _states: list[tuple[Any, tuple[Any, ...], Mapping[str, Any]]] = field(default_factory=list)

    def place_of(self, names: Sequence[str]) -> int | None:
        """The place of the block that holds all modules of these names; `None` if none does."""
        places = [
            place
            for name in names
            for place, block in enumerate(self.names)
            if name.startswith(f"{block}.")
        ]
        alone = len(places) == len(names) and len(set(places)) == 1
        return places[0] if alone else None

    def start(self, module: Any, batches: Sequence[Mapping[str, Any]]) -> None:
        """Runs what comes before the first block, for every batch, and keeps what it gives."""
        self._states = []

        def hook(part: Any, given: Any, named: Any) -> None:
            self._states.append((given[0], given[1:], dict(named)))
            raise _Stop

        handle = self.blocks[0].register_forward_pre_hook(hook, with_kwargs=True)
        try:
            for batch in batches:
                _until_stopped(lambda batch=batch: module(**batch))  # type: ignore[misc]
        finally:
            handle.remove()

    def run(self, place: int, batch: int) -> Any:
        """Runs one block on what the block before it gave for a batch."""
        state, given, named = self._states[batch]
        return _first(self.blocks[place](state, *given, **named))

    def advance(self, place: int) -> None:
        """Replaces what a block was given by what it gives, for every batch."""
        for batch, (_, given, named) in enumerate(self._states):
            self._states[batch] = (self.run(place, batch), given, named)
        if place == len(self.blocks) - 1:
            self._states = []


def find_chain(module: Any, inputs: Mapping[str, Any]) -> Chain:
    """Finds the longest list of blocks that can be run one by one, and proves it by running.

    A `ModuleList` is a chain if each block is called once, in order, with the answer of the one
    before it first and otherwise the same arguments, and if running the blocks so, twice, gives
    what the module itself gave.

    Args:
        module: in eval mode, without gradients.
        inputs: input name -> tensor, for one run of the module.
    """
    lists = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) > 1
    ]
    for name, part in sorted(lists, key=lambda named: -len(named[1])):
        chain = Chain(tuple(f"{name}.{i}" for i in range(len(part))), tuple(part))
        made = _recorded(chain, module, inputs)
        if made is not None and _holds(chain, module, inputs, made):
            return chain
    return Chain()


def _recorded(chain: Chain, module: Any, inputs: Mapping[str, Any]) -> list[_Call] | None:
    """The calls of all blocks; `None` unless each was called once, in order, as a chain."""
    seen: list[tuple[int, _Call]] = []

    def watch(place: int) -> Callable[..., None]:
        def hook(part: Any, given: Any, named: Any, answer: Any) -> None:
            seen.append((place, _Call(given, named, _first(answer))))

        return hook

    handles = [
        block.register_forward_hook(watch(place), with_kwargs=True)
        for place, block in enumerate(chain.blocks)
    ]
    try:
        module(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    if [place for place, _ in seen] != list(range(len(chain.blocks))):
        return None
    made = [call for _, call in seen]
    linked = all(
        after.given and after.given[0] is before.answer and _same_rest(made[0], after)
        for before, after in itertools.pairwise(made)
    )
    return made if linked and made[0].given and torch.is_tensor(made[0].given[0]) else None


def _same_rest(one: _Call, two: _Call) -> bool:
    if len(one.given) != len(two.given) or set(one.named) != set(two.named):
        return False
    pairs = [*zip(one.given[1:], two.given[1:]), *((one.named[k], two.named[k]) for k in one.named)]
    return all(a is b or (not torch.is_tensor(a) and _plain_equal(a, b)) for a, b in pairs)


def _plain_equal(one: Any, two: Any) -> bool:
    plain = (str, int, float, bool, type(None))
    return isinstance(one, plain) and isinstance(two, plain) and one == two


def _holds(chain: Chain, module: Any, inputs: Mapping[str, Any], made: list[_Call]) -> bool:
    """Twice, because a block that keeps what it saw answers differently the second time."""
    wanted = made[-1].answer
    chain.start(module, [inputs])
    state, given, named = chain._states[0]
    for _ in range(2):
        answer = state
        for block in chain.blocks:
            answer = _first(block(answer, *given, **named))
        if answer.shape != wanted.shape:
            return False
        if float((answer - wanted).abs().max()) > CLOSE * float(wanted.abs().max()):
            return False
    return True


class _Stop(BaseException):
    """Ends a run of the module at the first block; no handler of a model catches it."""


def _until_stopped(run: Callable[[], Any]) -> None:
    try:
        run()
    except _Stop:
        return


def _first(answer: Any) -> Any:
    return answer[0] if isinstance(answer, tuple | list) else answer
