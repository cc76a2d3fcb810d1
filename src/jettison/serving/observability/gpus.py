"""What the GPUs of this machine tell about themselves; nothing where there is none."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

from jettison.energy import NVML, NoCounter, Nvml
from jettison.serving.monitoring.readings import Reading

LONGEST_UUID = 96
"""Bytes that the driver asks for (`NVML_DEVICE_UUID_V2_BUFFER_SIZE`)."""


class _Utilization(ctypes.Structure):
    """`nvmlUtilization_t`: percent of the last moments in which it computed, or moved memory."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    """`nvmlMemory_t`: bytes."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class Gpus:
    """The NVIDIA GPUs of this machine, whoever uses them.

    A GPU that does not tell one of the numbers (divided by MIG, of an old kind, lost) lacks it: a
    missing number is never shown as 0.

    Args:
        library: name or path of the driver's library.

    Raises:
        NoCounter: if there is no driver or no GPU.
    """

    def __init__(self, library: str = NVML) -> None:
        self._nvml = Nvml(library)
        self._gpus = [
            ({"gpu": str(index), "uuid": self._uuid(handle)}, handle)
            for index, handle in enumerate(self._nvml.devices())
        ]

    def readings(self) -> Iterator[Reading]:
        """Utilization and memory of each GPU now. Takes milliseconds: not for an event loop."""
        for labels, handle in self._gpus:
            for ask in (self._utilization, self._memory):
                try:
                    told = ask(handle)
                except NoCounter:
                    continue  # It does not tell this, or not now.
                for name, value in told.items():
                    yield Reading(f"jettison_gpu_{name}", labels, value)

    def _utilization(self, handle: ctypes.c_void_p) -> dict[str, float]:
        told = _Utilization()
        self._nvml.call("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(told))
        return {"utilization_ratio": told.gpu / 100.0}

    def _memory(self, handle: ctypes.c_void_p) -> dict[str, float]:
        told = _Memory()
        self._nvml.call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(told))
        return {"memory_used_bytes": float(told.used), "memory_total_bytes": float(told.total)}

    def _uuid(self, handle: ctypes.c_void_p) -> str:
        text = ctypes.create_string_buffer(LONGEST_UUID)
        try:
            self._nvml.call("nvmlDeviceGetUUID", handle, text, ctypes.c_uint(LONGEST_UUID))
        except NoCounter:
            return ""
        return text.value.decode("ascii", "replace")


def gpu_readings(library: str = NVML) -> Callable[[], Iterator[Reading]] | None:
    """What gives the readings of the GPUs; `None` where there is no GPU."""
    try:
        return Gpus(library).readings
    except NoCounter:
        return None
