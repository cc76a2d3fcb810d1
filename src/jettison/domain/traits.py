"""The vocabulary of traits, and the one pure function that says whether a sequence is legal.

A technique states `requires`, `adds` and `removes`; a runtime states `requires`. No plug-in
names another: what can follow what is decided here, from these words alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

TRAITS: Mapping[str, str] = {
    "onnx": "The graph and its weights are stored as an ONNX file.",
    "torch": "The weights are stored for PyTorch (a Hugging Face folder or an exported program).",
    "sklearn": "The model is a scikit-learn estimator or pipeline.",
    "openvino": "The graph and its weights are stored as OpenVINO IR (an .xml and a .bin file).",
    "float32": "The large weights are still stored as 32-bit floats.",
    "float16": "Weights were rounded to 16-bit floats.",
    "int8": "Some operators compute with 8-bit integers.",
    "packed": "Weights are stored as integers that only the home of the format can unpack.",
    "imitated": "Operators imitate 8 bits in float until a compiler merges them.",
    "dense": "No weights were set to zero by a mask, so their structure may still change.",
    "sparse": "A mask set some of the weights to zero; they are still stored and computed with.",
    "standard-operators": "Every operator belongs to the ONNX standard, so any runtime can load it.",
    "matmul": "The graph multiplies activations by constant matrices (MatMul or Gemm).",
    "convolution": "The graph holds convolutions with constant weights.",
    "attention": "The graph holds transformer attention that has not been fused yet.",
    "trees": "The model is an ensemble of decision trees.",
    "fixed-batch": "The graph accepts only the batch size that it was saved with.",
    "batch-dependent": "A row's answer changes with the rows that share its batch.",
}
"""Each trait with the sentence that the glossary shows."""


class Stage(Protocol):
    """The part of a technique that legality looks at."""

    @property
    def name(self) -> str: ...
    @property
    def requires(self) -> frozenset[str]: ...
    @property
    def adds(self) -> frozenset[str]: ...
    @property
    def removes(self) -> frozenset[str]: ...


def excludes(plugin: object) -> frozenset[str]:
    """The traits that a model must not have for a technique or runtime; most exclude none."""
    found: frozenset[str] = getattr(plugin, "excludes", frozenset())
    return found


def traits_after(traits: Iterable[str], stages: Sequence[Stage]) -> frozenset[str]:
    """Gives the traits of a model after a legal sequence of techniques."""
    current = frozenset(traits)
    for stage in stages:
        current = (current - stage.removes) | stage.adds
    return current


def illegality(
    traits: Iterable[str], stages: Sequence[Stage], runtime_requires: frozenset[str] = frozenset()
) -> str | None:
    """Says why a sequence of techniques and a runtime can't be applied; `None` if it can.

    Args:
        traits: the traits of the model before the first technique.
        stages: the techniques in order.
        runtime_requires: what the runtime asks of the finished model.
    """
    current = frozenset(traits)
    for place, stage in enumerate(stages):
        if stage.name in {earlier.name for earlier in stages[:place]}:
            return f"`{stage.name}` stands twice in one recipe"
        missing = stage.requires - current
        if missing:
            lacks = ", ".join(f"`{name}`" for name in sorted(missing))
            return f"`{stage.name}` needs a model that is {lacks}"
        if excluded := excludes(stage) & current:
            has = ", ".join(f"`{name}`" for name in sorted(excluded))
            return f"`{stage.name}` needs a model that is not {has}"
        current = (current - stage.removes) | stage.adds
    missing = runtime_requires - current
    if missing:
        lacks = ", ".join(f"`{name}`" for name in sorted(missing))
        return f"the runtime needs a model that is {lacks}"
    return None
