"""Time spent in running a model, told apart from time spent in editing it."""

from __future__ import annotations

import pytest

from jettison.domain import running_time
from jettison.domain.running_time import counted, running


class Clock:
    """A clock that goes on by one second each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The next second."""
        self.now += 1.0
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_time.time, "monotonic", Clock())


def test_marks_add_up_and_nested_ones_count_once() -> None:
    """Two marks are two stretches; a mark inside another adds nothing."""
    with counted() as ran:
        with running(), running():
            pass
        with running():
            pass
    assert ran.seconds == 2.0


def test_a_failure_inside_is_counted() -> None:
    """Time until an exception counts, and later marks still do."""
    with counted() as ran:
        with pytest.raises(ValueError, match="no"), running():
            raise ValueError("no")
        with running():
            pass
    assert ran.seconds == 2.0


def test_without_a_listener_nothing_is_kept() -> None:
    """A mark outside counts for nobody, and not for the next who asks."""
    with running():
        pass
    with counted() as ran:
        pass
    assert ran.seconds == 0.0
