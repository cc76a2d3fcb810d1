"""What techniques that set weights to zero share before any model is opened: settings and bounds."""

from __future__ import annotations

from jettison.domain.recipe import Choices, FloatRange, Potential, Range

__all__ = ["mask_potential", "mask_ranges"]


def mask_ranges() -> dict[str, Range]:
    """The settings of a mask: `sparsity`, `pattern`, `keep_outer` and `layers`."""
    return {
        # Of the patterns n:m, the one says how many are zero; then `sparsity` is not read.
        "sparsity": FloatRange(0.1, 0.95, 0.5),
        "pattern": Choices(("unstructured", "2:4", "4:8"), "unstructured", others=True),
        # The first and the last layer lose most.
        "keep_outer": Choices((False, True), default=False),
        "layers": Choices(("",), "", others=True),
    }


def mask_potential() -> Potential:
    """No gain in time or in the size of files: zeros are weights like others to both."""
    return Potential(
        1.0,
        1.0,
        "a mask makes no product faster and no file smaller: zeros are multiplied and stored like "
        "other weights, unless a runtime is told to skip them; it pays where `sparse_size_bytes` "
        "or `compressed_size_bytes` is minimised",
    )
