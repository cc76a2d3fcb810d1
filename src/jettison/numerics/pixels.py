"""Images as pixels and back: what transformations of images share. Imports Pillow when called."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import DataError

__all__ = ["decoded", "encoded", "on_pixels"]

LARGEST_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Kinds of file that are decoded. Pillow knows others that start programs (EPS)."""


def on_pixels(value: Any, change: Callable[[Any], Any]) -> Any:
    """Changes an image as Pillow shows it: pixels come back as pixels, a file as a PNG file.

    Args:
        value: encoded bytes, or uint8 of shape (h, w), (h, w, 1) or (h, w, 3).
        change: Pillow image (`L` or `RGB`) -> Pillow image of the same size and mode.

    Raises:
        DataError: if the value is no image.
    """
    if isinstance(value, bytes):
        return encoded(change(decoded(value)), "PNG")
    pixels = np.asarray(value)
    changed = change(_from_pixels(pixels))
    back: Array = np.asarray(changed, dtype=np.uint8).reshape(pixels.shape)
    return back


def decoded(value: bytes) -> Any:
    """Opens an encoded image as `L` or `RGB`, upright, as the encoder of images does.

    Raises:
        DataError: if the bytes are no image, or it is larger than `LARGEST_PIXELS`.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(value), formats=FORMATS) as opened:
            if opened.width * opened.height > LARGEST_PIXELS:
                raise DataError(f"an image of {opened.width} x {opened.height} pixels is too large")
            # A camera may store an image lying on its side, and say so; a PNG copy would not say it.
            upright = ImageOps.exif_transpose(opened)
            return upright.convert("L" if upright.mode in ("1", "L") else "RGB")
    except DataError:
        raise
    except Exception as error:  # Damaged files make Pillow raise anything.
        raise DataError(f"the bytes are no image that Pillow reads ({error})") from error


def encoded(image: Any, kind: str, **options: Any) -> bytes:
    """The bytes of an image file of a kind such as `PNG` or `JPEG`."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _from_pixels(pixels: Array) -> Any:
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise DataError(
            f"pixels must be uint8 (h, w) or (h, w, 3); got {pixels.dtype}{pixels.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))
