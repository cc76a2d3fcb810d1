"""The evidence of a monitor as bytes: what its tests have seen, and of which bundle it is."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from jettison.serving.monitoring.monitor import QualityMonitor, TestKey
from jettison.statistics.betting import BettingState

KIND = "jettison evidence"
FORMAT = 1
ARRAYS = ("counts", "starts", "before")


class UnusableEvidence(Exception):
    """Bytes that are not the evidence of this monitor; the message says why."""


def snapshot(monitor: QualityMonitor) -> dict[str, Any]:
    """A copy of the evidence of a monitor, which `encode` may write on another thread."""
    tests = [
        {"key": list(key), **dataclasses.asdict(test.state())}
        for key, test in monitor.tests().items()
    ]
    watched = monitor.watched
    return {"model": watched.name, "bundle": watched.digest, "tests": tests}


def encode(evidence: Mapping[str, Any]) -> bytes:
    """The bytes of a snapshot: JSON, with a hash of what matters."""
    inside = orjson.dumps(evidence, option=orjson.OPT_SERIALIZE_NUMPY)
    head = {"kind": KIND, "format": FORMAT, "sha256": hashlib.sha256(inside).hexdigest()}
    return orjson.dumps({**head, "evidence": orjson.Fragment(inside)})


def resume(monitor: QualityMonitor, data: bytes) -> None:
    """Lets a monitor go on from the evidence that was kept.

    Args:
        monitor: that has seen nothing yet.
        data: that `encode` gave.

    Raises:
        UnusableEvidence: if it is damaged, of another format, or about another bundle; the monitor
            is as it was.
    """
    try:
        states = _states(monitor, data)
        tests = {key: test for key, test in monitor.tests().items() if key in states}
        for key, test in tests.items():
            test.check(states[key])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnusableEvidence(f"it is damaged: {error}") from error
    for key, test in tests.items():
        test.resume(states[key])


def _states(monitor: QualityMonitor, data: bytes) -> dict[TestKey, BettingState]:
    told = orjson.loads(data)
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise UnusableEvidence("it is no evidence of jettison")
    if told["format"] != FORMAT:
        raise UnusableEvidence(f"it has format {told['format']}, and only {FORMAT} is known here")
    evidence = told["evidence"]
    if hashlib.sha256(orjson.dumps(evidence)).hexdigest() != told["sha256"]:
        raise UnusableEvidence("its hash is not that of its content")
    watched = monitor.watched
    for name, own in (("model", watched.name), ("bundle", watched.digest)):
        if evidence[name] != own:
            raise UnusableEvidence(f"it is about the {name} {evidence[name]}, not {own}")
    states = {_key(test): _state(test) for test in evidence["tests"]}
    # Which metrics compare with the original depends on what is installed; the claims do not.
    wanted = {key for key in monitor.tests() if key[0] != "agreement"}
    kept = {key for key in states if key[0] != "agreement"}
    if wanted != kept:
        differing = ", ".join(sorted(" ".join(key) for key in wanted ^ kept))
        raise UnusableEvidence(f"it is about other claims: {differing}")
    return states


def _key(test: Mapping[str, Any]) -> TestKey:
    kind, metric, group = test["key"]
    return kind, metric, group


def _state(test: Mapping[str, Any]) -> BettingState:
    arrays = {name: np.array(test[name], np.int64) for name in ARRAYS}
    return BettingState(
        margin=float(test["margin"]),
        alpha=float(test["alpha"]),
        resolution=int(test["resolution"]),
        total=float(test["total"]),
        log_most=float(test["log_most"]),
        **arrays,
    )
