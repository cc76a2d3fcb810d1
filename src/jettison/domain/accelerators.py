"""Accelerators: what a plug-in may ask for besides packages, and what answers on this machine.

A plug-in that needs one declares `accelerator = "cuda"`; where none answers it is not offered, and
asking for it by name is refused with the reason. The driver itself is asked, through ctypes: the
parent process must not load a framework to know.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

CUDA_DRIVER = "libcuda.so.1"
NAME_BYTES = 256


@runtime_checkable
class NeedsAccelerator(Protocol):
    """What a technique or runtime may declare besides: it runs on an accelerator only."""

    accelerator: ClassVar[str]
    """A kind in `KINDS`."""


def found(kind: str) -> tuple[str, ...]:
    """The names of the accelerators of a kind that this process may use; empty where none answers."""
    return KINDS[kind]()


def computed_on(plugin: object) -> str:
    """The accelerator that a plug-in computes on here, the first of its kind; empty for none."""
    if not isinstance(plugin, NeedsAccelerator):
        return ""
    return next(iter(found(plugin.accelerator)), "")


def lacking(plugin: object) -> str:
    """Why a plug-in can't run here for want of an accelerator; empty where it can, or needs none."""
    if not isinstance(plugin, NeedsAccelerator) or found(plugin.accelerator):
        return ""
    return (
        f"needs an accelerator of kind `{plugin.accelerator}`, and none answers on this machine "
        f"({WORDS[plugin.accelerator]})"
    )


@functools.cache
def cuda_devices(library: str = CUDA_DRIVER) -> tuple[str, ...]:
    """The GPUs that CUDA shows, under `CUDA_VISIBLE_DEVICES`, by name."""
    try:
        driver: Any = ctypes.CDLL(library)
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_cuda_name(driver, index) for index in range(count.value))


def _cuda_name(driver: Any, index: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(NAME_BYTES)
    told = driver.cuDeviceGet(ctypes.byref(device), index)
    told = told or driver.cuDeviceGetName(name, NAME_BYTES, device)
    return "an NVIDIA GPU" if told else name.value.decode("utf-8", "replace")


KINDS: Mapping[str, Callable[[], tuple[str, ...]]] = {"cuda": cuda_devices}
"""Kind -> how to find what there is of it."""

WORDS: Mapping[str, str] = {"cuda": "an NVIDIA GPU with its driver; `nvidia-smi` lists them"}
"""Kind -> what it is, in words."""
