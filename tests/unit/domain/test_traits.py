"""Legality of sequences is one pure function of traits."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.traits import TRAITS, illegality, traits_after


@dataclass(frozen=True)
class Stage:
    name: str
    requires: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()
    removes: frozenset[str] = frozenset()


EXPORT = Stage("export", frozenset({"torch"}), frozenset({"onnx"}), frozenset({"torch"}))
INT8 = Stage("int8", frozenset({"onnx", "float32"}), frozenset({"int8"}), frozenset({"float32"}))


def test_a_technique_on_onnx_needs_the_crossing_first() -> None:
    """What works on ONNX is illegal on a torch model, and legal after the export."""
    start = frozenset({"torch", "float32"})
    reason = illegality(start, (INT8,))
    assert reason is not None
    assert "`onnx`" in reason
    assert illegality(start, (EXPORT, INT8), frozenset({"onnx"})) is None
    assert traits_after(start, (EXPORT, INT8)) == {"onnx", "int8"}


def test_quantizing_twice_is_illegal() -> None:
    """int8 removes float32, which it requires."""
    assert illegality(frozenset({"onnx", "float32"}), (INT8, INT8)) is not None


def test_a_runtime_that_lacks_a_trait_is_named() -> None:
    """The runtime's missing trait is part of the reason."""
    reason = illegality(frozenset({"torch"}), (), frozenset({"onnx"}))
    assert reason == "the runtime needs a model that is `onnx`"


words = st.frozensets(st.sampled_from(sorted(TRAITS)), max_size=4)
stages = st.lists(
    st.builds(Stage, st.text("abc", min_size=1, max_size=2), words, words, words), max_size=4
)


@given(words, stages)
def test_a_prefix_of_a_legal_sequence_is_legal(start: frozenset[str], steps: list[Stage]) -> None:
    """Legality never depends on what comes later."""
    if illegality(start, steps) is None:
        for length in range(len(steps)):
            assert illegality(start, steps[:length]) is None
