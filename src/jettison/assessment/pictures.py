"""Values of a table that a person would rather see: image files in bytes, and arrays of pixels."""

from __future__ import annotations

import io

import numpy as np

from jettison.domain.rows import Array

SMALLEST_SIDE = 8
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")


def picture_of(value: object) -> bytes | None:
    """Gives an image file for a value that is an image, or `None`.

    Bytes are an image if they begin as one. An array is one if it has two sides of at least
    8 pixels, and 1 or 3 channels before or after them; its values are stretched to 0 to 255.
    """
    if isinstance(value, bytes):
        return value if value.startswith(_SIGNATURES) else None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        return None
    pixels = _pixels(value)
    return None if pixels is None else _png(pixels)


def _pixels(value: Array) -> Array | None:
    """Shape (height, width) or (height, width, 3)."""
    if value.ndim == 3 and value.shape[0] in (1, 3):
        value = np.moveaxis(value, 0, -1)
    if value.ndim == 3 and value.shape[2] == 1:
        value = value[:, :, 0]
    shaped = value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 3)
    return value if shaped and min(value.shape[:2]) >= SMALLEST_SIDE else None


def _png(pixels: Array) -> bytes | None:
    try:
        from PIL import Image
    except ImportError:
        return None  # Then the array is named by its shape.
    values = np.nan_to_num(pixels.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    if pixels.dtype != np.uint8:
        values = (values - low) * (255.0 / (high - low) if high > low else 0.0)
    file = io.BytesIO()
    Image.fromarray(values.round().astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
