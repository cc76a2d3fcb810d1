"""The loader `pytorch`: a function that gives a module, an exported program, or a live one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Source
from jettison.domain.function_source import ENDING, split_function
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.errors import ModelError
from jettison.graphs.tokenizer_files import text_encoder
from jettison.graphs.torch_signature import parse_inputs

if TYPE_CHECKING:
    from jettison.graphs.torch_signature import Signature

ARCHIVE = ".pt2"
WEIGHTS_ONLY = frozenset({".pt", ".pth", ".safetensors", ".ckpt", ".bin"})
SEPARATOR = "\n"
"""Between inputs in the option `inputs`; options are plain values."""


class PytorchLoader:
    """Exports a PyTorch module with `torch.export` and keeps it as data.

    A function that the user names (`package.module:function`, `file.py:function`) is run; a file
    never is: weights are tensors, and a .pt2 is read without PyTorch's loader, which unpickles.
    """

    name: ClassVar[str] = "pytorch"
    options: ClassVar[frozenset[str]] = frozenset({"weights", "inputs", "prediction"})

    def claims(self, source: Source) -> bool:
        """Claims live modules, functions, .pt2 files, and files that need a function beside."""
        if source.live is not None:
            return _is_program(source.live) or any(
                c.__name__ == "Module" and c.__module__ == "torch.nn.modules.module"
                for c in type(source.live).__mro__
            )
        path = Path(source.location)
        alone = path.is_file() and path.suffix.lower() in {ARCHIVE, ENDING, *WEIGHTS_ONLY}
        return alone or (not path.exists() and split_function(source.location) is not None)

    def load(self, source: Source, folder: Path) -> Model:
        """Exports and describes a module.

        Options: `weights` (a file for the module of a function), `inputs` (one a line, as
        `image: float32[batch, 3, 32, 32]`), `trust_pickle` (weights from a .pt or .pth file),
        `max_length` (with a tokenizer.json beside the weights).

        Raises:
            ModelError: for weights that don't fit, inputs that are not stated, a module that
                torch.export can't express, and archives that would have to be unpickled.
        """
        program, beside = self._program(source)
        from jettison.graphs.torch_describe import (
            described_outputs,
            prediction_of,
            task_of,
            traits_of,
        )
        from jettison.graphs.torch_program import save_program

        signature: Signature = program.meta["signature"]
        outputs = described_outputs(program, signature)
        prediction = prediction_of(outputs, str(source.options.get("prediction", "")))
        task = task_of(prediction, source.task)
        home = folder / "model"
        artifact = Artifact.of("torch_program", home, save_program(program, home))
        fixed = isinstance(signature.inputs[0].shape[0], int)
        return Model(
            artifact=artifact,
            traits=traits_of(program) | ({"fixed-batch"} if fixed else set()),
            inputs=signature.inputs,
            outputs=outputs,
            prediction=prediction.name,
            task=task,
            encoder=_encoder(source, folder, signature.inputs, _labels(beside, prediction, task)),
        )

    def _program(self, source: Source) -> tuple[Any, Path | None]:
        """The program, and the file beside which class names may lie."""
        weights = str(source.options.get("weights", ""))
        path = Path(source.location)
        if source.live is not None:
            _refuse_weights(weights, "a live module has weights already")
            if _is_program(source.live):
                return _exported(source), None
            return _captured(source.live, source, "the live module"), None
        if path.suffix.lower() == ARCHIVE:
            _refuse_weights(weights, "a .pt2 file holds its weights")
            return _archived(path, source), path
        function = split_function(source.location)
        if function is None:
            raise ModelError(_needs_function(path))
        from jettison.graphs.torch_source import call_function, load_weights, read_weights

        module = call_function(*function)
        if weights:
            trust = source.options.get("trust_pickle") is True
            load_weights(module, read_weights(Path(weights), trust_pickle=trust), weights)
        return _captured(module, source, f"`{source.location}`"), Path(weights or function[0])


def _is_program(live: Any) -> bool:
    kind = type(live)
    return kind.__name__ == "ExportedProgram" and kind.__module__.startswith("torch.export")


def _exported(source: Source) -> Any:
    """A program of this process, through the archive that PyTorch writes: read as data."""
    import torch

    with tempfile.TemporaryDirectory(prefix="jettison-program-") as folder:
        path = Path(folder) / "the live program.pt2"
        torch.export.save(source.live, path)
        try:
            return _archived(path, source)
        except ModelError as error:
            # The file is ours and is gone by the time that somebody reads this.
            shown = str(error).replace(f"`{path}`", "the live program")
            raise ModelError(shown) from error


def _needs_function(path: Path) -> str:
    if path.suffix.lower() == ENDING:
        return f"`{path}` is a Python file: name the function that gives the module, `{path}:name`"
    return (
        f"`{path}` holds weights without the model that they belong to: give the function that "
        f'makes the module as `source` ("net.py:make") and this file as `weights`'
    )


def _refuse_weights(weights: str, reason: str) -> None:
    if weights:
        raise ModelError(f"`weights` in `model` is `{weights}`, but {reason}; leave it out")


def _captured(module: Any, source: Source, shown: str) -> Any:
    from jettison.graphs.torch_capture import capture
    from jettison.graphs.torch_source import takes

    stated = str(source.options.get("inputs", ""))
    if not stated:
        names = takes(module) or ("input",)
        example = ", ".join(f'"{name}: float32[batch, ...]"' for name in names)
        raise ModelError(
            f"the inputs of {shown} are not stated; its `forward` takes "
            f"{', '.join(f'`{name}`' for name in names)}: write `model.inputs = [{example}]` with "
            "the sizes of one row (--model-input)"
        )
    return capture(module, parse_inputs(stated.split(SEPARATOR)))


def _archived(path: Path, source: Source) -> Any:
    from jettison.graphs.torch_archive import read_archive
    from jettison.graphs.torch_lift import lift

    exported, signature = read_archive(path)
    if source.options.get("inputs"):
        raise ModelError(f"`{path}` says itself what its inputs are; leave `model.inputs` out")
    for spec in signature.inputs:
        if not spec.shape or (isinstance(spec.shape[0], int) and spec.shape[0] != 1):
            raise ModelError(
                f"input `{spec.name}` of `{path}` has shape {list(spec.shape)}: export the model "
                "again with a free first dimension: dynamic_shapes={"
                f'"{spec.name}": {{0: torch.export.Dim.DYNAMIC}}}}'
            )
    return lift(exported, signature)


def _encoder(
    source: Source, folder: Path, inputs: tuple[TensorSpec, ...], labels: tuple[str, ...]
) -> Encoder:
    weights = str(source.options.get("weights", ""))
    function = split_function(source.location)
    near = weights or (function[0] if function else source.location)
    if source.live is None:
        length = int(source.options.get("max_length", 0))
        text = text_encoder(Path(near).parent, folder / "encoder", inputs, length, labels)
        if text is not None:
            return text
    return Encoder.of("arrays", {}, labels=labels)


def _labels(beside: Path | None, prediction: TensorSpec, task: str) -> tuple[str, ...]:
    """Class names from `<name>.labels.json` beside the weights or the archive."""
    file = beside.with_suffix(".labels.json") if beside is not None else None
    if task != "classification" or file is None or not file.is_file():
        return ()
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"`{file}` can't be read as JSON: {error}; write a list of names") from (
            error
        )
    width = prediction.shape[1] if len(prediction.shape) == 2 else None
    texts = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not texts or len(set(names)) != len(names) or (width is not None and len(names) != width):
        raise ModelError(
            f"`{file}` must be a list of {width or 'the'} different class names, in the order of "
            "the scores"
        )
    return tuple(names)
