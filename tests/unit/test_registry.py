"""The registry: lazy, strict about names, helpful about what is missing."""

from __future__ import annotations

from importlib import metadata

import pytest

from jettison import registry
from jettison.errors import DuplicateName, MissingDependency, UnknownName


def test_an_unknown_name_suggests_the_nearest() -> None:
    """A misspelt technique is answered with the name that was meant."""
    with pytest.raises(UnknownName, match=r"did you mean `int8_static`") as caught:
        registry.get("techniques", "int8_statik")
    assert "registered:" in str(caught.value)


def test_one_name_from_two_packages_is_an_error_that_names_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two different objects under one name are refused, with both packages in the message."""
    mine = next(e for e in metadata.entry_points(group="jettison.techniques"))
    other = metadata.EntryPoint(mine.name, "elsewhere.module:Other", mine.group)
    monkeypatch.setattr(metadata, "entry_points", lambda group: (mine, other))
    registry._entries.cache_clear()
    try:
        with pytest.raises(DuplicateName, match=r"elsewhere\.module:Other"):
            registry.names("techniques")
    finally:
        monkeypatch.undo()
        registry._entries.cache_clear()


def test_a_missing_package_names_the_extra_to_install() -> None:
    """A plug-in whose package is absent says which extra of jettison brings it."""
    error = registry.missing(ModuleNotFoundError(name="skl2onnx.common"), "techniques `x`")
    assert isinstance(error, MissingDependency)
    assert "pip install 'jettison[sklearn]'" in str(error)


def test_extras_that_are_named_exist() -> None:
    """What is told to be installed can be: Torch-Pruning comes with the extra `pruning`."""
    told = str(registry.missing(ModuleNotFoundError(name="torch_pruning"), "technique `x`"))
    assert "pip install 'jettison[pruning]'" in told
    extras = set(metadata.metadata("jettison").get_all("Provides-Extra") or ())
    assert set(registry.EXTRA_OF.values()) <= extras


def test_every_family_of_ours_is_registered() -> None:
    """The built-ins come through the same entry points as everyone's."""
    assert {"int8_static", "int8_dynamic", "half_precision"} <= set(registry.names("techniques"))
    assert registry.packages("runtimes")["onnx_runtime"] == "jettison"
