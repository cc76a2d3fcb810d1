"""Files that try to run code, reach files or break memory when a program is opened."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from jettison.errors import ModelError  # noqa: E402
from jettison.graphs.torch_archive import read_archive  # noqa: E402
from jettison.graphs.torch_capture import capture  # noqa: E402
from jettison.graphs.torch_lift import lift  # noqa: E402
from jettison.graphs.torch_program import open_program, save_program  # noqa: E402
from jettison.graphs.torch_signature import parse_inputs  # noqa: E402
from jettison.graphs.torch_source import read_weights  # noqa: E402
from tests.unit.graphs import torch_models as models  # noqa: E402

Change = Callable[[dict[str, Any]], None]


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    save_program(capture(models.Tied(), parse_inputs(models.TOKENS)), folder)
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `torch.export.save` writes."""
    module = models.Conv().eval()
    exported = torch.export.export(
        module,
        (torch.randn(2, 3, 32, 32),),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        strict=False,
    )
    path = tmp_path_factory.mktemp("archive") / "conv.pt2"
    torch.export.save(exported, path)
    return path


def changed(program: Path, folder: Path, change: Change) -> Path:
    """A copy of a program with its JSON changed."""
    stored = json.loads((program / "program.json").read_text())
    change(stored)
    (folder / "program.json").write_text(json.dumps(stored))
    (folder / "weights.safetensors").write_bytes((program / "weights.safetensors").read_bytes())
    return folder


def rewritten(archive: Path, target: Path, replaced: dict[str, bytes | Change]) -> Path:
    """A copy of an archive with some of its records replaced, or their JSON changed."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            short = name.partition("/")[2]
            change = replaced.pop(short, None)
            if callable(change):
                stored = json.loads(content)
                change(stored)
                content = json.dumps(stored).encode()
            elif change is not None:
                content = change
            new.writestr(name, content)
        root = old.namelist()[0].split("/")[0]
        for short, extra in replaced.items():
            assert isinstance(extra, bytes)
            new.writestr(f"{root}/{short}", extra)
    return target


def first_call(stored: dict[str, Any]) -> list[Any]:
    return next(node for node in stored["nodes"] if node[1] == "call")


PROGRAM_ATTACKS: dict[str, Change] = {
    "code in a name": lambda s: s["nodes"][0].__setitem__(0, "x = __import__('os')"),
    "code in an input": lambda s: s["inputs"][0].__setitem__(0, "ids, y=print(1)"),
    "code in a path": lambda s: next(n for n in s["nodes"] if n[1] == "tensor").__setitem__(
        2, 'a", "b"); print(1); ("'
    ),
    "code in a layer's path": lambda s: s["layers"].__setitem__('x"]', s["layers"].pop("norm")),
    "code in a text": lambda s: first_call(s)[3].append({"text": "a'); print(1); ('"}),
    "a keyword as a name": lambda s: s["nodes"][0].__setitem__(0, "import"),
    "a function of Python": lambda s: first_call(s).__setitem__(2, "os.system"),
    "an operator that opens files": lambda s: first_call(s).__setitem__(
        2, "aten.from_file.default"
    ),
    "an operator of another library": lambda s: first_call(s).__setitem__(
        2, "quantized.add.default"
    ),
    "an attribute of an operator": lambda s: first_call(s).__setitem__(2, "aten.relu.__class__"),
    "a class of another module": lambda s: s["layers"]["norm"].__setitem__("kind", "Module"),
    "settings of another layer": lambda s: s["layers"]["norm"].__setitem__("device", "cuda"),
    "a layer that is too large": lambda s: s["layers"]["norm"].__setitem__(
        "normalized_shape", [1 << 40]
    ),
    "a node that is not there": lambda s: first_call(s)[3].append({"node": "nobody"}),
    "a value of another kind": lambda s: first_call(s)[3].append({"code": "print(1)"}),
    "a dtype that is none": lambda s: first_call(s)[3].append({"dtype": "load"}),
    "a tensor that is not there": lambda s: s["nodes"].append(["more", "tensor", "nothing"]),
    "another version": lambda s: s.__setitem__("version", 2),
    "a list for a table": lambda s: s.__setitem__("layers", []),
    "too few words": lambda s: s["nodes"].append(["more"]),
}


@pytest.mark.parametrize("attack", sorted(PROGRAM_ATTACKS))
def test_changed_programs_are_refused(attack: str, program: Path, tmp_path: Path) -> None:
    """Whatever is no plain word of the format is refused before anything of it is used."""
    with pytest.raises(ModelError):
        open_program(changed(program, tmp_path, PROGRAM_ATTACKS[attack]))


def test_weights_of_another_model(program: Path, tmp_path: Path) -> None:
    """Weights that lack a tensor, or hold it in another shape, are refused with its name."""
    from safetensors.torch import load_file, save_file

    changed(program, tmp_path, lambda stored: None)
    weights = load_file(str(program / "weights.safetensors"))
    for value in (None, torch.zeros(3)):
        other = {k: v for k, v in weights.items() if k != "norm.bias"}
        other |= {} if value is None else {"norm.bias": value}
        save_file(other, str(tmp_path / "weights.safetensors"))
        with pytest.raises(ModelError, match=r"norm\.bias"):
            open_program(tmp_path)


def test_files_that_are_no_program(tmp_path: Path) -> None:
    """Missing, empty and binary files are refused."""
    with pytest.raises(ModelError, match="can't be read"):
        open_program(tmp_path)
    (tmp_path / "program.json").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="can't be read"):
        open_program(tmp_path)


def test_example_inputs_are_never_opened(archive: Path, tmp_path: Path) -> None:
    """A pickle in the place of the example inputs is neither run nor missed."""
    target = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save(Payload(target), buffer)
    bad = rewritten(
        archive, tmp_path / "bad.pt2", {"data/sample_inputs/model.pt": buffer.getvalue()}
    )
    exported, signature = read_archive(bad)
    assert lift(exported, signature)(image=torch.randn(2, 3, 32, 32)).shape == (2, 4)
    assert not target.exists()


def test_pickled_weights_are_refused(archive: Path, tmp_path: Path) -> None:
    """An archive that says that a weight is a pickle is refused, and the pickle not run."""
    target = tmp_path / "ran"

    def pickled(stored: dict[str, Any]) -> None:
        stored["config"]["conv.weight"]["use_pickle"] = True

    bad = rewritten(
        archive,
        tmp_path / "bad.pt2",
        {
            "data/weights/model_weights_config.json": pickled,
            "data/weights/weight_0": pickle.dumps(Payload(target)),
        },
    )
    with pytest.raises(ModelError, match="pickle"):
        read_archive(bad)
    assert not target.exists()


def test_size_expressions_are_never_evaluated(archive: Path, tmp_path: Path) -> None:
    """Code in the place of a size is a name like any other, and is not run."""
    target = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(target)!r}).touch()"

    def with_code(stored: dict[str, Any]) -> None:
        values = stored["graph_module"]["graph"]["tensor_values"]
        values["image"]["sizes"][0]["as_expr"]["expr_str"] = code
        stored["guards_code"] = [code]

    bad = rewritten(archive, tmp_path / "bad.pt2", {"models/model.json": with_code})
    _, signature = read_archive(bad)
    assert signature.inputs[0].shape == ("batch", 3, 32, 32)
    assert not target.exists()


def calls(stored: dict[str, Any]) -> list[Any]:
    nodes: list[Any] = stored["graph_module"]["graph"]["nodes"]
    return nodes


ARCHIVE_ATTACKS: dict[str, Change] = {
    "a function of Python": lambda s: calls(s)[0].__setitem__("target", "os.system"),
    "a region with a branch": lambda s: calls(s)[0].__setitem__(
        "target", "torch.ops.higher_order.cond"
    ),
    "an operator that opens files": lambda s: calls(s)[0].__setitem__(
        "target", "torch.ops.aten.from_file.default"
    ),
    "code in a name": lambda s: calls(s)[1]["outputs"][0]["as_tensor"].__setitem__(
        "name", "x=print(1)"
    ),
    "an object": lambda s: calls(s)[0]["inputs"][0].__setitem__(
        "arg", {"as_custom_obj": {"name": "x", "class_fqn": "y"}}
    ),
    "no graph": lambda s: s.pop("graph_module"),
    "state that changes": lambda s: s["graph_module"]["signature"]["output_specs"].append(
        {"buffer_mutation": {}}
    ),
}


@pytest.mark.parametrize("attack", sorted(ARCHIVE_ATTACKS))
def test_changed_archives_are_refused(attack: str, archive: Path, tmp_path: Path) -> None:
    """Operators, names and values that are not allowed are refused in archives too."""
    bad = rewritten(archive, tmp_path / "bad.pt2", {"models/model.json": ARCHIVE_ATTACKS[attack]})
    with pytest.raises(ModelError):
        lift(*read_archive(bad))


def test_weights_beyond_their_bytes(archive: Path, tmp_path: Path) -> None:
    """A weight whose size or stride reaches beyond its bytes is refused."""

    def larger(stored: dict[str, Any]) -> None:
        stored["config"]["head.weight"]["tensor_meta"]["strides"] = [{"as_int": 1000}] * 2

    bad = rewritten(
        archive, tmp_path / "bad.pt2", {"data/weights/model_weights_config.json": larger}
    )
    with pytest.raises(ModelError, match="does not hold a program"):
        read_archive(bad)


def test_compiled_code_is_refused(archive: Path, tmp_path: Path) -> None:
    """An archive with a shared library is refused."""
    bad = rewritten(archive, tmp_path / "bad.pt2", {"data/aotinductor/model/code.so": b"\x7fELF"})
    with pytest.raises(ModelError, match="compiled code"):
        read_archive(bad)


def test_archives_that_are_none(tmp_path: Path) -> None:
    """A pickle, an empty file and a zip of something else are refused."""
    for content in (b"", pickle.dumps([1, 2])):
        (tmp_path / "bad.pt2").write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.pt2"):
            read_archive(tmp_path / "bad.pt2")
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as other:
        other.writestr("a/b.txt", "hello")
    with pytest.raises(ModelError, match="must hold one program"):
        read_archive(tmp_path / "other.pt2")


def test_pickled_checkpoints(tmp_path: Path) -> None:
    """A checkpoint that is a pickle needs leave, and even then holds tensors only."""
    target, path = tmp_path / "ran", tmp_path / "net.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}}, path)
    with pytest.raises(ModelError, match="trust_pickle"):
        read_weights(path, trust_pickle=False)
    assert read_weights(path, trust_pickle=True)["w"].tolist() == [1.0, 1.0]
    torch.save({"state_dict": Payload(target)}, path)
    with pytest.raises(ModelError, match="weights_only"):
        read_weights(path, trust_pickle=True)
    assert not target.exists()
