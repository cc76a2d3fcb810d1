"""Reads the archives of `torch.export.save` (.pt2) without PyTorch's loader.

That loader unpickles the example inputs, and any weight that says so, and evaluates the text of
size expressions. Here the graph is read as JSON and weights as bytes; whatever would have to be
unpickled is refused, and the example inputs are never opened. The layout is that of PyTorch 2.9
to 2.13 (`torch/_export/serde/schema.py`).

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import nn

from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.torch_archive_graph import DTYPES, read_graph
from jettison.graphs.torch_lift import Exported
from jettison.graphs.torch_signature import DTYPES as TAKEN
from jettison.graphs.torch_signature import Signature
from jettison.graphs.torch_vocabulary import check_name, check_path

__all__ = ["read_archive"]

AGAIN = "export the model again with torch.export.save of a PyTorch from 2.9 on"


def read_archive(path: Path) -> tuple[Exported, Signature]:
    """Reads the one program of an archive.

    Returns:
        The flat graph with its tensors, and the signature: free dimensions bear the names that
        the graph gives them, the first one `batch`.

    Raises:
        ModelError: if it is no such archive, is damaged, holds several programs, compiled code,
            or anything that would have to be unpickled.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reading(archive, path).read()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ModelError(f"`{path}` is no archive that can be read: {error}; {AGAIN}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"`{path}` does not hold a program as PyTorch writes it "
            f"({type(error).__name__}: {str(error)[:200]}); {AGAIN}"
        ) from error


class _Reading:
    """One archive that is being read."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive = archive
        self.path = path
        self.names = archive.namelist()
        self.root = self.names[0].split("/")[0] if self.names else ""

    def read(self) -> tuple[Exported, Signature]:
        name = self._only_program()
        stored = json.loads(self._bytes(f"models/{name}.json"))
        module = stored["graph_module"]
        tensors = self._tensors("weights", name) | self._tensors("constants", name)
        weights, inputs = self._roles(module["signature"]["input_specs"])
        for spec in module["signature"]["output_specs"]:
            if set(spec) != {"user_output"}:
                raise ModelError(
                    f"the program in `{self.path}` changes its own state when it answers "
                    f"({', '.join(spec)}); export a model that answers from its inputs alone"
                )
        read = read_graph(module["graph"])
        exported = Exported(
            graph=read.graph,
            inputs=inputs,
            weights=weights,
            tensors=tensors,
            paths=read.paths,
            ranks={n: len(v["sizes"]) for n, v in module["graph"]["tensor_values"].items()},
            branches=read.branches,
        )
        return exported, _signature(module, inputs)

    def _only_program(self) -> str:
        files = [PurePosixPath(n).relative_to(self.root) for n in self.names]
        programs = [f.stem for f in files if f.parts[0] == "models" and f.suffix == ".json"]
        if any(f.parts[:2] == ("data", "aotinductor") for f in files):
            raise ModelError(f"`{self.path}` holds compiled code, which is never run here; {AGAIN}")
        if not programs and any("serialized_exported_program" in str(f) for f in files):
            raise ModelError(
                f"`{self.path}` was written by an older PyTorch, which pickles all weights; {AGAIN}"
            )
        if len(programs) != 1:
            listed = ", ".join(programs) or "none"
            raise ModelError(f"`{self.path}` must hold one program; it holds {listed}; {AGAIN}")
        return programs[0]

    def _bytes(self, name: str) -> bytes:
        return self.archive.read(f"{self.root}/{name}")

    def _tensors(self, kind: str, name: str) -> dict[str, Any]:
        listed = json.loads(self._bytes(f"data/{kind}/{name}_{kind}_config.json"))["config"]
        stored: dict[str, Any] = {}
        made: dict[str, Any] = {}
        tensors: dict[str, Any] = {}
        for tensor_name, entry in listed.items():
            check_path(tensor_name, "a weight")
            file = entry["path_name"]
            if entry["use_pickle"] or entry["tensor_meta"] is None or "/" in file:
                raise ModelError(
                    f"`{tensor_name}` in `{self.path}` is stored as a pickle (`{file}`), which "
                    "could run code and is never opened here; store plain tensors on the CPU: "
                    "`module.cpu()` before the export"
                )
            # Names that are tied share one object.
            key = json.dumps([file, entry["tensor_meta"]], sort_keys=True)
            if key not in made:
                made[key] = self._tensor(f"data/{kind}/{file}", entry, stored)
            tensors[tensor_name] = made[key]
        return tensors

    def _tensor(self, file: str, entry: Mapping[str, Any], stored: dict[str, Any]) -> Any:
        meta = entry["tensor_meta"]
        dtype = DTYPES[meta["dtype"]]
        sizes = [_fixed(size) for size in meta["sizes"]]
        if file not in stored:
            content = bytearray(self._bytes(file))
            # frombuffer takes no empty buffer.
            whole = torch.frombuffer(content, dtype=dtype) if content else torch.zeros(0)
            stored[file] = whole.to(dtype)
        strides = [_fixed(stride) for stride in meta["strides"]]
        # as_strided refuses what reaches beyond the bytes.
        tensor = torch.as_strided(stored[file], sizes, strides, _fixed(meta["storage_offset"]))
        if not entry["is_param"]:
            return tensor
        return nn.Parameter(tensor, requires_grad=tensor.is_floating_point())

    def _roles(self, specs: Any) -> tuple[dict[str, str], tuple[str, ...]]:
        weights: dict[str, str] = {}
        inputs: list[str] = []
        for spec in specs:
            ((role, content),) = spec.items()
            named = [key for key in content if key.endswith("_name")]
            if role == "user_input" and "as_tensor" in content["arg"]:
                inputs.append(check_name(content["arg"]["as_tensor"]["name"], "an input"))
            elif role in ("parameter", "buffer", "tensor_constant") and len(named) == 1:
                weights[content["arg"]["name"]] = content[named[0]]
            else:
                raise ModelError(
                    f"the program in `{self.path}` takes {role.replace('_', ' ')} "
                    f"{json.dumps(content)[:120]}; allowed are tensors only"
                )
        return weights, tuple(inputs)


def _fixed(size: Mapping[str, Any]) -> int:
    value = size["as_int"]
    if type(value) is not int or value < 0:
        raise ValueError(f"a size of a weight is {size!r}")
    return value


def _signature(module: Mapping[str, Any], inputs: tuple[str, ...]) -> Signature:
    values = module["graph"]["tensor_values"]
    names: dict[str, str] = {}
    specs = []
    for name in inputs:
        shape = tuple(_size(size, place, names) for place, size in enumerate(values[name]["sizes"]))
        dtype = str(DTYPES[values[name]["dtype"]]).removeprefix("torch.")
        if dtype not in TAKEN:
            raise ModelError(
                f"the program takes the input `{name}` as {dtype}, of which NumPy has no arrays; "
                f"allowed: {', '.join(TAKEN)}: export a module that takes one of these, and casts it"
            )
        specs.append(TensorSpec(name, dtype, shape))
    count = len(module["graph"]["outputs"])
    return Signature(tuple(specs), _output_names(module, count))


def _size(size: Mapping[str, Any], place: int, names: dict[str, str]) -> int | str:
    if "as_int" in size:
        return _fixed(size)
    symbol = size["as_expr"]["expr_str"]
    first = place == 0 and "batch" not in names.values()
    return names.setdefault(symbol, "batch" if first else f"size_{len(names)}")


def _output_names(module: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Keys of a dict, as the archive describes the answer; otherwise numbers."""
    top = next(m for m in module["module_call_graph"] if m["fqn"] == "")
    spec = json.loads(top["signature"]["out_spec"])[1]
    if spec["type"] == "builtins.dict" and len(spec["children_spec"]) == count:
        keys = json.loads(spec["context"])
        if all(isinstance(key, str) and key.isidentifier() for key in keys):
            return tuple(keys)
    return ("output",) if count == 1 else tuple(f"output_{i}" for i in range(count))
