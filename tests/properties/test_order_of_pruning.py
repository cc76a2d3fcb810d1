"""Structured before unstructured, then training, then fewer bits: in every legal order, by traits."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from jettison import registry
from jettison.domain.extension_points import Technique
from jettison.domain.traits import TRAITS, illegality, traits_after

ROLES = {
    "structured": {"channel_pruning", "low_rank"},
    "mask": {"chita", "magnitude_pruning", "sparsegpt", "wanda"},
    "training": {"recover"},
    "private training": {"recover_private"},
    "equalising": {"activation_smoothing", "cross_layer_equalization"},
    "bits": {
        "half_precision",
        "int8_dynamic",
        "int8_static",
        "matmul_nbits",
        "nncf_int8",
        "nncf_weight_only",
        "pt2e_int8",
        "torch_dynamic_int8",
        "torch_fx_int8",
        "torchao_weight_only",
    },
    "rows": {"balanced_calibration"},
    "mitigation": {"constraint_learner", "group_thresholds", "reweighing"},
    "conversion": {"convert_openvino", "convert_sklearn", "export_onnx", "transformer_fusion"},
}
"""What each technique of ours does, told apart from the traits that it states."""

RANK = {
    name: place
    for place, role in enumerate(("structured", "mask", "training", "equalising", "bits"))
    for name in ROLES[role]
}
START = frozenset({"torch", "float32", "dense", "matmul", "convolution", "attention"})
FORMATS = frozenset({"onnx", "openvino", "sklearn", "torch"})
"""A model is stored in exactly one of them."""
FOUND = frozenset({"matmul", "convolution", "attention", "standard-operators"})
"""Traits that a crossing may find on the way, beyond those that it promises."""


def ours() -> dict[str, Technique]:
    packages = registry.packages("techniques")
    return {
        name: registry.get("techniques", name)
        for name, package in packages.items()
        if package == "jettison"
    }


TECHNIQUES = ours()
orders = st.lists(st.sampled_from(sorted(TECHNIQUES)), min_size=1, max_size=7, unique=True)
starts = st.sets(st.sampled_from(sorted(TRAITS)), max_size=len(TRAITS)).map(frozenset)


def wrong_way(names: Sequence[str]) -> bool:
    """Whether something comes after what must come after it."""
    ranks = [RANK[name] for name in names if name in RANK]
    return ranks != sorted(ranks) or ranks.count(RANK["wanda"]) > 1


def legal(start: frozenset[str], names: Sequence[str]) -> bool:
    """Whether each step may follow, if crossings find all that they may find."""
    traits = start
    for place, name in enumerate(names):
        technique = TECHNIQUES[name]
        if name in names[:place] or illegality(traits, (technique,)) is not None:
            return False
        traits = traits_after(traits, (technique,))
        if technique.conversion:
            traits |= FOUND
    return True


def test_every_technique_of_ours_has_a_role() -> None:
    """No technique is left out of these properties."""
    assert set(TECHNIQUES) == set().union(*ROLES.values())


@given(starts, st.sampled_from(sorted(FORMATS)), orders)
def test_what_is_out_of_order_is_illegal(
    extra: frozenset[str], stored: str, names: list[str]
) -> None:
    """No start from a float32 model makes a step legal after one that it must come before."""
    more = extra - FORMATS - {"int8", "float16", "sparse"}
    for start in (START, (START - FORMATS) | more | {stored}):
        if wrong_way(names):
            assert not legal(start, names)


@given(starts)
def test_a_sparse_model_keeps_its_structure(extra: frozenset[str]) -> None:
    """Once a mask was set, nothing may change the structure or set another mask."""
    for name in ROLES["mask"]:
        after = traits_after((START | extra), (TECHNIQUES[name],))
        for other in ROLES["structured"] | ROLES["mask"]:
            assert illegality(after, (TECHNIQUES[other],)) is not None


def test_all_orders_that_the_walk_can_reach() -> None:
    """Every legal order from a PyTorch model, exhaustively: none is the wrong way round.

    Orders of the same steps that end with the same traits and the same last rank have the same
    futures, so one of them is followed.
    """
    seen: set[object] = set()

    def walk(traits: frozenset[str], names: tuple[str, ...]) -> None:
        assert not wrong_way(names), names
        state = (traits, frozenset(names), max((RANK[n] for n in names if n in RANK), default=-1))
        if state in seen:
            return
        seen.add(state)
        for name, technique in TECHNIQUES.items():
            if name in names or illegality(traits, (technique,)) is not None:
                continue
            found = FOUND if technique.conversion else frozenset()
            walk(traits_after(traits, (technique,)) | found, (*names, name))

    walk(START, ())
    assert len(seen) > 100


def test_the_whole_order_is_legal() -> None:
    """Channels, low rank, a mask, the crossing, equalising and int8 can stand in one recipe."""
    for mask in ROLES["mask"]:
        for even in ROLES["equalising"]:
            steps = ["channel_pruning", "low_rank", mask, "export_onnx", even, "int8_static"]
            assert legal(START, steps)
