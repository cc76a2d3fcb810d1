"""What is to be served, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jettison.domain import accelerators
from jettison.errors import ConfigError
from jettison.serving.sources import (
    Beside,
    ServedSource,
    computes_on_gpu,
    key_from_file,
    parse_sources,
)


def test_a_lone_folder_is_named_by_its_folder_or_by_name(tmp_path: Path) -> None:
    """`release/` is called `release`, unless `--name` says otherwise."""
    folder = str(tmp_path / "release")
    assert parse_sources([folder], "", Beside())[0].name == "release"
    assert parse_sources([folder], "sentiment", Beside())[0].name == "sentiment"


def test_several_bundles_with_names() -> None:
    """`NAME=FOLDER` names each."""
    one, two = parse_sources(["a=first", "b=second/release"], "", Beside())
    assert (one.name, one.folder) == ("a", Path("first"))
    assert (two.name, two.folder) == ("b", Path("second/release"))


def test_a_path_with_an_equals_sign(tmp_path: Path) -> None:
    """A folder that exists as it was typed has no name in it."""
    folder = tmp_path / "lr=0.1"
    folder.mkdir()
    told = parse_sources([str(folder)], "m", Beside())
    assert told[0].folder == folder


def test_what_goes_beside() -> None:
    """Canary, shadow and original belong to the model that they name, or to the only one."""
    beside = Beside(("a=next:0.1",), (), ("b=b.onnx",))
    one, two = parse_sources(["a=first", "b=second"], "", beside)
    assert (one.canary, one.canary_weight, one.original) == ("next", 0.1, "")
    assert (two.canary, two.canary_weight, two.original) == ("", 0.0, "b.onnx")
    (only,) = parse_sources(["a=first"], "", Beside(("next:0.25",), ("other",)))
    assert (only.canary, only.canary_weight, only.shadow) == ("next", 0.25, "other")


@pytest.mark.parametrize(
    ("given", "name", "beside", "word"),
    [
        (["a=x", "a=y"], "", Beside(), "two bundles are called `a`"),
        (["a=x", "b=y"], "m", Beside(), "--name is for one bundle"),
        (["a b=x"], "", Beside(), "can't be a model's name"),
        (["../=x"], "", Beside(), "can't be a model's name"),
        (["a=x", "b=y"], "", Beside(("z:0.1",)), "say for which model"),
        (["a=x"], "", Beside(("c=z:0.1",)), "say for which model"),
        (["a=x"], "", Beside(("z",)), "share above 0"),
        (["a=x"], "", Beside(("z:1.0",)), "share above 0"),
        (["a=x"], "", Beside(("z:much",)), "share above 0"),
        (["a=x"], "", Beside((), ("s", "t")), "given twice"),
        (["a=x"], "", Beside((), ("s",), ("o",)), "one of them is enough"),
    ],
)
def test_mistakes(given: list[str], name: str, beside: Beside, word: str) -> None:
    """Each mistake is named."""
    with pytest.raises(ConfigError, match=word.replace("(", r"\(")):
        parse_sources(given, name, beside)


def test_the_key_file(tmp_path: Path) -> None:
    """A key is one long word; blank space around it doesn't count."""
    path = tmp_path / "key"
    path.write_text("0123456789abcdef0123\n")
    assert key_from_file(path) == "0123456789abcdef0123"
    for wrong in ("short", "", "two words that are long enough", "ключ-который-достаточно-длинный"):
        path.write_text(wrong)
        with pytest.raises(ConfigError, match="openssl rand"):
            key_from_file(path)
    with pytest.raises(ConfigError, match="can't be read"):
        key_from_file(tmp_path / "absent")


def test_what_computes_on_a_gpu_is_read_from_the_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One canary on a GPU is enough; a folder that can't be read does not count."""
    monkeypatch.setitem(accelerators.KINDS, "cuda", lambda: ("A GPU",))
    for name, runtime in (("here", "torch_eager"), ("there", "torch_cuda"), ("odd", "absent")):
        (tmp_path / name).mkdir()
        text = json.dumps({"runtime": {"name": runtime, "settings": {}}})
        (tmp_path / name / "model.json").write_text(text)
    plain = [ServedSource(name, tmp_path / name) for name in ("here", "odd", "nowhere")]
    assert not computes_on_gpu(plain)
    assert computes_on_gpu([*plain, ServedSource("there", tmp_path / "there")])
    tried = ServedSource("here", tmp_path / "here", canary=str(tmp_path / "there"))
    assert computes_on_gpu([tried])
