"""What 2:4 pays on a GPU: dense weights in 16 bits beside the same weights without their zeros.

    PYTHONPATH=src OUT=/tmp/out python -m benchmarks.semi_structured_h200 [--seconds 80]
    PYTHONPATH=src OUT=/tmp/out python -m benchmarks.semi_structured_h200 --rows-first --each 0.3

Needs PyTorch, NumPy and safetensors, and of jettison only what needs nothing else. Weights are
random and masked by magnitude with jettison's own `n_of_m`: this is about time, not about quality.
Both ways multiply the same masked weights. They run in one process, in rounds of random order; each
turn is a few calls between two CUDA events. The ratio of a round is dense time over sparse time;
the median of the rounds is given with a 95 % interval by order statistics. A second dense copy
(`a/a`) shows how far two equal things can seem apart. `--device cpu` checks the script only.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import os
import platform
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.results_file import Row
from jettison.graphs.torch_semi_structured import SemiStructuredLinear, replace_layers
from jettison.numerics.masks import n_of_m

SIZES = {
    "MiniLM 384 to 1536": (384, 1536),
    "BERT-base 768 to 3072": (768, 3072),
    "4096 to 4096": (4096, 4096),
    "4096 to 14336": (4096, 14336),
}
TOKENS = (32, 128, 1024, 8192)
BATCHES = (1, 16, 64)
WIDTH, INNER, HEADS, BLOCKS, LENGTH = 768, 3072, 12, 12, 128
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
FEWEST, MOST = 7, 60
"""Rounds."""

TURN_SECONDS = 0.001
"""The least that a turn should take, so that the events' resolution (0.5 us) doesn't show."""

NOTES = (
    "Random weights, 2:4 by magnitude along the inputs. The dense way multiplies the same masked "
    "weights. Interleaved rounds of random order in one process, CUDA events; the interval is of "
    "the median over the rounds, 95 % by order statistics; n is the rounds. Times of single layers "
    "below about 20 us are of launching kernels, which eager PyTorch does from Python; with a CUDA "
    "graph (`captured`) that is left out. cuSPARSELt is used as PyTorch chooses it, `searched` "
    "with the algorithm that its own search finds fastest for this number of tokens. Weights that "
    "fit the GPU's cache stay in it from call to call.",
)

Call = Callable[[], Any]


class Attention(nn.Module):
    """Self-attention of 12 heads whose products are linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(WIDTH, 3 * WIDTH)
        self.outward = nn.Linear(WIDTH, WIDTH)

    def forward(self, values: Any) -> Any:
        batch, length, _ = values.shape
        parts = self.inward(values).reshape(batch, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.outward(mixed.transpose(1, 2).reshape(batch, length, WIDTH))


class Block(nn.Module):
    """A block of BERT-base: attention and a network of two layers, each with its norm behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.first = Attention(), nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.second = nn.LayerNorm(WIDTH)

    def forward(self, values: Any) -> Any:
        values = self.first(values + self.attention(values))
        return self.second(values + self.down(functional.gelu(self.up(values))))


@dataclass(frozen=True)
class Bench:
    """Where and how long: `seconds` of timing for one comparison."""

    device: str
    seconds: float

    def time(self, call: Call, calls: int) -> float:
        """Seconds of one call, from a turn of several."""
        if self.device == "cpu":
            begun = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - begun) / calls
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / calls

    def rounds(self, ways: Mapping[str, Call]) -> dict[str, list[float]]:
        """Times each way once a round, in random order, for as long as `seconds`."""
        shuffle = random.Random(0).shuffle
        for call in ways.values():
            for _ in range(5):
                call()
        calls = {
            name: max(1, min(200, int(TURN_SECONDS / max(self.time(call, 5), 1e-7))))
            for name, call in ways.items()
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        begun, order = time.monotonic(), list(ways)
        for turn in range(MOST):
            if turn >= FEWEST and time.monotonic() - begun > self.seconds:
                break
            shuffle(order)
            for name in order:
                times[name].append(self.time(ways[name], calls[name]))
        return times


def masked(module: nn.Module) -> nn.Module:
    """Sets half of the weights of every linear layer to zero, 2:4 by magnitude."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(n_of_m(layer.weight.abs(), 2, 4))
    return module


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median with the 95 % interval that order statistics give for any distribution."""
    ranked, n = sorted(values), len(values)
    # Normal approximation of the binomial ranks, rounded outwards.
    reach = 1.96 * n**0.5 / 2
    low, high = int(np.floor((n - 1) / 2 - reach)), int(np.ceil((n - 1) / 2 + reach))
    return statistics.median(ranked), ranked[max(0, low)], ranked[min(n - 1, high)]


def compared(model: str, dtype: str, times: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """Rows of each way: microseconds, and dense time over its own in the same rounds."""
    for name, own in times.items():
        value, low, high = (seconds * 1e6 for seconds in median_interval(own))
        yield Row(model, f"{dtype}, {name}", "time", value, low, high, "us", len(own))
        base = "captured dense" if name.startswith("captured") else "dense"
        base = "compiled dense" if name.startswith("compiled") else base
        if name == base:
            continue
        ratios = [dense / mine for dense, mine in zip(times[base], own, strict=True)]
        value, low, high = median_interval(ratios)
        told = "slower than dense" if high < 1.0 else ""
        unit = "dense time over its own"
        yield Row(model, f"{dtype}, {name}", "speed", value, low, high, unit, len(own), told)


def error_row(model: str, method: str, exact: Any, got: Any) -> Row:
    """Relative error of the answers, in the norm of all of them together."""
    error = float((got.float() - exact.float()).norm() / exact.float().norm())
    n = exact.numel()
    return Row(model, method, "relative error", error, None, None, "of the dense norm", n)


def failure_row(model: str, method: str, error: BaseException) -> Row:
    told = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return Row(model, method, "speed", None, None, None, "dense time over its own", 0, told)


def captured(call: Call) -> Call:
    """Records a call as a CUDA graph: what the GPU does, without what Python does before."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def searched(layer: nn.Linear, values: Any) -> nn.Module:
    """A sparse layer with the algorithm of cuSPARSELt that is fastest for these values."""
    weight = layer.weight.detach().contiguous()
    packed = torch._cslt_compress(weight)
    best = torch._cslt_sparse_mm_search(packed, values.t())
    kind = torch.sparse.SparseSemiStructuredTensorCUSPARSELT
    made = SemiStructuredLinear(layer)
    made.weight = nn.Parameter(kind.from_dense(weight), requires_grad=False)
    # An argument of `from_dense` in later versions only.
    made.weight.alg_id_cusparselt = int(best)
    return made


def tuned(module: nn.Module, values: Any) -> nn.Module:
    """Makes each sparse layer use the algorithm that is fastest for what it reads."""
    handles = []
    for layer in [part for part in module.modules() if isinstance(part, SemiStructuredLinear)]:

        def search(layer: Any, given: tuple[Any, ...]) -> None:
            rows = given[0].reshape(-1, given[0].shape[-1])
            best = torch._cslt_sparse_mm_search(layer.weight.packed, rows.t())
            layer.weight.alg_id_cusparselt = int(best)

        handles.append(layer.register_forward_pre_hook(search))
    module(values)
    for handle in handles:
        handle.remove()
    return module


def cutlass(layer: nn.Linear) -> nn.Module:
    """A sparse layer by the other backend of PyTorch."""
    made = SemiStructuredLinear(layer)
    kind = torch.sparse.SparseSemiStructuredTensorCUTLASS
    made.weight = nn.Parameter(
        kind.from_dense(layer.weight.detach().contiguous()), requires_grad=False
    )
    return made


def layer_rows(bench: Bench, name: str, tokens: int, dtype: str) -> Iterator[Row]:
    """One layer at one number of tokens."""
    model = f"{name}, {tokens} tokens"
    columns, rows = SIZES[name]
    torch.manual_seed(0)
    dense = masked(nn.Linear(columns, rows)).to(bench.device, DTYPES[dtype]).eval()
    values = torch.randn(tokens, columns, device=bench.device, dtype=DTYPES[dtype])
    exact = dense(values)
    ways: dict[str, Call] = {"dense": lambda: dense(values), "a/a": lambda: dense(values)}
    makers: dict[str, Callable[[], nn.Module]] = {
        "2:4 cuSPARSELt": lambda: SemiStructuredLinear(dense),
        "2:4 cuSPARSELt searched": lambda: searched(dense, values),
        "2:4 CUTLASS": lambda: cutlass(dense),
    }
    for way, make in makers.items():
        try:
            layer = make()
            got = layer(values)
            yield error_row(model, f"{dtype}, {way}", exact, got)
            ways[way] = lambda layer=layer: layer(values)
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            yield failure_row(model, f"{dtype}, {way}", error)
    for way in [way for way in ways if way != "a/a"]:
        try:
            ways[f"captured {way}"] = captured(ways[way])
        except (RuntimeError, AssertionError) as error:
            yield failure_row(model, f"{dtype}, captured {way}", error)
    yield from compared(model, dtype, bench.rounds(ways))


def encoder_rows(bench: Bench, dtype: str, *, compiled: bool) -> Iterator[Row]:
    """Twelve blocks of BERT-base at each batch."""
    torch.manual_seed(0)
    whole = masked(nn.Sequential(*(Block() for _ in range(BLOCKS)))).eval()
    dense = whole.to(bench.device, DTYPES[dtype])
    modules: dict[str, Any] = {"dense": dense, "a/a": dense}
    sparse = copy.deepcopy(dense)
    try:
        modules[f"2:4, {len(replace_layers(sparse).names)} layers"] = sparse
        # A second copy, for a layer keeps the algorithm that was searched.
        again = copy.deepcopy(dense)
        replace_layers(again)
        modules["2:4 searched"] = again
    except RuntimeError as error:
        yield failure_row("encoder of BERT-base", f"{dtype}, 2:4", error)
    if compiled:
        modules = {f"compiled {way}": by_block(m) for way, m in modules.items() if way != "a/a"}
    for batch in BATCHES:
        model = f"encoder of BERT-base, {batch} x {LENGTH} tokens"
        values = torch.randn(batch, LENGTH, WIDTH, device=bench.device, dtype=DTYPES[dtype])
        exact = dense(values)
        ways: dict[str, Call] = {}
        for way, kept in modules.items():
            try:
                module = tuned(kept, values) if way.endswith("searched") else kept
                got = module(values)
                if "2:4" in way:
                    yield error_row(model, f"{dtype}, {way}", exact, got)
                ways[way] = lambda module=module, values=values: module(values)
                if not compiled and way != "a/a":
                    ways[f"captured {way}"] = captured(ways[way])
            except Exception as error:  # noqa: BLE001
                yield failure_row(model, f"{dtype}, {way}", error)
        if any(way.endswith("dense") for way in ways):
            yield from compared(model, dtype, bench.rounds(ways))


def rows_first_rows(bench: Bench, dtype: str) -> Iterator[Row]:
    """A layer and the norm behind it; cuSPARSELt writes the products transposed, or rows first.

    Transposed is PyTorch's default: the norm then reads memory with strides.
    """
    for name, tokens in (("BERT-base 768 to 3072", 2048), ("4096 to 4096", 1024)):
        model = f"{name} and its norm, {tokens} tokens"
        columns, rows = SIZES[name]
        torch.manual_seed(0)
        dense = masked(nn.Linear(columns, rows).to(bench.device)).to(DTYPES[dtype]).eval()
        norm = nn.LayerNorm(rows).to(bench.device, DTYPES[dtype])
        values = torch.randn(tokens, columns, device=bench.device, dtype=DTYPES[dtype])
        exact = dense(values)
        layers: dict[str, nn.Module] = {"dense": dense}
        for way, rows_first in (("2:4", False), ("2:4 rows first", True)):
            layers[way] = layer = SemiStructuredLinear(dense)
            # What PyTorch's `_FUSE_TRANSPOSE` sets for every weight that is made after it.
            layer.weight.fuse_transpose_cusparselt = rows_first
            yield error_row(model, f"{dtype}, {way}", exact, layer(values))
        ways: dict[str, Call] = {
            way: lambda layer=layer, norm=norm, values=values: norm(layer(values))
            for way, layer in layers.items()
        }
        ways |= {f"captured {way}": captured(call) for way, call in ways.items()}
        yield from compared(model, dtype, bench.rounds(ways))


def by_block(module: Any) -> nn.Module:
    """Compiles each block on its own: all have one code, so that it is compiled once a shape."""
    return nn.Sequential(*(torch.compile(block, dynamic=False) for block in module))


def parts(bench: Bench) -> Iterator[Iterator[Row]]:
    """All comparisons, those that matter most first."""
    yield encoder_rows(bench, "float16", compiled=False)
    for tokens in TOKENS:
        for name in SIZES:
            yield layer_rows(bench, name, tokens, "float16")
    yield encoder_rows(bench, "bfloat16", compiled=False)
    for tokens in TOKENS:
        for name in SIZES:
            yield layer_rows(bench, name, tokens, "bfloat16")
    yield encoder_rows(bench, "float16", compiled=True)  # Last, for compiling takes long.


def store(rows: Sequence[Row], device: str, notes: Sequence[str], name: str) -> Path:
    """Writes what was found into `$OUT`, in the form of `benchmarks.results_file`."""
    machine = torch.cuda.get_device_name(0) if device == "cuda" else platform.processor()
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {"numpy": np.__version__}
    if device == "cuda":
        versions |= {"cuda": str(torch.version.cuda)}
        lt = torch.backends.cusparselt
        versions |= {"cusparselt": str(lt.version()) if lt.is_available() else "none"}
    content = {
        "machine": f"{machine}, lent by the hour",
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "notes": list(notes),
        "rows": [asdict(row) for row in rows],
    }
    path = Path(os.environ.get("OUT", ".")) / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=80.0, help="of the whole, about")
    parser.add_argument("--each", type=float, default=0.4, help="seconds of one comparison")
    parser.add_argument("--rows-first", action="store_true", help="only how products are laid out")
    given = parser.parse_args()
    name = "semi_structured-rows_first" if given.rows_first else "semi_structured"
    warnings.filterwarnings("ignore", message="The PyTorch API of SparseSemiStructuredTensor")
    begun, found, left_out = time.monotonic(), [], 0
    bench = Bench(given.device, given.each)
    with torch.inference_mode():
        for part in [rows_first_rows(bench, "float16")] if given.rows_first else parts(bench):
            if time.monotonic() - begun > given.seconds:
                left_out += 1
                continue
            for row in part:
                found.append(row)
                print(row.model, row.method, row.metric, row.value, row.low, row.high, row.note)
            store(found, given.device, NOTES, name)
    cut = (f"{left_out} comparisons were left out for lack of time.",) if left_out else ()
    path = store(found, given.device, (*NOTES, *cut), name)
    print(f"wrote {path}, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
