"""Reads the energy counter of NVIDIA GPUs through jettison's own meter, idle and under load.

    PYTHONPATH=src python -m benchmarks.energy_h100 [folder for the result]

Needs torch with CUDA and NumPy; reaches NVML by ctypes, so no other package. It checks what a
"measured" label promises: the counter moves, moves more under load than idle, agrees with the
power that the driver reports, and gives the same joules per task in each repeat.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import threading
import time
from pathlib import Path

from jettison.energy import EnergySettings, Grid, best_meter, footprint

SECONDS = 5.0
REPEATS = 5
SIZE = 8192
GRID = Grid(grams_per_kwh=400.0, pue=1.2)


class PowerLog:
    """Samples the power that the driver reports, every 20 ms, of all GPUs together."""

    def __init__(self) -> None:
        self._nvml = ctypes.CDLL("libnvidia-ml.so.1")
        self._call("nvmlInit_v2")
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        self._handles = []
        for index in range(count.value):
            handle = ctypes.c_void_p()
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
            self._handles.append(handle)
        self.watts: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._nvml, name)(*arguments)
        if code:
            raise SystemExit(f"{name} gave NVML error {code}")

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            total = 0.0
            for handle in self._handles:
                milliwatts = ctypes.c_uint()
                self._call("nvmlDeviceGetPowerUsage", handle, ctypes.byref(milliwatts))
                total += milliwatts.value / 1e3
            self.watts.append(total)

    def __enter__(self) -> PowerLog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main() -> None:
    import torch

    meter = best_meter(EnergySettings(gpu=True))
    print("label:", meter.label, "reasons:", meter.reasons)
    if meter.label != "measured:nvml":
        raise SystemExit("the counter was not found or did not move: nothing was measured")
    left = torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16)
    right = torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16)

    def work(seconds: float) -> int:
        until, tasks = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            for _ in range(20):
                torch.matmul(left, right)
            torch.cuda.synchronize()
            tasks += 20
        return tasks

    work(2.0)
    time.sleep(5.0)
    before, at = meter.joules().value, time.monotonic()
    time.sleep(SECONDS)
    idle_watts = (meter.joules().value - before) / (time.monotonic() - at)
    found = []
    for _ in range(REPEATS):
        with PowerLog() as log:
            before, at = meter.joules(), time.monotonic()
            tasks = work(SECONDS)
            after, seconds = meter.joules(), time.monotonic() - at
        joules = type(after)(*(getattr(after, e) - getattr(before, e) for e in ("low", "value", "high")))
        each = footprint(meter.label, joules, tasks, GRID)
        found.append(
            {
                "tasks": tasks,
                "seconds": seconds,
                "joules": joules.value,
                "watts_by_counter": joules.value / seconds,
                "watts_by_power_readings": statistics.mean(log.watts),
                "joules_per_task": each.joules.value,
                "tasks_per_kwh": each.requests_per_kwh,
                "carbon_grams_per_task": each.carbon_grams,
            }
        )
        print(json.dumps(found[-1]))
    per_task = [one["joules_per_task"] for one in found]
    ratio = [one["watts_by_counter"] / one["watts_by_power_readings"] for one in found]
    result = {
        "device": torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "task": f"bfloat16 product of two {SIZE} x {SIZE} matrices",
        "source": meter.label,
        "grid": {"grams_per_kwh": GRID.grams_per_kwh, "pue": GRID.pue},
        "idle_watts": idle_watts,
        "repeats": found,
        "joules_per_task_median": statistics.median(per_task),
        "joules_per_task_spread": (max(per_task) - min(per_task)) / statistics.median(per_task),
        "counter_over_power_readings": statistics.median(ratio),
        "checks": {
            "load draws more than idle": min(o["watts_by_counter"] for o in found) > 1.3 * idle_watts,
            "counter and power readings agree within 10 %": all(0.9 < r < 1.1 for r in ratio),
            "repeats agree within 5 %": max(per_task) < 1.05 * min(per_task),
        },
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1], "energy_h100.json").write_text(text)


if __name__ == "__main__":
    main()
