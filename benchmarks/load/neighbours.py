"""What other work used of this machine during a turn, network interrupts left out.

A request over loopback is delivered in interrupts that /proc/stat counts for no process: at some
thousand requests a second they look like another process that takes a third of a core.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

MOST_CORES = 0.25
MOST_STEAL = 0.02


class Neighbours:
    """Measures from its making to `busy`.

    Args:
        ours: CPU seconds so far of everything that we run beside this process.
    """

    def __init__(self, ours: Callable[[], float]) -> None:
        self._ours = ours
        self._begun = self._now()

    def busy(self) -> bool:
        """Whether others used a quarter of a core, or the hypervisor took 2 % of the machine."""
        begun, now = self._begun, self._now()
        seconds = max(now[0] - begun[0], 1e-9)
        others = (now[1] - begun[1]) - (now[2] - begun[2])
        stolen = (now[3] - begun[3]) / (psutil.cpu_count() or 1)
        return others / seconds > MOST_CORES or stolen / seconds > MOST_STEAL

    def _now(self) -> tuple[float, float, float, float]:
        whole = psutil.cpu_times()
        used = whole.user + whole.nice + whole.system
        ours = self._ours() + time.process_time()
        return time.perf_counter(), used, ours, getattr(whole, "steal", 0.0)
