"""Plan: chains of crossings, techniques before a crossing, and what is left out with its reason."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from jettison import machine
from jettison.domain import accelerators
from jettison.domain.configuration import SearchSection
from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Technique
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.profile import LayerCost, Profile, StageCost
from jettison.domain.recipe import Choices, FloatRange, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.traits import traits_after
from jettison.errors import ConfigError
from jettison.pipeline import plan
from jettison.pipeline.plan import describe, within
from jettison.registry import get


class Made:
    """A technique that only says what it needs and does."""

    conversion = False
    packages: tuple[str, ...] = ()

    def __init__(
        self,
        requires: str,
        adds: str = "",
        removes: str = "",
        *,
        conversion: bool = False,
        potential: Potential | Refusal | None = None,
    ) -> None:
        self.name = ""
        self.requires = frozenset(requires.split())
        self.adds = frozenset(adds.split())
        self.removes = frozenset(removes.split())
        self.conversion = conversion
        self.asked: list[tuple[LayerCost, ...]] = []
        self._potential = potential or Potential(2.0, 0.5, "made up")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        self.asked.append(profile.layers)
        return self._potential


TORCH = frozenset({"torch", "float32", "dense", "matmul"})


def model_with(traits: frozenset[str]) -> Model:
    """A model of which only the traits matter."""
    spec = TensorSpec("x", "float32", ("batch", 4))
    artifact = Artifact("none", "/nowhere", ("m",), "0" * 64, 10)
    encoder = Encoder("arrays", {}, "", (), (), "")
    return Model(artifact, traits, (spec,), (spec,), "x", "regression", encoder)


def layer(operator: str) -> LayerCost:
    return LayerCost("one", operator, 1, 1, 4, 1.0)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> dict[str, Made]:
    """Pruning, a crossing, and int8 after it, in place of the registered techniques."""
    made = {
        "masks": Made("torch float32 dense", "sparse", "dense"),
        "channels": Made("torch float32 dense"),
        "cross": Made("torch", "onnx standard-operators", "torch", conversion=True),
        "eight": Made("onnx float32", "int8", "float32"),
    }
    for name, technique in made.items():
        technique.name = name
    real = get

    def found(family: str, name: str) -> object:
        return made[name] if family == "techniques" else real(family, name)

    monkeypatch.setattr(plan.registry, "get", found)
    monkeypatch.setattr(
        plan.registry,
        "names",
        lambda family: tuple(made) if family == "techniques" else ("onnx_runtime", "torch_eager"),
    )
    return made


def planned(
    doors: Mapping[str, Made],
    *named: str,
    cross: bool = True,
    ranges: Mapping[str, Ranges] | None = None,
    settings: Mapping[str, Settings] | None = None,
    search: SearchSection | None = None,
) -> plan.SearchSpace:
    """The plan for a torch model and, if wanted, its crossing to ONNX."""
    starts = [plan.Start((), model_with(TORCH), (layer("Linear"),))]
    if cross:
        # A stage is anything with these four words.
        steps: list[Technique] = [doors["cross"]]  # type: ignore[list-item]
        after = traits_after(TORCH, steps) | {"attention"}
        starts.append(plan.Start(("cross",), model_with(after), (layer("MatMul"),)))
    profile = Profile(
        machine.describe_device(),
        ServingProfile(),
        (StageCost("model", 1.0, 1.0),),
        (layer("Linear"),),
        1e9,
        0.02,
        10,
    )
    search = search or SearchSection(techniques=named)
    wishes = plan.Wishes(search, ranges or {}, settings or {})
    return plan.plan(starts, profile, wishes)


def test_where_only_files_count_each_way_is_tried_on_one_runtime(
    doors: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second runtime reads the same files and may cost minutes; who names it gets it."""
    far = plan.registry.get("runtimes", "torch_eager")
    twin = type("Twin", (type(far),), {"name": "again", "home": ""})()
    real = plan.registry.get

    def found(family: str, name: str) -> object:
        return twin if name == "again" else real(family, name)

    names = ("again", "onnx_runtime", "torch_eager")
    monkeypatch.setattr(plan.registry, "get", found)
    monkeypatch.setattr(
        plan.registry, "names", lambda family: tuple(doors) if family == "techniques" else names
    )
    sizes = ("size_bytes", "sparse_size_bytes")
    space = planned(doors, search=SearchSection(minimise=sizes))
    assert {r.runtime for r in space.routes} == {"onnx_runtime", "torch_eager"}
    ways = [r.techniques for r in space.routes]
    assert len(ways) == len(set(ways))
    assert {r.name: r.reason for r in space.refused}["again"].startswith("size_bytes and sparse")
    named = SearchSection(minimise=sizes, runtimes=names)
    assert "again" in {r.runtime for r in planned(doors, search=named).routes}
    timed = SearchSection(minimise=("size_bytes", "latency_ms"))
    assert "again" in {r.runtime for r in planned(doors, search=timed).routes}


def test_what_runs_on_an_accelerator_is_left_out_where_a_cost_sees_the_processor_alone(
    doors: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joules that are estimated from processor time would call a GPU free, named or not."""
    far = plan.registry.get("runtimes", "torch_eager")
    chip = type("Chip", (type(far),), {"name": "chip", "home": "", "accelerator": "cuda"})()
    real = plan.registry.get

    def found(family: str, name: str) -> object:
        return chip if name == "chip" else real(family, name)

    monkeypatch.setattr(plan.registry, "get", found)
    monkeypatch.setitem(accelerators.KINDS, "cuda", lambda: ("A GPU",))
    names = ("chip", "torch_eager")
    seen = SearchSection(minimise=("latency_ms", "cpu_ms"), runtimes=names)
    assert "chip" in {r.runtime for r in planned(doors, search=seen).routes}
    blind = SearchSection(minimise=("latency_ms", "energy_j"), runtimes=names)
    space = planned(doors, search=blind)
    assert "chip" not in {r.runtime for r in space.routes}
    assert {r.name: r.reason for r in space.refused}["chip"].startswith("`energy_j` is estimated")


def test_a_crossing_without_a_runtime_says_what_the_runtimes_want(doors: dict[str, Made]) -> None:
    """Not that the crossing itself lacks what it starts from: it was made from there."""
    space = planned(doors, search=SearchSection(runtimes=("torch_eager",)))
    reasons = {r.name: r.reason for r in space.refused}
    assert reasons["cross"] == "the runtime needs a model that is `torch`"


def test_techniques_on_torch_weights_come_before_the_crossing_and_int8_after(
    doors: dict[str, Made],
) -> None:
    """Structure, then masks, then the format, then 8 bits: by traits alone."""
    routes = {r.techniques for r in planned(doors).routes if r.runtime == "onnx_runtime"}
    assert ("channels", "masks", "cross", "eight") in routes
    assert ("cross", "eight") in routes
    order = {name: place for place, name in enumerate(("channels", "masks", "cross", "eight"))}
    for route in routes:
        places = [order[name] for name in route]
        assert places == sorted(places)


def test_a_crossing_that_was_not_made_is_not_walked(doors: dict[str, Made]) -> None:
    """What a failed conversion would have led to stands in no route."""
    routes = planned(doors, cross=False).routes
    assert routes
    assert all("cross" not in r.techniques and r.runtime == "torch_eager" for r in routes)


def test_each_technique_is_asked_about_the_layers_of_its_own_format(
    doors: dict[str, Made],
) -> None:
    """A torch technique sees torch layers, one for ONNX those of the converted graph."""
    planned(doors)
    assert doors["masks"].asked == [(layer("Linear"),)]
    assert doors["eight"].asked == [(layer("MatMul"),)]


def test_a_refusal_names_what_the_nearest_format_lacks(doors: dict[str, Made]) -> None:
    """An ONNX technique that needs `trees` lacks them alone, though other formats lack `onnx` too."""
    doors["trees"] = Made("trees onnx")
    doors["trees"].name = "trees"
    space = planned(doors)
    told = next(r.reason for r in space.refused if r.name == "trees")
    assert "`trees`" in told
    assert "`onnx`" not in told
    doors["masked"] = Made("torch sparse trees", "", "")
    doors["masked"].name = "masked"
    told = next(r.reason for r in planned(doors).refused if r.name == "masked")
    assert "`torch`" not in told  # The untouched model has it; the last conversion has not.
    assert "`trees`" in told


def test_a_setting_that_is_not_read_is_not_open(
    doors: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the user fixed what a setting depends on, it is open only if it is read there."""
    share = FloatRange(0.1, 0.9, 0.5, when={"pattern": "free"})
    both: Ranges = {"share": share, "pattern": Choices(("free", "2:4"), "free")}
    monkeypatch.setattr(doors["masks"], "search_space", lambda model, profile: both)
    for pattern, expected in (("free", {"share"}), ("2:4", set())):
        space = planned(doors, settings={"masks": {"pattern": pattern}})
        assert set(space.ranges["masks"]) == expected
    narrowed = planned(doors, ranges={"masks": {"share": FloatRange(0.2, 0.4, 0.3)}})
    assert narrowed.ranges["masks"]["share"].when == {"pattern": "free"}


def test_a_fixed_setting_is_read(doors: dict[str, Made], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it depends on is fixed too; where the user fixed that otherwise, it is an error."""
    share = FloatRange(0.1, 0.9, 0.5, when={"pattern": "free"})
    both: Ranges = {"share": share, "pattern": Choices(("free", "2:4"), "free")}
    monkeypatch.setattr(doors["masks"], "search_space", lambda model, profile: both)
    space = planned(doors, settings={"masks": {"share": 0.3}})
    assert space.fixed["masks"] == {"share": 0.3, "pattern": "free"}
    assert not space.ranges["masks"]
    with pytest.raises(ConfigError, match=r"`settings.masks.share` is read only where `pattern`"):
        planned(doors, settings={"masks": {"share": 0.3, "pattern": "2:4"}})


def test_what_can_gain_nothing_is_left_out_unless_it_is_named(doors: dict[str, Made]) -> None:
    """Neither faster nor smaller here: refused with the reason and the way to try it."""
    doors["masks"]._potential = Potential(1.0, 1.0, "zeros are computed with all the same")
    space = planned(doors)
    assert all("masks" not in r.techniques for r in space.routes)
    [refusal] = [r for r in space.refused if r.name == "masks"]
    assert "zeros are computed with all the same; name it in `search.techniques`" in refusal.reason
    named = planned(doors, "masks", "cross")
    assert ("masks", "cross") in {r.techniques for r in named.routes}


@pytest.mark.parametrize(
    ("value", "inside"), [("fc1", True), (3, False), (True, False), ("", True)]
)
def test_others(value: object, inside: bool) -> None:
    """A choice that is open to others takes any value of its kind, and says so."""
    allowed = Choices(("",), "", others=True)
    assert within(allowed, value) is inside
    assert describe(allowed) == "'', or another text"


def test_others_whole_number_for_a_number() -> None:
    """A whole number may stand for a number, as in TOML files; yes and no may not."""
    allowed = Choices((0.0,), 0.0, others=True)
    assert [within(allowed, value) for value in (1, 0.5, True)] == [True, True, False]


def test_what_needs_a_mask_follows_one(doors: dict[str, Made]) -> None:
    """No model begins sparse: training after a mask is planned where a mask is, and only there."""
    doors["trains"] = Made("torch float32 sparse")
    doors["trains"].name = "trains"
    space = planned(doors, "masks", "trains", "cross")
    assert ("masks", "trains", "cross") in {route.techniques for route in space.routes}
    assert "trains" not in {refusal.name for refusal in space.refused}
    alone = planned(doors, "trains", "cross")
    assert "`sparse`" in next(r.reason for r in alone.refused if r.name == "trains")
