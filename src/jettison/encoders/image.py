"""The encoder `image`: encoded images or pixels -> normalised floats, one image a row."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.model import Model, TensorSpec
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.made_up_inputs import made_up_inputs

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_PIXELS = 64_000_000
"""Of one image: a small file can stand for more memory than there is."""

COLUMN = "image"
"""Where several columns are at hand and none is named like the input."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Kinds of file that are decoded. Pillow knows others that start programs (EPS)."""

DEEP = frozenset("IF")
"""First letters of Pillow's modes with more than 8 bits a channel."""

MODES = {"rgb": "RGB", "bgr": "RGB", "grey": "L"}


class ImageEncoder:
    """Decodes, resizes and normalises: `(pixel * scale - mean) / std`.

    A row is an encoded image (JPEG, PNG and what else Pillow reads) as bytes, the same as base64
    text (in JSON), or pixels as an array of whole numbers 0 to 255 of shape (h, w), (h, w, 1) or
    (h, w, 3). The input of the model is (batch, channels, h, w) or (batch, h, w, channels).

    Settings: `size` (height and width; one number for both), `fit` (`stretch`, `crop`), `resize`
    (before a crop: the shorter side, or height and width; empty for no more than the crop needs),
    `filter`, `scale`, `mean`, `std`, `channels` (`rgb`, `bgr`, `grey`), `columns` (set by `bind`).
    """

    name: ClassVar[str] = "image"
    packages: ClassVar[tuple[str, ...]] = ("PIL",)
    table: ClassVar[str] = "image"
    """The table of jettison.toml that sets it."""

    takes_bytes: ClassVar[bool] = True
    """A table may hold bytes, or paths of files, which become bytes before they are encoded."""

    def bind(self, encoder: Encoder, model: Model, columns: tuple[str, ...]) -> Encoder:
        """Settles the column of images, and checks the settings against the model's input.

        The only column; otherwise the one named like the input, or `image`.

        Raises:
            DataError: if there is no such column, or the model does not take images so.
        """
        layout = _Layout.of(encoder, model)
        named = encoder.settings.get("columns")
        wanted = [str(name) for name in named] if isinstance(named, list) else []
        for name in (*wanted, layout.spec.name, COLUMN):
            if name in columns:
                return _with_column(encoder, name)
        if len(columns) == 1 and not wanted:
            return _with_column(encoder, columns[0])
        raise DataError(
            f"the model takes images; the data has the columns "
            f"{', '.join(f'`{c}`' for c in columns) or '(none)'}: say which holds them, for example "
            f'data.inputs = ["{columns[0] if columns else COLUMN}"]'
        )

    def encode(self, encoder: Encoder, model: Model, examples: Example) -> Encoded:
        """Encodes images.

        Raises:
            DataError: for a value that is no image; says row and column.
        """
        layout = _Layout.of(encoder, model)
        named = encoder.settings.get("columns")
        if not isinstance(named, list) or len(named) != 1 or str(named[0]) not in examples.columns:
            raise DataError(
                f"the column of images is {named}; the data has "
                f"{', '.join(f'`{name}`' for name in examples.columns)}"
            )
        column = str(named[0])
        values = examples.columns[column]
        made = np.empty((examples.n, *layout.shape), dtype=layout.spec.dtype)
        for row in range(examples.n):
            file = f" ({examples.files[row]})" if examples.files else ""
            where = f"row {row} of `{column}`{file}"
            made[row] = layout.arrange(_pixels(values[row], layout, where))
        return Encoded({layout.spec.name: made})

    def made_up(self, encoder: Encoder, model: Model, n: int, seed: int) -> Encoded:
        """Makes up standard normal floats of the size of an image."""
        layout = _Layout.of(encoder, model)
        fixed = TensorSpec(layout.spec.name, layout.spec.dtype, ("batch", *layout.shape))
        return Encoded(made_up_inputs((fixed,), n, seed))


def _with_column(encoder: Encoder, column: str) -> Encoder:
    return Encoder.of(
        encoder.kind, {**encoder.settings, "columns": [column]}, labels=encoder.labels
    )


class _Layout:
    """How pixels lie in the input of one model."""

    def __init__(self, spec: TensorSpec, settings: Mapping[str, Any]) -> None:
        self.spec = spec
        self.settings = settings
        self.channels = 1 if settings.get("channels") == "grey" else 3
        self.first = spec.shape[1] == self.channels
        size = list(settings.get("size") or []) or list(
            spec.shape[2:] if self.first else spec.shape[1:3]
        )
        self.size = (size * 2)[:2]
        self.mean = self._constant("mean", 0.0)
        self.std = self._constant("std", 1.0)

    @classmethod
    def of(cls, encoder: Encoder, model: Model) -> _Layout:
        """Reads the one input of a model of images.

        Raises:
            DataError: if the model does not take images of these settings.
        """
        spec = model.inputs[0]
        grey = encoder.settings.get("channels") == "grey"
        channels = 1 if grey else 3
        floats = spec.dtype in ("float32", "float64", "float16")
        if len(model.inputs) != 1 or len(spec.shape) != 4 or not floats:
            shown = "; ".join(f"`{s.name}` {s.dtype} {list(s.shape)}" for s in model.inputs)
            raise DataError(
                f"`image` was given, but the model takes {shown}; it must take one input of floats "
                "of shape (batch, channels, height, width) or (batch, height, width, channels)"
            )
        if channels not in (spec.shape[1], spec.shape[3]):
            raise DataError(
                f"input `{spec.name}` has shape {list(spec.shape)}, but images have {channels} "
                f"channels{'' if grey else '; set `image.channels` to grey'}: neither its second "
                "nor its last dimension is that"
            )
        layout = cls(spec, encoder.settings)
        for name, held in (("mean", layout.mean), ("std", layout.std)):
            if held.size not in (1, channels):
                raise DataError(
                    f"`image.{name}` holds {held.size} numbers; give {channels} (one for each "
                    "channel), or one for all"
                )
        layout._check_size()
        return layout

    def _check_size(self) -> None:
        stated = list(self.spec.shape[2:] if self.first else self.spec.shape[1:3])
        if any(isinstance(size, str) for size in self.size):
            raise DataError(
                f"input `{self.spec.name}` takes images of any size {stated}: say which in "
                "`image.size`, for example [224, 224]"
            )
        for asked, fixed in zip(self.size, stated, strict=True):
            if isinstance(fixed, int) and fixed != asked:
                raise DataError(
                    f"`image.size` is {list(self.size)}, but input `{self.spec.name}` takes "
                    f"{stated}; leave it out"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row of the input."""
        height, width = (int(size) for size in self.size)
        return (self.channels, height, width) if self.first else (height, width, self.channels)

    def _constant(self, name: str, default: float) -> Array:
        values = self.settings.get(name) or [default]
        return np.asarray(values, dtype=np.float32)

    def arrange(self, pixels: Array) -> Array:
        """Normalises pixels of shape (h, w, channels), and puts channels where they belong."""
        if self.settings.get("channels") == "bgr":
            pixels = pixels[:, :, ::-1]
        scale = np.float32(self.settings.get("scale", 1 / 255))
        values = (pixels.astype(np.float32) * scale - self.mean) / self.std
        return np.moveaxis(values, 2, 0) if self.first else values


def _pixels(value: Any, layout: _Layout, where: str) -> Array:
    """Pixels 0 to 255 of the right size, shape (h, w, channels)."""
    from PIL import Image

    image = _of_array(value, where) if isinstance(value, np.ndarray) else _decoded(value, where)
    height, width = (int(size) for size in layout.size)
    image = image.convert(MODES[str(layout.settings.get("channels", "rgb"))])
    chosen = Image.Resampling[str(layout.settings.get("filter", "bilinear")).upper()]
    if layout.settings.get("fit") == "crop":
        size = _before_crop(image, (width, height), layout.settings.get("resize") or [])
        if size[0] * size[1] > LARGEST_PIXELS:
            raise DataError(
                f"{where} is an image of {image.width} x {image.height} pixels, which would be "
                f"resized to {size[0]} x {size[1]} before its middle is cut out; at most "
                f"{LARGEST_PIXELS:,} pixels are made: cut it out yourself"
            )
        image = _middle(image, (width, height), size, chosen)
    elif image.size != (width, height):
        image = image.resize((width, height), chosen)
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _before_crop(image: Image, crop: tuple[int, int], resize: Sequence[float]) -> tuple[int, int]:
    """Width and height of an image before its middle is cut out.

    Args:
        image: of any size.
        crop: width and height of the result.
        resize: the shorter side, or height and width; empty for as little as covers the crop.
    """
    width, height = crop
    if len(resize) == 1:
        # The longer side is rounded down, as torchvision and transformers do.
        side, short = int(resize[0]), min(image.size)
        return side * image.width // short, side * image.height // short
    if resize:
        return int(resize[1]), int(resize[0])
    factor = max(width / image.width, height / image.height)
    return max(width, round(image.width * factor)), max(height, round(image.height * factor))


def _middle(image: Image, crop: tuple[int, int], size: tuple[int, int], chosen: Any) -> Image:
    """Resizes, and cuts out the middle; black where the image is smaller, as transformers does."""
    width, height = crop
    image = image if image.size == size else image.resize(size, chosen)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _of_array(value: Array, where: str) -> Image:
    from PIL import Image

    pixels = value[:, :, 0] if value.ndim == 3 and value.shape[2] == 1 else value
    flat = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not flat or not pixels.size:
        raise DataError(
            f"{where} has shape {value.shape}; pixels are (height, width) or (height, width, 3)"
        )
    whole = pixels.dtype.kind in "iu" and pixels.min(initial=0) >= 0 and pixels.max(initial=0) < 256
    if not whole:
        raise DataError(
            f"{where} holds {pixels.dtype} from {pixels.min()} to {pixels.max()}; pixels are whole "
            "numbers from 0 to 255. Arrays that are normalised already need no `image` table"
        )
    return Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8)))


def _decoded(value: Any, where: str) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    content = _bytes(value, where)
    try:
        with warnings.catch_warnings():
            # Pillow warns of huge images, which are refused here, and of small faults.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > LARGEST_PIXELS:
                raise DataError(
                    f"{where} is an image of {image.width} x {image.height} pixels; at most "
                    f"{LARGEST_PIXELS:,} are decoded"
                )
            image.load()
            # A camera may store an image lying on its side, and say so.
            upright = ImageOps.exif_transpose(image)
    except DataError:
        raise
    except Exception as error:  # Damaged files, and what cameras noted, make Pillow raise anything.
        # Pillow names the object that it read from, which tells nobody anything.
        known = isinstance(error, UnidentifiedImageError)
        reason = f"none of {', '.join(FORMATS)}" if known else error
        raise DataError(
            f"{where} is no image that can be decoded ({len(content)} bytes): {reason}; repair or "
            "drop the row"
        ) from error
    if upright.mode[0] in DEEP:
        raise DataError(
            f"{where} has pixels of more than 8 bits (mode {upright.mode}); convert the image to 8 "
            "bits, or give arrays and no `image` table"
        )
    return upright


def _bytes(value: Any, where: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(
                f"{where} is text that is no base64: {error}; in JSON, an image is the base64 of "
                "its file"
            ) from error
    shown = type(value).__name__ if value is not None else "missing"
    raise DataError(f"{where} is {shown}; give the bytes of an image, or pixels")
