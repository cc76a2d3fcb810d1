"""What each transformation does to one value."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jettison import registry
from jettison.domain.ranges import within
from jettison.errors import DataError
from jettison.numerics.pixels import decoded


def change(name: str, value: Any, seed: int = 0, **wanted: Any) -> Any:
    """Applies a transformation with its defaults, some of them replaced."""
    plugin = registry.get("transformations", name)
    defaults = {key: allowed.default for key, allowed in plugin.settings().items()}
    return plugin.apply(value, {**defaults, **wanted}, np.random.default_rng(seed))


def picture() -> Any:
    """Coloured noise of 24 x 32 pixels, smooth enough to be an image."""
    pixels = np.random.default_rng(0).normal(128, 40, (6, 8, 3)).repeat(4, 0).repeat(4, 1)
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", registry.names("transformations"))
def test_every_default_is_allowed_and_described(name: str) -> None:
    """Each plug-in has a sentence of its own, and defaults inside its ranges."""
    plugin = registry.get("transformations", name)
    assert plugin.name == name
    assert type(plugin).__doc__
    for allowed in plugin.settings().values():
        assert within(allowed, allowed.default)


@pytest.mark.parametrize("name", ["jpeg", "gaussian_blur", "gaussian_noise"])
@pytest.mark.parametrize("grey", [False, True])
def test_images_keep_their_form(name: str, grey: bool) -> None:
    """Pixels stay pixels of the same shape, a file stays a file of the same size; both change."""
    pixels = picture()[:, :, 0] if grey else picture()
    before = pixels.copy()
    changed = change(name, pixels)
    assert changed.dtype == np.uint8
    assert changed.shape == pixels.shape
    assert not np.array_equal(changed, pixels)
    assert np.array_equal(pixels, before)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    file = change(name, buffer.getvalue())
    assert isinstance(file, bytes)
    assert np.array_equal(np.asarray(decoded(file)), changed)


def test_an_image_stored_on_its_side_comes_out_upright() -> None:
    """A copy carries no EXIF, so what it said of the orientation must be done (6: a quarter turn)."""
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", exif=exif)
    turned = np.rot90(picture(), -1)
    assert np.array_equal(np.asarray(decoded(buffer.getvalue())), turned)
    assert decoded(change("gaussian_blur", buffer.getvalue())).size == (24, 32)


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    """Grey pixels far from 0 and 255 get noise of the declared deviation, the same for one seed."""
    flat = np.full((64, 64), 128, dtype=np.uint8)
    noisy = change("gaussian_noise", flat, deviation=10.0).astype(float)
    assert noisy.std() == pytest.approx(10.0, rel=0.05)
    assert np.array_equal(noisy, change("gaussian_noise", flat, deviation=10.0))
    assert not np.array_equal(noisy, change("gaussian_noise", flat, seed=1, deviation=10.0))


def test_lower_jpeg_quality_loses_more() -> None:
    """The error grows as the quality falls."""
    pixels = picture()
    errors = [
        np.abs(change("jpeg", pixels, quality=q).astype(float) - pixels).mean() for q in (90, 40, 5)
    ]
    assert errors == sorted(errors)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.integers(0, 5))
def test_typos_keep_the_number_of_words(text: str, seed: int) -> None:
    """Words are misspelt, never lost or joined, whatever the text."""
    changed = change("typos", text, seed, rate=0.5)
    assert len(changed.split()) == len(text.split())
    assert change("typos", text, seed, rate=0.5) == changed


def test_a_short_word_does_not_lose_all_its_letters() -> None:
    """Also where each of them is hit, and the ones before it were dropped."""
    for text in ("to be or " * 100, "one two six " * 100):
        assert len(change("typos", text, rate=1.0).split()) == len(text.split())


def test_typos_hit_about_the_rate_that_was_asked_for() -> None:
    """Of a long text about the declared share of letters is hit."""
    text = "abcdefgh " * 500
    kept = change("typos", text, rate=0.001)
    assert 0 < sum(a != b for a, b in zip(text.split(), kept.split())) < 60


def test_truncation_and_padding() -> None:
    """The first words stay; the filler stands where it was asked for."""
    assert change("truncation", "one  two three four", keep=0.5) == "one  two"
    assert change("truncation", "one", keep=0.1) == "one"
    assert change("truncation", "") == ""
    assert change("text_padding", "one", filler="!", times=3) == "one!!!"
    assert change("text_padding", "one", filler="! ", times=2, side="before") == "! ! one"


def test_signals_change_by_decibels() -> None:
    """A gain of -20 dB divides by 10; noise at 20 dB has a hundredth of the power."""
    tone = np.sin(np.arange(8000) * 0.3)
    assert change("gain", tone, decibels=-20.0) == pytest.approx(tone / 10)
    noise = change("signal_noise", tone, snr_db=20.0) - tone
    assert np.mean(noise**2) / np.mean(tone**2) == pytest.approx(0.01, rel=0.1)
    assert not change("signal_noise", np.zeros(50)).any()


def test_a_microphone_takes_away_what_lies_outside_its_band() -> None:
    """A tone inside the band stays, one above it is gone."""
    time = np.arange(16_000) / 16_000
    inside, above = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 7000 * time)
    assert change("microphone", inside)[2000:].std() == pytest.approx(inside.std(), rel=0.05)
    assert change("microphone", above)[2000:].std() < 0.05 * above.std()
    with pytest.raises(DataError, match="half of"):
        change("microphone", inside, sample_rate=4000)
    with pytest.raises(DataError, match=r"shape \(2, 8000\)"):
        change("microphone", inside.reshape(2, 8000))


def test_bytes_that_are_no_image_are_refused() -> None:
    """The reason is that of Pillow."""
    with pytest.raises(DataError, match="no image"):
        change("jpeg", b"not an image")
