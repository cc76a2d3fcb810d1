"""Work of others during a turn is seen."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.load.neighbours import Neighbours


def test_a_process_of_others_makes_a_turn_busy() -> None:
    """Something that we don't run computes all the time."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        neighbours = Neighbours(lambda: 0.0)
        time.sleep(1.0)
        assert neighbours.busy()
    finally:
        other.kill()
        other.wait()
