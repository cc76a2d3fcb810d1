"""preprocessor_config.json beside an image model, as settings of the encoder `image`.

What transformers would do with an image (resize, crop, rescale, normalise) must be expressed
exactly or refused: a model that sees other pixels than it was trained on is quietly worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jettison.domain.encoder import Setting
from jettison.errors import ModelError
from jettison.graphs.huggingface_files import read_json

__all__ = ["PROCESSOR", "image_settings", "read_processor"]

PROCESSOR = "preprocessor_config.json"

FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's number of a filter -> its name."""

UNDERSTOOD = frozenset(
    {
        *("do_resize", "do_rescale", "do_normalize", "do_center_crop", "do_convert_rgb"),
        *("do_flip_channel_order", "do_reduce_labels"),
    }
)
"""Steps that the encoder takes too, or that change no pixel."""

OWN_SIZES = ("Levit", "Perceiver")
"""Processors that take other sizes than they state: LeViT's resizes to 256/224 of the shorter side,
Perceiver's crops before it resizes."""

SHORTER = (
    *("Bit", "BridgeTower", "ChineseCLIP", "CLIP", "ConvNext", "MobileNet", "MobileViT"),
    *("PoolFormer", "Siglip", "TextNet", "VideoMAE", "Vilt"),
)
"""Processors that read a `size` of one number, as older files have it, as the shorter side; others
(ViT, BEiT, DeiT) read it as a square."""

UNNORMALISED = ("MobileViT",)
"""Processors that normalise only where the file says so."""

WHOLE = 384
"""ConvNeXt's processor stretches images to sizes from here on, and crops to smaller ones."""


def read_processor(folder: Path) -> dict[str, Any]:
    """Reads how images become the input of the model in a folder.

    Raises:
        ModelError: if the file is missing or no JSON object.
    """
    path = folder / PROCESSOR
    if not path.is_file():
        raise ModelError(
            f"{folder} has no {PROCESSOR}, which says how an image becomes the model's input; save "
            "it beside the model with `image_processor.save_pretrained(folder)`"
        )
    held = read_json(path)
    if not isinstance(held, dict):
        raise ModelError(f"{path} must hold a JSON object; it holds {type(held).__name__}")
    return held


def image_settings(
    held: Mapping[str, Any], config: Mapping[str, Any], where: Path
) -> dict[str, Setting]:
    """Gives the settings of the encoder `image`; `size` is what the model takes.

    Args:
        held: of `read_processor`.
        config: config.json of the model; it tells the number of channels.
        where: path of the file, for messages.

    Raises:
        ModelError: for a step that the encoder does not take.
    """
    _refuse_other_steps(held, where)
    settings = _geometry(held, config, where)
    settings["filter"] = _filter(held, where)
    settings["scale"] = (
        float(held.get("rescale_factor") or 1 / 255) if _does(held, "rescale") else 1.0
    )
    channels = int(config.get("num_channels", 3) or 3)
    if channels not in (1, 3):
        raise ModelError(f"the model beside {where} takes {channels} channels; allowed: 1 or 3")
    flipped = held.get("do_flip_channel_order") is True
    settings["channels"] = "grey" if channels == 1 else "bgr" if flipped else "rgb"
    if _does(held, "normalize", other=not _kind(held).startswith(UNNORMALISED)):
        for name, key in (("mean", "image_mean"), ("std", "image_std")):
            settings[name] = _constants(held.get(key), key, channels, where)
    return settings


def _does(held: Mapping[str, Any], step: str, *, other: bool = True) -> bool:
    return bool(held.get(f"do_{step}", other))


def _kind(held: Mapping[str, Any]) -> str:
    return str(held.get("image_processor_type") or held.get("feature_extractor_type") or "")


def _refuse_other_steps(held: Mapping[str, Any], where: Path) -> None:
    other = sorted(k for k, v in held.items() if k.startswith("do_") and v and k not in UNDERSTOOD)
    # EfficientNet's processor shifts pixels after scaling, and scales them twice.
    other += [name for name in ("rescale_offset", "include_top") if held.get(name)]
    if held.get("do_center_crop") and held.get("crop_pct"):
        # PoolFormer's processor resizes to more than it crops, and says so only by this fraction.
        other.append("crop_pct")
    if held.get("do_center_crop") and not _does(held, "resize"):
        other.append("do_center_crop without do_resize")
    other += [_kind(held)] if _kind(held).startswith(OWN_SIZES) else []
    if other:
        raise ModelError(
            f"{where} asks for `{other[0]}`, which the encoder for images does not do; export the "
            "model to ONNX and give that file, with images as arrays that are prepared already"
        )


def _filter(held: Mapping[str, Any], where: Path) -> str:
    number = held.get("resample", 2)
    if number not in FILTERS:
        listed = ", ".join(f"{n} ({name})" for n, name in FILTERS.items())
        raise ModelError(f"`resample` of {where} is {number!r}; allowed: {listed}")
    return FILTERS[number]


def _geometry(
    held: Mapping[str, Any], config: Mapping[str, Any], where: Path
) -> dict[str, Setting]:
    if not _does(held, "resize"):
        own = config.get("image_size")
        return {"size": _pair(own, "`image_size` of config.json", where), "fit": "crop"}
    size = held.get("size")
    short = size.get("shortest_edge") if isinstance(size, dict) else _shorter(held, where)
    if held.get("do_center_crop"):
        resize = [float(short)] if short else _pair(size, "`size`", where)
        return {
            "size": _pair(held.get("crop_size"), "`crop_size`", where),
            "fit": "crop",
            "resize": resize,
        }
    if short is None:
        return {"size": _pair(size, "`size`", where), "fit": "stretch"}
    if "crop_pct" not in held:
        raise ModelError(
            f"`size` of {where} keeps the shape of each image (`shortest_edge` without a crop), so "
            "no two images need have one size; set `do_center_crop` and `crop_size`"
        )
    if int(short) >= WHOLE:
        return {"size": [float(short)] * 2, "fit": "stretch"}
    resize = [float(int(short / float(held["crop_pct"] or 224 / 256)))]
    return {"size": [float(short)] * 2, "fit": "crop", "resize": resize}


def _shorter(held: Mapping[str, Any], where: Path) -> int | None:
    """The shorter side that a `size` of one number stands for; `None` where it is a square."""
    size, kind = held.get("size"), _kind(held)
    if not isinstance(size, int):
        return None
    if not kind and held.get("do_center_crop"):
        raise ModelError(
            f"`size` of {where} is {size}: the shorter side or a square, by the kind of processor, "
            f'which the file does not name; write {{"shortest_edge": {size}}}, or '
            f'{{"height": {size}, "width": {size}}}'
        )
    return size if kind.startswith(SHORTER) or "crop_pct" in held else None


def _pair(size: Any, name: str, where: Path) -> list[float]:
    """Height and width; lists of settings hold floats, as they do after a round trip."""
    pair = [size.get("height"), size.get("width")] if isinstance(size, dict) else size
    pair = [pair, pair] if isinstance(pair, int) else pair
    if (
        not isinstance(pair, list)
        or len(pair) != 2
        or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in pair)
    ):
        raise ModelError(f"{name} of {where} must be a height and a width; got {size!r}")
    return [float(value) for value in pair]


def _constants(values: Any, name: str, channels: int, where: Path) -> list[float]:
    many = [values] if isinstance(values, int | float) else values
    if not isinstance(many, list) or len(many) not in (1, channels):
        raise ModelError(f"`{name}` of {where} must hold {channels} numbers; got {values!r}")
    return [float(value) for value in many]
