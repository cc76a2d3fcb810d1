"""What GPUs tell: through the driver's own interface, absent where it says nothing."""

from __future__ import annotations

import asyncio
import ctypes

import pytest

from jettison.energy import NoCounter, Nvml
from jettison.serving.observability import Observability
from jettison.serving.observability.gpus import Gpus, gpu_readings
from tests.made_up_nvml import make_nvml


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that shows two GPUs; the second does not tell its utilization."""
    return str(make_nvml(tmp_path_factory.mktemp("nvml")))


def test_what_a_gpu_tells(library: str) -> None:
    """Utilization as a share, memory in bytes, under number and name; what is not told is absent."""
    told = {
        (reading.name, reading.labels["gpu"], reading.labels["uuid"]): reading.value
        for reading in Gpus(library).readings()
    }
    assert told == {
        ("jettison_gpu_utilization_ratio", "0", "GPU-1"): 0.37,
        ("jettison_gpu_memory_used_bytes", "0", "GPU-1"): 1e9,
        ("jettison_gpu_memory_total_bytes", "0", "GPU-1"): 8e10,
        ("jettison_gpu_memory_used_bytes", "1", "GPU-2"): 2e9,
        ("jettison_gpu_memory_total_bytes", "1", "GPU-2"): 8e10,
    }


@pytest.mark.parametrize(("variable", "value"), [("MADE_UP_INIT", "9"), ("MADE_UP_GPUS", "0")])
def test_a_driver_without_a_gpu(
    library: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """A driver that doesn't answer, or shows no GPU, is as none."""
    monkeypatch.setenv(variable, value)
    assert gpu_readings(library) is None
    with pytest.raises(NoCounter):
        Gpus(library)


def test_a_machine_without_a_driver_has_no_such_metrics() -> None:
    """Absent, not zero."""
    assert gpu_readings("libnvidia-ml-that-is-not-here.so.1") is None
    assert b"jettison_gpu" not in Observability().expose()[0]


def test_they_are_exposed(library: str) -> None:
    """Read anew for each scrape, on a thread or at once."""
    watch = Observability()
    readings = gpu_readings(library)
    assert readings is not None
    watch.watch_gpus(readings)
    for body, _ in (watch.expose(), asyncio.run(watch.exposed()), watch.expose()):
        lines = body.decode().splitlines()
        assert 'jettison_gpu_utilization_ratio{gpu="0",uuid="GPU-1"} 0.37' in lines
        assert sum(line.startswith("jettison_gpu_memory_used_bytes{") for line in lines) == 2


def test_the_energy_counter_is_read_through_the_same_door(library: str) -> None:
    """A handle for each GPU; an unknown number is an error with its code."""
    nvml = Nvml(library)
    handles = nvml.devices()
    assert len(handles) == 2
    with pytest.raises(NoCounter, match="NVML error 3"):
        nvml.call("nvmlDeviceGetUtilizationRates", handles[1], ctypes.c_void_p())
