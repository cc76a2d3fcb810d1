"""The export `triton`: a model repository for NVIDIA Triton's ONNX Runtime backend.

What Triton makes of each field was read in its sources (core 2026-06, onnxruntime_backend
2026-06); where that decides something, a comment says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jettison.domain.exports import ExportJob, ExportSetting
from jettison.domain.model import TensorSpec
from jettison.errors import UsageError
from jettison.export.bundle_copy import copy_check, copy_papers, standing
from jettison.export.protobuf_text import Block, comment, quoted, rendered
from jettison.graphs.onnx_graph import tensor_specs

LABELS = "labels.txt"
VERSION = 1

DATATYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16",
    "str": "TYPE_STRING",
}

QUEUED_BATCHES = 16
"""Batches that may wait where the model's speed was not measured."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How many rows Triton may put into one call.

    Attributes:
        rows: `max_batch_size`; 0 means that the first axis is an ordinary one.
        reason: why, one sentence.
    """

    rows: int
    reason: str


class Triton:
    """A model repository for Triton: config.pbtxt, the ONNX files, certificate and card."""

    name: ClassVar[str] = "triton"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx"})
    settings: ClassVar[Mapping[str, ExportSetting]] = {
        "instances": ExportSetting(1, "copies of the model that run at the same time"),
        "deadline_ms": ExportSetting(5000, "milliseconds that a request may wait in the queue"),
        "max_queue_size": ExportSetting(
            0,
            "requests that may wait; 0 takes the rows that are answered within the deadline",
            lowest=0,
        ),
    }

    def write(self, job: ExportJob, folder: Path) -> tuple[str, ...]:
        """Writes `<name>/config.pbtxt`, `<name>/1/model.onnx` and its data, and the papers."""
        inputs, outputs = _graph_specs(job)
        place = folder / job.name
        _copy_model(job, place / str(VERSION))
        labelled = _labelled(job, outputs)
        if labelled:
            (place / LABELS).write_text("\n".join(job.model.encoder.labels) + "\n", "utf-8")
        (place / "config.pbtxt").write_text(_config(job, inputs, outputs, labelled), "utf-8")
        copy_papers(job, place)
        check = copy_check(job, folder)
        (folder / "README.md").write_text(_readme(job, check), "utf-8")
        return (
            "tritonserver --model-repository=<this folder> --disable-auto-complete-config",
            f"{check}  # before you rely on it: this was written without a Triton at hand",
        )


def _graph_specs(job: ExportJob) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs with the shapes that the graph itself states: Triton compares with these.

    An output of a bundle may be known better, from running it; Triton refuses that too.
    """
    inputs, outputs = tensor_specs(job.model.artifact.path)
    stated = {spec.name: spec for spec in (*inputs, *outputs)}
    for spec in (*job.model.inputs, *job.model.outputs):
        found = stated[spec.name]
        if len(found.shape) != len(spec.shape):
            raise UsageError(
                f"`{spec.name}` of {job.model.artifact.path} has {len(spec.shape)} dimensions, but "
                "the graph doesn't say so, and Triton then takes it for a single value: run "
                "onnx.shape_inference.infer_shapes on the original, save it, and optimise that"
            )
        if found.dtype not in DATATYPES:
            raise UsageError(
                f"`{spec.name}` of {job.model.artifact.path} is {found.dtype}, which Triton does "
                f"not carry (it takes {', '.join(DATATYPES)}): cast it inside the graph"
            )
    return (
        [stated[spec.name] for spec in job.model.inputs],
        [stated[spec.name] for spec in job.model.outputs],
    )


def _copy_model(job: ExportJob, target: Path) -> None:
    """Copies the graph (`model.onnx`) and its external data, whose name stands in the graph."""
    artifact = job.model.artifact
    for name in artifact.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(artifact.folder) / name, target / name)


def _labelled(job: ExportJob, outputs: Sequence[TensorSpec]) -> str:
    """The output whose second axis are the named classes; empty if there is none."""
    labels = job.model.encoder.labels
    told = {spec.name: spec for spec in job.model.outputs}
    for spec in outputs:
        shape = told[spec.name].shape
        named = labels and shape[1:] == (len(labels),) and all(n.isprintable() for n in labels)
        if named and spec.name == job.model.prediction:
            return spec.name
    return ""


def batching(job: ExportJob, specs: Sequence[TensorSpec]) -> Batching:
    """How many rows a call may hold: never more than the certificate covers."""
    stuck = [spec.name for spec in specs if not isinstance(spec.shape[0], str)]
    if stuck:
        return Batching(
            0,
            f"The graph fixes the first axis of `{stuck[0]}`, so that axis is no batch for Triton: "
            "a request holds one row, and rows of two requests are never put together.",
        )
    if job.one_by_one:
        # Not 0: where Triton completes a configuration, it turns 0 into its default batch of 4.
        why = (
            "rows that share a batch change each other's answers"
            if "batch-dependent" in job.model.traits
            else "the graph answers one row at a time"
        )
        return Batching(1, f"One row a call, as it was certified: {why}.")
    largest = job.largest_batch
    return Batching(largest, f"The largest batch of the certified serving profile is {largest}.")


def _config(
    job: ExportJob, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], labelled: str
) -> str:
    batch = batching(job, [*inputs, *outputs])
    lines = [
        *comment(f"{job.name}: jettison bundle {job.manifest.digest}"),
        *(line for sentence in standing(job) for line in comment(sentence)),
        "",
        f"name: {quoted(job.name)}",
        'platform: "onnxruntime_onnx"',
        'backend: "onnxruntime"',
        f"default_model_filename: {quoted(job.model.artifact.files[0])}",
        *comment("Another version in this folder is not served until it is named here."),
        *rendered(Block("version_policy", Block("specific", f"versions: [ {VERSION} ]"))),
        "",
        *comment(batch.reason),
        f"max_batch_size: {batch.rows}",
        *_scheduling(job, batch),
        *rendered(
            Block("instance_group", f"count: {job.whole('instances')}", "kind: KIND_CPU"),
        ),
        *_threads(job),
        "",
    ]
    for spec in inputs:
        lines += rendered(Block("input", *_tensor(spec, batch, row_alone=True)))
    for spec in outputs:
        label = [f"label_filename: {quoted(LABELS)}"] if spec.name == labelled else []
        lines += rendered(Block("output", *_tensor(spec, batch, row_alone=False), *label))
    lines += rendered(_parameter("jettison_bundle", job.manifest.digest))
    lines += rendered(_parameter("jettison_certificate", job.certificate.status))
    return "\n".join(lines) + "\n"


def _tensor(spec: TensorSpec, batch: Batching, *, row_alone: bool) -> list[str]:
    """Name, type and dims: without the batch axis where Triton batches, with it where not."""
    sizes = [size if isinstance(size, int) else -1 for size in spec.shape]
    if batch.rows:
        dims = sizes[1:]
    else:
        # A free first axis would let one request bring any number of rows.
        dims = [1, *sizes[1:]] if row_alone else sizes
    lines = [
        f"name: {quoted(spec.name)}",
        f"data_type: {DATATYPES[spec.dtype]}",
        f"dims: [ {', '.join(str(size) for size in dims or [1])} ]",
    ]
    # Triton has no empty dims: a tensor of shape (rows,) is (rows, 1) for its callers.
    return lines if dims else [*lines, "reshape: { shape: [ ] }"]


def _scheduling(job: ExportJob, batch: Batching) -> list[str]:
    """Work-conserving: what waits when an instance is free is taken, and nothing waits for mates.

    Also where one row is a batch: the queue's bound and deadline exist only in this block.
    """
    bound, told = _queue_bound(job, max(1, batch.rows))
    policy = Block(
        "default_queue_policy",
        "timeout_action: REJECT",
        f"default_timeout_microseconds: {job.whole('deadline_ms') * 1000}",
        "allow_timeout_override: true",
        f"max_queue_size: {bound}",
    )
    return [
        *comment(told),
        *rendered(
            Block(
                "dynamic_batching",
                "max_queue_delay_microseconds: 0",
                "preserve_ordering: false",
                "priority_levels: 2",
                "default_priority_level: 2",
                policy,
            )
        ),
    ]


def _queue_bound(job: ExportJob, size: int) -> tuple[int, str]:
    """Requests that may wait, and where the number comes from."""
    asked, deadline = job.whole("max_queue_size"), job.whole("deadline_ms")
    if asked:
        return asked, f"At most {asked} requests wait: asked for when this was exported."
    estimate = job.measured.get("latency_ms", f"batch={size}") if job.measured else None
    if estimate is None or not estimate.value:
        bound = size * QUEUED_BATCHES
        return bound, (
            f"The model's speed was not measured: at most {QUEUED_BATCHES} full batches wait. Set "
            "it to the rows that are answered within the timeout."
        )
    bound = max(size, int(deadline / estimate.value) * job.whole("instances"))
    return bound, (
        f"A row took {estimate.value:.4g} ms in batches of {size} when it was certified: about "
        f"{bound} are answered within {deadline} ms, and no more may wait."
    )


def _threads(job: ExportJob) -> list[str]:
    serving = job.serving
    spin = (
        comment(
            "Triton's backend has no switch for spinning, which was off when this was certified: "
            "idle threads burn CPU time here."
        )
        if serving.threads > 1 and not serving.spinning
        else []
    )
    return [
        *comment("As certified: threads of one call, operators one after the other."),
        *rendered(_parameter("intra_op_thread_count", str(serving.threads))),
        *rendered(_parameter("inter_op_thread_count", "1")),
        *rendered(_parameter("execution_mode", "0")),
        *spin,
    ]


def _parameter(key: str, value: str) -> Block:
    return Block(
        "parameters", f"key: {quoted(key)}", Block("value", f"string_value: {quoted(value)}")
    )


def _readme(job: ExportJob, check: str) -> str:
    facts = "\n".join(f"- {sentence}" for sentence in standing(job))
    return (
        f"# Triton model repository: {job.name}\n"
        f"Made by jettison from the bundle `{job.manifest.digest}`.\n\n{facts}\n\n"
        "```\ntritonserver --model-repository=. --disable-auto-complete-config\n"
        f"{check}\n```\nThe second line asks the probes of the bundle and compares the answers: do "
        "it before you rely on the server, which was not at hand when this was written.\n"
        "Triton takes what the network takes: text is tokenised, and rows are encoded, by the "
        f"caller.\n`{job.name}/` holds the certificate, the model card and the bundle's manifest.\n"
    )
