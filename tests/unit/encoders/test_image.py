"""The image encoder: bytes, base64 and pixels become normalised floats; bad rows are named."""

from __future__ import annotations

import base64
import io
import struct
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from jettison import registry  # noqa: E402
from jettison.domain.encoder import Encoder  # noqa: E402
from jettison.domain.extension_points import Example  # noqa: E402
from jettison.domain.model import Artifact, Model, TensorSpec  # noqa: E402
from jettison.domain.rows import Array  # noqa: E402
from jettison.errors import DataError  # noqa: E402

KIND = registry.get("encoders", "image")


def model(shape: tuple[int | str, ...], settings: dict[str, Any], dtype: str = "float32") -> Model:
    encoder = Encoder.of("image", settings, labels=("a", "b"))
    inputs = (TensorSpec("pixels", dtype, shape),)
    artifact = Artifact("none", "", (), "", 0)
    return Model(artifact, frozenset(), inputs, (), "", "classification", encoder)


def encoded(of: Model, *values: Any, columns: tuple[str, ...] = ("image",)) -> Array:
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
    bound = KIND.bind(of.encoder, of, columns)
    return np.asarray(
        KIND.encode(bound, of, Example({columns[0]: column}, len(values))).arrays["pixels"]
    )


def png(pixels: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def picture(height: int = 4, width: int = 6) -> Array:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


FIRST = ("batch", 3, 4, 6)
LAST = ("batch", 4, 6, 3)


def test_normalised_channels_first() -> None:
    """Bytes of a PNG give (pixel / 255 - mean) / std with channels first."""
    of = model(FIRST, {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2]})
    pixels = picture()
    wanted = (pixels / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.25, 0.2]
    found = encoded(of, png(pixels))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], wanted.transpose(2, 0, 1), rtol=1e-5, atol=1e-6)


def test_bytes_base64_and_pixels_agree() -> None:
    """The same image as bytes, as base64 text and as an array gives the same floats."""
    of = model(LAST, {"scale": 1.0})
    pixels = picture()
    content = png(pixels)
    found = encoded(of, content, base64.b64encode(content).decode(), pixels, pixels.astype(int))
    for row in found:
        np.testing.assert_array_equal(row, pixels)


def test_channels() -> None:
    """Blue may come first, and one channel of brightness is made of three."""
    pixels = picture()
    bgr = encoded(model(LAST, {"channels": "bgr", "scale": 1.0}), png(pixels))
    np.testing.assert_array_equal(bgr[0], pixels[:, :, ::-1])
    grey = encoded(model(("batch", 1, 4, 6), {"channels": "grey", "scale": 1.0}), png(pixels))
    np.testing.assert_array_equal(grey[0, 0], np.asarray(Image.fromarray(pixels).convert("L")))
    flat = encoded(model(LAST, {"scale": 1.0}), pixels[:, :, 0])
    assert (flat[0, :, :, 0] == flat[0, :, :, 2]).all()


def test_sizes() -> None:
    """An image of another size is stretched, or its middle is cut out, as Pillow does."""
    pixels = picture(10, 30)
    stretched = encoded(model(LAST, {"scale": 1.0}), pixels)
    wanted = Image.fromarray(pixels).resize((6, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(stretched[0], np.asarray(wanted))
    of = model(("batch", "h", "w", 3), {"size": [5.0], "fit": "crop", "scale": 1.0})
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 200
    cut = encoded(of, wide)
    assert cut.shape == (1, 5, 5, 3)
    assert (cut[0, :, 1:-1] == 200).all()


def test_images_lying_on_their_side() -> None:
    """The orientation that a camera stores is followed."""
    pixels = picture(6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = encoded(model(LAST, {"scale": 1.0}), png(pixels, exif=exif))
    np.testing.assert_array_equal(found[0], np.rot90(pixels, -1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no image", r"no image that can be decoded \(8 bytes\): none of JPEG, PNG"),
        (b"", "no image"),
        ("not base64!", "no base64"),
        (None, "missing"),
        (3.5, "float"),
        (np.zeros((4, 6, 3)), "whole numbers from 0 to 255"),
        (np.full((4, 6), 300), "whole numbers from 0 to 255"),
        (np.zeros((4, 6, 2), dtype=np.uint8), "shape"),
        (np.zeros((2, 0)), "shape"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", "no image"),
    ],
)
def test_bad_images_name_the_row(value: Any, reason: str) -> None:
    """What is no image is refused with its row and column."""
    good = png(picture())
    with pytest.raises(DataError, match=reason) as caught:
        encoded(model(FIRST, {}), good, value)
    assert "row 1 of `image`" in str(caught.value)


def test_a_broken_image_of_a_folder_names_its_file() -> None:
    """Where rows are files, the message says which."""
    subject = model(FIRST, {})
    bound = KIND.bind(subject.encoder, subject, ("image",))
    values = np.array([png(picture()), b"no image"], dtype=object)
    table = Example({"image": values}, 2, ("cat/good.png", "cat/broken.png"))
    with pytest.raises(DataError, match=r"row 1 of `image` \(cat/broken.png\)"):
        KIND.encode(bound, subject, table)


def test_damaged_and_deep_images() -> None:
    """A file that breaks off, and one with 16 bits a pixel, are refused."""
    with pytest.raises(DataError, match="no image"):
        encoded(model(FIRST, {}), png(picture(40, 40))[:200])
    with pytest.raises(DataError, match="more than 8 bits"):
        encoded(model(FIRST, {}), png(np.full((4, 6), 60_000, dtype=np.uint16)))


def test_damaged_notes_of_a_camera() -> None:
    """EXIF that can't be is refused with its row, and no traceback."""
    # It lies on its side, and its resolution is a text.
    turned = struct.pack("<HHLHH", 0x112, 3, 1, 6, 0)
    resolution = struct.pack("<HHL4s", 0x11A, 2, 4, b"abc\0")
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 2) + turned + resolution + bytes(4)
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG", exif=exif)
    with pytest.raises(DataError, match=r"row 0 of `image` is no image that can be decoded"):
        encoded(model(FIRST, {}), file.getvalue())


def test_huge_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of more pixels than are decoded is refused before it is."""
    from jettison.encoders import image

    monkeypatch.setattr(image, "LARGEST_PIXELS", 20)
    with pytest.raises(DataError, match="6 x 4 pixels"):
        encoded(model(FIRST, {}), png(picture()))


@pytest.mark.parametrize(
    ("shape", "settings", "dtype", "reason"),
    [
        (("batch", 10), {}, "float32", "shape"),
        (("batch", 3, 4, 6), {}, "int64", "floats"),
        (("batch", 4, 4, 6), {}, "float32", "3 channels"),
        (("batch", 3, 4, 6), {"size": [8.0]}, "float32", "leave it out"),
        (("batch", 3, "h", "w"), {}, "float32", "any size"),
        (("batch", 3, 4, 6), {"mean": [0.5, 0.5]}, "float32", "`image.mean` holds 2 numbers"),
        (
            ("batch", 1, 4, 6),
            {"channels": "grey", "std": [0.5, 0.5, 0.5]},
            "float32",
            "`image.std` holds 3 numbers; give 1",
        ),
    ],
)
def test_models_of_something_else(
    shape: tuple[int | str, ...], settings: dict[str, Any], dtype: str, reason: str
) -> None:
    """A model whose input is no image of these settings is refused."""
    of = model(shape, settings, dtype)
    with pytest.raises(DataError, match=reason):
        KIND.bind(of.encoder, of, ("image",))


def test_columns() -> None:
    """The column is the only one, or named like the input or `image`; otherwise it must be said."""
    of = model(FIRST, {})
    for columns, chosen in (
        (("photo",), "photo"),
        (("photo", "image"), "image"),
        (("image", "pixels"), "pixels"),
    ):
        bound = KIND.bind(of.encoder, of, columns)
        assert bound.settings["columns"] == [chosen]
        assert bound.labels == ("a", "b")
    with pytest.raises(DataError, match=r"data\.inputs"):
        KIND.bind(of.encoder, of, ("photo", "date"))


@pytest.mark.parametrize("resize", [[], [40]])
def test_narrow_images_make_no_huge_ones(
    monkeypatch: pytest.MonkeyPatch, resize: list[int]
) -> None:
    """Before a crop the shorter side grows to the crop, and the longer with it: that has an end too."""
    monkeypatch.setattr("jettison.encoders.image.LARGEST_PIXELS", 10_000)
    of = model(("batch", 3, 32, 32), {"fit": "crop", "size": [32, 32], "resize": resize})
    assert encoded(of, png(picture(40, 40))).shape == (1, 3, 32, 32)
    with pytest.raises(DataError, match="row 0 of `image` is an image of 2 x 90 pixels"):
        encoded(of, png(picture(90, 2)))
