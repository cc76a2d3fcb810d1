"""The panels of the dashboard: what each shows, in words and in PromQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "table", "heatmap"]

_MODEL = 'model=~"$model"'
_CALLERS = 'model=~"$model|.unknown."'
_RATE = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title, text: what a person reads; `text` opens on the small i.
        queries: legend -> PromQL.
        unit: of Grafana (`s`, `reqps`, `percentunit`, `bytes`, `watt`, `short`).
        kind: how it is drawn.
        width, height: in units of the grid, 24 wide.
    """

    title: str
    text: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8


def _quantile(share: float, name: str) -> str:
    return (
        f"histogram_quantile({share}, sum by (model, le) (rate({name}_bucket{{{_MODEL}}}{_RATE})))"
    )


def _mean(name: str) -> str:
    return (
        f"sum by (model) (rate({name}_sum{{{_MODEL}}}{_RATE})) / "
        f"sum by (model) (rate({name}_count{{{_MODEL}}}{_RATE}))"
    )


def _requests(more: str = "", by: str = "") -> str:
    grouped = f"sum by ({by}) " if by else "sum "
    return f"{grouped}(rate(jettison_requests_total{{{_CALLERS}{more}}}{_RATE}))"


def _drop(name: str) -> str:
    return f"max by (model, metric, group) (jettison_quality_{name}{{{_MODEL}}})"


_DURATION = "jettison_request_duration_seconds"
_FAILED = _requests(', code=~"5.."')
_ANSWERED = _requests(', code=~"2.."')
_CORES = f'sum (rate(process_cpu_seconds_total{{job=~"$job"}}{_RATE}))'
_JOULES = f"sum (rate(jettison_energy_joules_total{_RATE}))"

ROWS: Mapping[str, Sequence[Panel]] = {
    "Now": (
        Panel(
            "Requests",
            "All requests, answered or refused.",
            {"": _requests()},
            "reqps",
            "stat",
            4,
            5,
        ),
        Panel(
            "Failed",
            "Share of the requests with a code from 500 on.",
            {"": f"({_FAILED} or vector(0)) / {_requests()}"},
            "percentunit",
            "stat",
            4,
            5,
        ),
        Panel(
            "p99 latency",
            "Of answered requests, from first to last byte; as exact as the buckets are.",
            {"{{model}}": _quantile(0.99, _DURATION)},
            "s",
            "stat",
            4,
            5,
        ),
        Panel(
            "What is served",
            "A model whose certificate does not cover it as it is served here is `uncertified`.",
            {"": f"jettison_model_info{{{_MODEL}}}"},
            kind="table",
            width=12,
            height=5,
        ),
    ),
    "Traffic": (
        Panel(
            "Requests by code",
            "429: queue full. 503: draining or not ready. 504: the deadline passed.",
            {"{{model}} {{code}}": _requests(by="model, code")},
            "reqps",
        ),
        Panel(
            "Refused by reason",
            "`full` means that the server is at its capacity; `shape` and `malformed` that a "
            "caller is wrong.",
            {"{{reason}}": f"sum by (reason) (rate(jettison_rejected_total{{{_CALLERS}}}{_RATE}))"},
            "reqps",
        ),
        Panel(
            "Latency",
            "Of answered requests, from first to last byte.",
            {
                "{{model}} p50": _quantile(0.5, _DURATION),
                "{{model}} p95": _quantile(0.95, _DURATION),
                "{{model}} p99": _quantile(0.99, _DURATION),
            },
            "s",
        ),
        Panel(
            "Where the time goes",
            "Mean time of a request in the queue, and of a batch in the engine.",
            {
                "{{model}} queue": _mean("jettison_queue_duration_seconds"),
                "{{model}} compute": _mean("jettison_compute_duration_seconds"),
            },
            "s",
        ),
        Panel(
            "Waiting rows and their limit",
            "At the limit, requests are refused with 429.",
            {
                "{{model}} waiting": f"sum by (model) (jettison_queue_rows{{{_MODEL}}})",
                "{{model}} limit": f"sum by (model) (jettison_queue_rows_limit{{{_MODEL}}})",
                "in flight (requests)": "sum (jettison_in_flight)",
            },
        ),
        Panel(
            "Engine busy",
            "Share of the time in which a model's engine computes. Near 100 % it is at capacity.",
            {
                "{{model}} {{instance}}": "sum by (model, instance) "
                f"(rate(jettison_compute_duration_seconds_sum{{{_MODEL}}}{_RATE}))"
            },
            "percentunit",
        ),
        Panel(
            "Rows in a batch",
            "Mean of the batches that were computed, and the most that one may have.",
            {
                "{{model}} mean": _mean("jettison_batch_rows"),
                "{{model}} limit": f"max by (model) (jettison_batch_rows_limit{{{_MODEL}}})",
            },
            width=12,
        ),
        Panel(
            "Sizes of batches",
            "How many batches of each size.",
            {"{{le}}": f"sum by (le) (increase(jettison_batch_rows_bucket{{{_MODEL}}}{_RATE}))"},
            kind="heatmap",
            width=12,
        ),
    ),
    "Quality": (
        Panel(
            "Drift of the inputs",
            "How far the rows of now differ from those of the calibration, the ten largest.",
            {
                "{{model}} {{feature}}": f"topk(10, max by (model, feature) (jettison_drift_score{{{_MODEL}}}))",
            },
        ),
        Panel(
            "Agreement with the original",
            "Of the sampled requests; for a classifier the share of rows with the same label.",
            {
                "{{model}} {{metric}}": "min by (model, metric) "
                f"(jettison_quality_agreement_ratio{{{_MODEL}}})"
            },
            "percentunit",
        ),
        Panel(
            "Certified margin",
            "1: nothing speaks against it. 0: the running check on labels that came back later says "
            "that the margin does not hold any more.",
            {
                "{{model}} {{metric}} {{group}}": "min by (model, metric, group) "
                f"(jettison_quality_margin_held{{{_MODEL}}})"
            },
        ),
        Panel(
            "Drop against the original",
            "By rows whose label came back and that the original answered too; 95 % at all times. "
            "The margin is broken once even the low end lies above it.",
            {
                "{{model}} {{metric}} {{group}}": _drop("drop"),
                "{{model}} {{metric}} {{group}} low": _drop("drop_low"),
                "{{model}} {{metric}} {{group}} high": _drop("drop_high"),
                "{{model}} {{metric}} {{group}} margin": _drop("margin"),
            },
            width=12,
        ),
        Panel(
            "Labels that came back",
            "Outcomes by what became of them; only `paired` ones say something about the margin.",
            {
                "{{model}} {{result}}": f"sum by (model, result) (jettison_quality_outcomes{{{_MODEL}}})"
            },
            width=12,
        ),
    ),
    "Machine": (
        Panel(
            "CPU",
            "Cores in use, and CPU-seconds of one request.",
            {
                "cores": _CORES,
                "seconds per request": f"{_CORES} / {_requests()}",
            },
            width=6,
        ),
        Panel(
            "Memory",
            "Resident, of each server.",
            {"{{instance}}": 'process_resident_memory_bytes{job=~"$job"}'},
            "bytes",
            width=6,
        ),
        Panel(
            "Power",
            "The source says whether a counter was read (`measured:`) or not (`estimated:`).",
            {
                "{{source}}": f"sum by (source) (rate(jettison_energy_joules_total{_RATE}))",
                "{{source}} low": f"sum by (source) (rate(jettison_energy_low_joules_total{_RATE}))",
                "{{source}} high": f"sum by (source) (rate(jettison_energy_high_joules_total{_RATE}))",
            },
            "watt",
            width=6,
        ),
        Panel(
            "Requests per kWh",
            "Answered requests for 3.6 million joules, by the best value of the source.",
            {"": f"3.6e6 * {_ANSWERED} / {_JOULES}"},
            width=6,
        ),
        Panel(
            "GPU busy",
            "Share of the last moments in which a GPU computed, for whoever uses it. Empty where "
            "there is no NVIDIA GPU, or one that does not tell.",
            {"{{instance}} {{gpu}}": 'jettison_gpu_utilization_ratio{job=~"$job"}'},
            "percentunit",
            width=12,
        ),
        Panel(
            "GPU memory",
            "In use, and there, of each GPU.",
            {
                "{{instance}} {{gpu}} used": 'jettison_gpu_memory_used_bytes{job=~"$job"}',
                "{{instance}} {{gpu}} of": 'jettison_gpu_memory_total_bytes{job=~"$job"}',
            },
            "bytes",
            width=12,
        ),
    ),
}
