"""What `make test` runs: every test, three at a time; then alone those that failed in company.

Many tests start servers, searches and browsers, and three at a time on two cores can starve one
of them past a limit that no user would meet. What fails is therefore run once more with the
machine to itself. A test that fails alone fails; one that passes alone is named at the end, so
that nobody mistakes it for a quiet run. More than `MOST` failures are no matter of the clock, and
stand as they are.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MOST = 12
ROOT = Path(__file__).resolve().parent.parent
FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"


def pytest(*words: str) -> int:
    """Runs pytest in a process of its own; returns its exit code."""
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *words], cwd=ROOT).returncode


def main() -> int:
    """Runs the tests; returns 0 where each passed, in company or alone."""
    given = sys.argv[1:]
    # pytest-xdist would start with the files of many tests, and leave those of one long test for last.
    company = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
    code = pytest(*company, "--cache-clear", "--durations=30", *given)
    if code != 1:
        return code  # All passed, or pytest itself could not go on.
    failed = sorted(json.loads(FAILED.read_text()))
    if len(failed) > MOST:
        print(f"{len(failed)} tests failed: too many to be a matter of sharing the machine")
        return code
    print(f"\n{len(failed)} failed while sharing the machine; each now runs alone:", flush=True)
    code = pytest("--last-failed", "--last-failed-no-failures", "none", *given)
    if code == 0:
        print("\nPASSED ALONE, FAILED IN COMPANY (make them sturdier):")
        print("\n".join(f"  {name}" for name in failed))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
