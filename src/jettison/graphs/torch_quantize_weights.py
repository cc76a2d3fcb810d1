"""Linear layers whose weights are stored in 8 or 4 bits, by torchao; sums stay in float.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from jettison.graphs.torch_packing import Packed
from jettison.graphs.torchao_import import import_torchao

__all__ = ["as_weight_only", "rounded"]

DTYPES = {8: torch.int8, 4: torch.int4}


def rounded(layer: Any, bits: int, group: int) -> Packed:
    """Rounds the weight of a linear layer with torchao; the layer is left as it is.

    Args:
        layer: an `nn.Linear`.
        bits: 8 or 4.
        group: inputs that share a scale, a divisor of their number; 0 for all of an output.
    """
    quantization = import_torchao("torchao.quantization")
    granularity = import_torchao("torchao.quantization.granularity")
    config = quantization.IntxWeightOnlyConfig(
        weight_dtype=DTYPES[bits],
        granularity=granularity.PerGroup(group) if group else granularity.PerAxis(0),
    )
    copy = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    copy.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
    quantization.quantize_(copy, config)
    return Packed(copy.weight.qdata, copy.weight.scale.float(), bits)


def as_weight_only(program: Any, packed: Mapping[str, Packed], facts: Mapping[str, Any]) -> Any:
    """Puts torchao's tensors in place of the weights.

    Args:
        program: with the weights that the integers stand for.
        packed: layer -> weight.
        facts: none.
    """
    tensors = import_torchao("torchao.quantization")
    for name, one in packed.items():
        made = tensors.IntxUnpackedToInt8Tensor(
            qdata=one.integers,
            scale=one.scale,
            zero_point=torch.zeros(one.scale.shape, dtype=torch.int8),
            target_dtype=DTYPES[one.bits],
            block_size=(1, one.integers.shape[1] // one.scale.shape[1]),
            dtype=torch.float32,
            activation_quantization=None,
        )
        program.get_submodule(name).weight = nn.Parameter(made, requires_grad=False)
    return program
