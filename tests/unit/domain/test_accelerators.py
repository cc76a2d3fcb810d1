"""Accelerators: what answers, and how a plug-in that lacks one is refused."""

from __future__ import annotations

import pytest

from jettison import registry
from jettison.domain import accelerators
from jettison.domain.extension_points import Runtime
from jettison.errors import MissingDependency


@pytest.fixture
def needy(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A runtime that is usable here, made to declare that it needs a GPU; no GPU answers."""
    monkeypatch.setitem(accelerators.KINDS, "cuda", lambda: ())  # type: ignore[arg-type]
    runtime = registry.get("runtimes", "scikit_learn")
    monkeypatch.setattr(type(runtime), "accelerator", "cuda", raising=False)
    return runtime


def test_no_driver_is_no_gpu() -> None:
    """A library that is not there shows no device, and raises nothing."""
    assert accelerators.cuda_devices("libno-such-driver.so.1") == ()


def test_a_runtime_without_its_accelerator_is_one_refusal(needy: Runtime) -> None:
    """Whatever it is called: the words of the declaration decide."""
    assert "needs an accelerator of kind `cuda`" in registry.hindrance(needy)
    with pytest.raises(MissingDependency, match=r"`scikit_learn` needs an accelerator.*nvidia-smi"):
        registry.require_packages(needy)


def test_listing_tells_it(needy: Runtime) -> None:
    """`jettison list` and `doctor` show what the machine lacks in place of what to install."""
    listed = {item.name: item.install for item in registry.describe("runtimes")}
    assert "needs an accelerator of kind `cuda`" in listed[needy.name]
    assert listed["onnx_runtime"] == ""


def test_it_is_usable_where_one_answers(needy: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that answers is all that it takes."""
    monkeypatch.setitem(accelerators.KINDS, "cuda", lambda: ("a GPU",))  # type: ignore[arg-type]
    assert registry.hindrance(needy) == ""
