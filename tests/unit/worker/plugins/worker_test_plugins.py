"""Plug-ins that misbehave in one way each."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from typing import Any, ClassVar

from jettison.domain.extension_points import Applied
from jettison.domain.recipe import Change, Potential
from jettison.errors import CandidateFailed
from jettison.runtimes.onnx_runtime import OnnxRuntime


class Noisy:
    """Runs ONNX files, and prints to standard output in every way there is."""

    name: ClassVar[str] = "noisy"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx"})
    home: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def search_space(self, model: Any, profile: Any) -> dict[str, Any]:
        return {}

    def prepare(self, model: Any, native: Any, settings: Any, serving: Any) -> Any:
        print('{"answer": {}}')
        sys.stdout.flush()
        os.write(1, b"raw bytes on descriptor 1\n")
        subprocess.run(["/bin/echo", "from a child process"], check=True)
        return OnnxRuntime().prepare(model, native, {}, serving)


class Edit:
    """A technique that scales or copies the weights of the last layer."""

    requires: ClassVar[frozenset[str]] = frozenset({"onnx"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx",)
    factor: ClassVar[float] = 2.0
    operators: ClassVar[int] = 1

    def search_space(self, model: Any, profile: Any) -> dict[str, Any]:
        return {}

    def potential(self, model: Any, profile: Any) -> Potential:
        return Potential(1.0, 1.0, "none")

    def apply(self, model: Any, settings: Any, fitting: Any, bench: Any) -> Applied:
        import onnx
        from onnx import numpy_helper

        proto = onnx.load(bench.open(model))
        for tensor in proto.graph.initializer:
            if tensor.name == "w2":
                values = numpy_helper.to_array(tensor) * self.factor
                tensor.CopyFrom(numpy_helper.from_array(values.astype("float32"), "w2"))
        proto.doc_string = f"edited by {type(self).__name__}"
        saved = bench.save(proto, "onnx_file", like=model)
        return Applied(saved, (Change("scaled the last layer", operators=self.operators),))


class Forgetful(Edit):
    """Declares a trait that it does not set."""

    name: ClassVar[str] = "forgetful"
    adds: ClassVar[frozenset[str]] = frozenset({"int8"})


class Idle(Edit):
    """Saves other bytes, and says itself that it changed nothing."""

    name: ClassVar[str] = "idle"
    operators: ClassVar[int] = 0


class WrongConversion(Edit):
    """A conversion that changes the answers."""

    name: ClassVar[str] = "wrong_conversion"
    conversion: ClassVar[bool] = True
    factor: ClassVar[float] = -1.0


class FaithfulConversion(Edit):
    """A conversion that keeps the answers."""

    name: ClassVar[str] = "faithful_conversion"
    conversion: ClassVar[bool] = True
    factor: ClassVar[float] = 1.0

    def apply(self, model: Any, settings: Any, fitting: Any, bench: Any) -> Applied:
        applied = super().apply(model, settings, fitting, bench)
        return dataclasses.replace(applied, changes=())


class Crashing(Edit):
    """Ends the process as native code does."""

    name: ClassVar[str] = "crashing"

    def apply(self, model: Any, settings: Any, fitting: Any, bench: Any) -> Applied:
        print("about to end", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError


class Raising(Edit):
    """Fails as the setting asks."""

    name: ClassVar[str] = "raising"

    def apply(self, model: Any, settings: Any, fitting: Any, bench: Any) -> Applied:
        if settings["how"] == "ours":
            raise CandidateFailed("this model has no last layer")
        raise KeyError("w3")
