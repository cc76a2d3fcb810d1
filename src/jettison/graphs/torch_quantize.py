"""PyTorch's own 8-bit layers: static ones by FX graph mode, and dynamic linear layers.

`torch.ao.quantization` is deprecated in favour of torchao, which has no layers that run 8-bit
products without compiling; its warnings are kept quiet here, in one place.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from jettison.errors import CandidateFailed
from jettison.graphs.torch_capture import first_line, made_up
from jettison.graphs.torch_packing import TOP, Packed

__all__ = [
    "ENGINES",
    "LAYERS",
    "Watched",
    "as_dynamic",
    "as_static",
    "fold_norms",
    "plain_layers",
    "quantized_layers",
]

ENGINES = ("x86", "onednn")
"""Libraries of 8-bit kernels for this family of CPUs; `x86` picks one for each operator."""

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

PYTHON_NAMES: Mapping[str, Any] = {
    "aten.relu.default": nn.functional.relu,
    "aten.relu_.default": nn.functional.relu,
    "aten.hardtanh.default": nn.functional.hardtanh,
    "aten.hardswish.default": nn.functional.hardswish,
    "aten.adaptive_avg_pool2d.default": nn.functional.adaptive_avg_pool2d,
    "aten.avg_pool2d.default": nn.functional.avg_pool2d,
    "aten.max_pool2d.default": nn.functional.max_pool2d,
    "aten.add.Tensor": operator.add,
    "aten.mul.Tensor": operator.mul,
    "aten.cat.default": torch.cat,
    "aten.flatten.using_ints": torch.flatten,
    "aten.sigmoid.default": torch.sigmoid,
}
"""FX mode merges operators by their Python names, and a program calls them by those of aten."""


class Watched:
    """A program with an observer at every activation that will be rounded.

    Args:
        program: an opened program with norms folded; it is left as it is.
        facts: `engine`, `reduce_range`, `calibrator` (`histogram` or `minmax`) and `spared`
            (layers that stay in float).
    """

    def __init__(self, program: Any, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        example = tuple(made_up(program.meta["signature"].inputs, 2).values())
        self.module = _prepared(program, facts, example)

    def ranges(self) -> dict[str, list[float]]:
        """Observer -> scale and zero point, after rows were run through `module`.

        Raises:
            CandidateFailed: if an activation was never seen, or is not finite.
        """
        found = {}
        with _quiet():
            for name, observer in _observers(self.module).items():
                scale, zero = observer.calculate_qparams()
                value = float(scale.reshape(-1)[0])
                low = getattr(observer, "min_val", torch.zeros(()))
                if not low.numel() or not bool(torch.isfinite(low).all()) or value != value:
                    raise CandidateFailed(
                        "an activation of the model was NaN, infinite or empty on the fitting rows, "
                        "so its range can't be found; look at these rows"
                    )
                found[name] = [value, int(zero.reshape(-1)[0])]
        return found


def as_static(program: Any, packed: Mapping[str, Packed], facts: Mapping[str, Any]) -> Any:
    """Makes a module of static 8-bit layers with ranges that were found before.

    Args:
        program: with norms folded, and the weights that the integers stand for.
        packed: not read: the library rounds the weights again, to the same integers.
        facts: as for `Watched`, and `ranges`.

    Raises:
        ValueError: if the ranges are not those of this program.
    """
    from torch.ao.quantization import FixedQParamsObserver
    from torch.ao.quantization.quantize_fx import convert_fx

    torch.backends.quantized.engine = facts["engine"]
    module = Watched(program, facts).module
    ranges = facts["ranges"]
    if set(_observers(module)) != set(ranges):
        raise ValueError("the program has other activations than those whose ranges are stored")
    top = _activations_top(facts)
    for name, (scale, zero) in ranges.items():
        fixed = FixedQParamsObserver(float(scale), int(zero), torch.quint8, quant_max=top)
        setattr(module, name, fixed)
    with _quiet():
        made = convert_fx(module)
    made.eval()
    return made


def as_dynamic(program: Any, packed: Mapping[str, Packed], facts: Mapping[str, Any]) -> Any:
    """Makes a module whose packed linear layers compute in 8 bits, with ranges of each call.

    Args:
        program: with the weights that the integers stand for.
        packed: layer -> weight.
        facts: `engine`.
    """
    from torch.ao.quantization import QConfig, quantize_dynamic
    from torch.ao.quantization.qconfig import default_dynamic_quant_observer

    torch.backends.quantized.engine = facts["engine"]
    wanted = QConfig(activation=default_dynamic_quant_observer, weight=_weights())
    with _quiet():
        return quantize_dynamic(program, dict.fromkeys(packed, wanted), inplace=True)


def quantized_layers(module: Any) -> int:
    """How many layers of a module compute in 8 bits."""
    kinds = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
    found = (part for part in module.modules() if type(part).__module__.startswith(kinds))
    return sum(
        type(part).__name__.startswith(("Conv", "Linear")) and not _inner(part) for part in found
    )


def _inner(part: Any) -> bool:
    return type(part).__name__.endswith("PackedParams")


def plain_layers(program: Any, kinds: Collection[type[Any]] = LAYERS) -> dict[str, Any]:
    """The layers of some kinds that a program calls and whose weight nothing else reads."""
    shared: dict[int, int] = {}
    for _, tensor in program.named_parameters(remove_duplicate=False):
        shared[id(tensor)] = shared.get(id(tensor), 0) + 1
    called = {node.target for node in program.graph.nodes if node.op == "call_module"}
    fetched = _fetched(program)
    return {
        name: layer
        for name, layer in program.named_modules()
        if type(layer) in kinds
        and name in called - fetched
        and shared[id(layer.weight)] == 1
        and not isinstance(getattr(layer, "padding", None), str)
    }


def _fetched(program: Any) -> set[str]:
    """Layers of which the program reads a tensor itself."""
    return {n.target.rpartition(".")[0] for n in program.graph.nodes if n.op == "get_attr"}


def fold_norms(program: Any) -> int:
    """Folds each BatchNorm that alone follows a convolution into it; gives their number."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for layer in program.modules():
        _count_padding(layer)
    pairs = list(_normed(program))
    fetched = _fetched(program)
    calls = Counter(node.target for node in program.graph.nodes if node.op == "call_module")
    alike = Counter((before.target, node.target) for before, node in pairs)
    fused: dict[tuple[str, str], str] = {}
    for before, node in pairs:
        key = (before.target, node.target)
        if key not in fused:
            made = fuse_conv_bn_eval(*(program.get_submodule(name) for name in key))
            # A convolution that is called or read elsewhere too stays as it is there.
            mine = calls[key[0]] == alike[key] and key[0] not in fetched
            fused[key] = key[0] if mine else f"{key[0]}_with_{key[1].replace('.', '_')}"
            program.add_submodule(fused[key], made)
        before.target = fused[key]
        node.replace_all_uses_with(before)
        program.graph.erase_node(node)
    program.delete_all_unused_submodules()
    program.recompile()
    return len(pairs)


def _normed(program: Any) -> Iterator[tuple[Any, Any]]:
    """Calls of convolutions, and the norm that alone follows each."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for node in program.graph.nodes:
        before: Any = node.args[0] if node.op == "call_module" and node.args else None
        if getattr(before, "op", "") != "call_module" or len(before.users) != 1:
            continue
        norm, convolution = (program.get_submodule(n.target) for n in (node, before))
        if type(norm) in kinds and type(convolution) in LAYERS[:3]:
            yield before, node


def _count_padding(layer: Any) -> None:
    """Writes `padding="same"` as numbers where both sides get as much: 8-bit kernels need that."""
    padding = getattr(layer, "padding", None)
    if type(layer) not in LAYERS[:3] or not isinstance(padding, str):
        return
    wide = [d * (k - 1) * (padding == "same") for k, d in zip(layer.kernel_size, layer.dilation)]
    if all(size % 2 == 0 for size in wide):
        layer.padding = tuple(size // 2 for size in wide)


def _prepared(program: Any, facts: Mapping[str, Any], example: tuple[Any, ...]) -> Any:
    from torch.ao.quantization import (
        HistogramObserver,
        MinMaxObserver,
        QConfig,
        QConfigMapping,
    )
    from torch.ao.quantization.quantize_fx import prepare_fx

    watch = {"histogram": HistogramObserver, "minmax": MinMaxObserver}[facts["calibrator"]]
    activations = watch.with_args(
        dtype=torch.quint8, quant_min=0, quant_max=_activations_top(facts)
    )
    rounded = QConfig(activation=activations, weight=_weights())
    layers = plain_layers(program)
    # Between linear layers, sums in 8 bits cost a transformer much quality and gain no time.
    routed = any(type(layer) is not nn.Linear for layer in layers.values())
    mapping = QConfigMapping()
    for kind in (*LAYERS, nn.ReLU, *(PYTHON_NAMES.values() if routed else ())):
        mapping.set_object_type(kind, rounded)
    shared = {n for n, m in program.named_modules() if type(m) in LAYERS} - set(layers)
    for name in (*facts["spared"], *sorted(shared)):
        mapping.set_module_name(name, None)
    with _quiet(), torch.no_grad():
        try:
            program = _by_python_names(program) if routed else program
            return prepare_fx(program, mapping, example)
        except Exception as error:
            raise CandidateFailed(
                f"FX graph mode can't follow this program ({type(error).__name__}): "
                f"{first_line(error)[:300]}"
            ) from error


def _by_python_names(program: Any) -> Any:
    graph = copy.deepcopy(program.graph)
    for node in graph.nodes:
        named = PYTHON_NAMES.get(str(node.target)) if node.op == "call_function" else None
        plain = all(not isinstance(value, list) or value for value in node.args)
        if named is not None and plain and "alpha" not in node.kwargs:
            node.target = named
    made = torch.fx.GraphModule(program, graph)
    made.eval()
    return made


def _weights() -> Any:
    from torch.ao.quantization import PerChannelMinMaxObserver

    return PerChannelMinMaxObserver.with_args(
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-TOP, quant_max=TOP
    )


def _activations_top(facts: Mapping[str, Any]) -> int:
    return 127 if facts["reduce_range"] else 255


def _observers(module: Any) -> dict[str, Any]:
    return {n: m for n, m in module._modules.items() if n.startswith("activation_post_process")}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps remarks on deprecation and on fixed observers to the library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
