"""config.pbtxt is read back with Triton's own schema, and says what the certificate covers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from jettison.domain.exports import ExportJob
from jettison.domain.measurement import Estimate, Measurement
from jettison.domain.model import Artifact
from jettison.errors import UsageError
from jettison.export.protobuf_text import comment, quoted
from jettison.export.triton import Triton
from jettison.machine import describe_device
from tests.unit.export.conftest import (
    FLOAT,
    INTEGER,
    TEXT,
    describe,
    job_of,
    write_graph,
)

schema = pytest.importorskip(
    "tritonclient.grpc.model_config_pb2",
    reason="NO TRITON SCHEMA: pip install 'tritonclient[grpc]'; config.pbtxt was not read back",
)

MakeJob = Callable[..., ExportJob]


def exported(job: ExportJob, folder: Path) -> Any:
    """Writes an export and gives its configuration as Triton reads it."""
    folder.mkdir()
    Triton().write(job, folder)
    return text_format.Parse(text_of(job, folder), schema.ModelConfig())


def text_of(job: ExportJob, folder: Path) -> str:
    """The configuration as written."""
    return (folder / job.name / "config.pbtxt").read_text()


def test_the_configuration_says_what_was_certified(job: MakeJob, tmp_path: Path) -> None:
    """Batch size, delay, queue, threads, version and tensors stand in Triton's own fields."""
    config = exported(job(Triton()), tmp_path / "out")
    assert (config.name, config.backend) == ("reviews", "onnxruntime")
    assert config.default_model_filename == "model.onnx"
    assert config.max_batch_size == 32
    batching = config.dynamic_batching
    assert batching.max_queue_delay_microseconds == 0
    assert (batching.priority_levels, batching.default_priority_level) == (2, 2)
    policy = batching.default_queue_policy
    assert policy.timeout_action == schema.ModelQueuePolicy.REJECT
    assert policy.default_timeout_microseconds == 5_000_000
    assert policy.allow_timeout_override
    assert policy.max_queue_size == 32 * 16
    assert list(config.version_policy.specific.versions) == [1]
    (group,) = config.instance_group
    assert (group.count, group.kind) == (1, schema.ModelInstanceGroup.KIND_CPU)
    told = {key: value.string_value for key, value in config.parameters.items()}
    assert told["intra_op_thread_count"] == "1"
    assert told["inter_op_thread_count"] == "1"
    assert told["jettison_certificate"] == "certified"
    assert len(told["jettison_bundle"]) == 64
    (entry,), (answer,) = config.input, config.output
    assert (entry.name, entry.data_type, list(entry.dims)) == ("x", schema.TYPE_FP32, [16])
    assert (answer.name, answer.data_type, list(answer.dims)) == ("scores", schema.TYPE_FP32, [4])
    assert answer.label_filename == "labels.txt"


def test_the_repository_holds_the_model_and_its_papers(
    bundle: Path, job: MakeJob, tmp_path: Path
) -> None:
    """The graph is copied byte by byte; certificate, card and manifest lie beside it."""
    exported(job(Triton()), tmp_path / "out")
    place = tmp_path / "out" / "reviews"
    graph = (place / "1" / "model.onnx").read_bytes()
    assert graph == (bundle / "model" / "model.onnx").read_bytes()
    for paper in ("certificate.json", "README.md", "manifest.json"):
        assert (place / paper).read_bytes() == (bundle / paper).read_bytes()
    assert (place / "labels.txt").read_text().split() == ["ant", "bee", "cat", "dog"]
    # Triton reads folders of the repository as models, and folders of a model as versions.
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == ["reviews"]
    assert [p.name for p in place.iterdir() if p.is_dir()] == ["1"]


def test_a_batch_dependent_model_is_served_row_by_row(
    lonely_bundle: Path, tmp_path: Path
) -> None:
    """Rows that heed their neighbours never share a call; a comment says why."""
    job = job_of(lonely_bundle, Triton())
    config = exported(job, tmp_path / "out")
    assert config.max_batch_size == 1
    assert "One row a call, as it was certified" in text_of(job, tmp_path / "out")
    # The bound and the deadline of the queue live in this block, also for single rows.
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching.default_queue_policy.max_queue_size > 0
    assert list(config.dynamic_batching.preferred_batch_size) == []


def test_a_graph_that_fixes_its_first_axis_is_no_batch(job: MakeJob, tmp_path: Path) -> None:
    """Dims then hold every axis, as Triton compares them with the graph's."""
    path = write_graph(
        tmp_path / "graph", {"image": (FLOAT, [1, 3, 8])}, {"scores": (FLOAT, [1, 3, 8])}
    )
    fixed = job(Triton(), model=describe(path, "fixed-batch"), one_by_one=True)
    config = exported(fixed, tmp_path / "out")
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [1, 3, 8]
    assert list(config.output[0].dims) == [1, 3, 8]
    assert "fixes the first axis of `image`" in text_of(fixed, tmp_path / "out")


def test_an_output_whose_first_axis_is_not_the_batch(job: MakeJob, tmp_path: Path) -> None:
    """One output of a fixed size makes batching impossible: a request then holds one row."""
    path = write_graph(
        tmp_path / "graph",
        {"x": (FLOAT, ["batch", 5]), "y": (FLOAT, ["batch", 2])},
        {"scores": (FLOAT, ["batch", 5]), "total": (FLOAT, [7, 2])},
    )
    config = exported(job(Triton(), model=describe(path)), tmp_path / "out")
    assert config.max_batch_size == 0
    assert [list(entry.dims) for entry in config.input] == [[1, 5], [1, 2]]
    assert [list(answer.dims) for answer in config.output] == [[-1, 5], [7, 2]]


def test_tensors_of_the_rows_alone_and_texts(job: MakeJob, tmp_path: Path) -> None:
    """A shape (rows,) is (rows, 1) for Triton's callers, and reshaped; text is TYPE_STRING."""
    path = write_graph(
        tmp_path / "graph",
        {"word": (TEXT, ["batch", 1]), "count": (INTEGER, ["batch"])},
        {"same": (TEXT, ["batch", 1]), "label": (INTEGER, ["batch"])},
    )
    config = exported(job(Triton(), model=describe(path)), tmp_path / "out")
    word, count = config.input
    assert (word.data_type, list(word.dims), word.HasField("reshape")) == (
        schema.TYPE_STRING,
        [1],
        False,
    )
    assert (count.data_type, list(count.dims)) == (schema.TYPE_INT64, [1])
    assert count.HasField("reshape")
    assert list(count.reshape.shape) == []
    label = config.output[1]
    assert label.HasField("reshape")
    assert list(label.reshape.shape) == []
    assert label.label_filename == ""


def test_free_axes_stay_free(text_bundle: Path, tmp_path: Path) -> None:
    """The number of tokens is -1: Triton then batches only requests of one length."""
    config = exported(job_of(text_bundle, Triton()), tmp_path / "out")
    assert [(entry.name, list(entry.dims)) for entry in config.input] == [
        ("input_ids", [-1]),
        ("attention_mask", [-1]),
    ]
    assert {entry.data_type for entry in config.input} == {schema.TYPE_INT64}
    assert not any(entry.allow_ragged_batch for entry in config.input)


def test_weights_beside_the_graph_travel(bundle: Path, job: MakeJob, tmp_path: Path) -> None:
    """External data keeps the name that stands in the graph; the exported model still answers."""
    model = job(Triton()).model
    graph = onnx.load(model.artifact.path)
    (tmp_path / "heavy").mkdir()
    onnx.save(
        graph,
        tmp_path / "heavy" / "model.onnx",
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
    )
    files = ("model.onnx", "model.onnx.data")
    heavy = dataclasses.replace(
        model, artifact=Artifact.of("onnx_file", tmp_path / "heavy", files)
    )
    exported(job(Triton(), model=heavy), tmp_path / "out")
    place = tmp_path / "out" / "reviews" / "1"
    assert sorted(p.name for p in place.iterdir()) == sorted(files)
    session = onnxruntime.InferenceSession(place / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(bundle / "probes.npz") as probes:
        (found,) = session.run(["scores"], {"x": probes["input.x"]})
        np.testing.assert_allclose(found, probes["output.scores"], rtol=1e-5)


def test_the_configuration_fits_the_graph_as_triton_compares(
    bundle: Path, text_bundle: Path, lonely_bundle: Path, tmp_path: Path
) -> None:
    """The rule of Triton's backend, followed here: free axes are -1, others equal, ranks equal."""
    for number, folder in enumerate((bundle, text_bundle, lonely_bundle)):
        job = job_of(folder, Triton())
        config = exported(job, tmp_path / f"out{number}")
        session = onnxruntime.InferenceSession(
            job.model.artifact.path, providers=["CPUExecutionProvider"]
        )
        graph = [*session.get_inputs(), *session.get_outputs()]
        for stated, written in zip(graph, [*config.input, *config.output], strict=True):
            shape = [size if isinstance(size, int) else -1 for size in stated.shape]
            dims = list(written.reshape.shape if written.HasField("reshape") else written.dims)
            assert stated.name == written.name
            assert shape == [-1, *dims]


def test_the_queue_holds_what_is_answered_in_time(job: MakeJob, tmp_path: Path) -> None:
    """With a measured speed, the rows answered within the deadline may wait, and no more."""
    estimate = Estimate("latency_ms", "batch=32", 0.5, 0.4, 0.6, 5, "ms", "lower")
    measured = Measurement("r", "claim", (estimate,), describe_device())
    timed = job(Triton(), "deadline_ms=2000", "instances=3", measured=measured)
    config = exported(timed, tmp_path / "out")
    policy = config.dynamic_batching.default_queue_policy
    assert policy.default_timeout_microseconds == 2_000_000
    assert policy.max_queue_size == 4000 * 3
    assert config.instance_group[0].count == 3
    asked = exported(job(Triton(), "max_queue_size=9"), tmp_path / "asked")
    assert asked.dynamic_batching.default_queue_policy.max_queue_size == 9


def test_an_uncertified_model_says_so(uncertified_bundle: Path, tmp_path: Path) -> None:
    """The first lines and a parameter tell that no certificate covers it."""
    job = job_of(uncertified_bundle, Triton())
    config = exported(job, tmp_path / "out")
    assert config.parameters["jettison_certificate"].string_value == "uncertified"
    assert "# UNCERTIFIED" in text_of(job, tmp_path / "out")


def test_no_text_of_a_model_becomes_a_field(job: MakeJob, tmp_path: Path) -> None:
    """Names and reasons that hold quotes, lines or braces stay names and comments."""
    odd = 'a"\n}\nmax_batch_size: 99 #\\'
    path = write_graph(
        tmp_path / "graph", {odd: (FLOAT, ["batch", 2])}, {"ü{": (FLOAT, ["batch", 2])}
    )
    plain = job(Triton())
    certificate = dataclasses.replace(
        plain.certificate, status="uncertified", reason="no rows\nmax_batch_size: 99"
    )
    labels = ("good\nbad", "x")
    model = describe(path, labels=labels)
    config = exported(dataclasses.replace(plain, model=model, certificate=certificate), tmp_path / "o")
    assert config.max_batch_size == 32
    assert (config.input[0].name, config.output[0].name) == (odd, "ü{")
    assert config.output[0].label_filename == ""


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_its_quotes(text: str) -> None:
    """Protobuf's parser reads back every text that is written as a literal."""
    config = text_format.Parse(f"name: {quoted(text)}", schema.ModelConfig())
    assert config.name == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_stays_a_comment(text: str) -> None:
    """No text breaks out of a comment."""
    config = text_format.Parse("\n".join(comment(text)), schema.ModelConfig())
    assert not config.ListFields()


def test_a_type_that_triton_lacks_is_refused(job: MakeJob, tmp_path: Path) -> None:
    """The message names the tensor, its type and what to do."""
    kind = TensorProto.COMPLEX64
    path = write_graph(
        tmp_path / "graph", {"wave": (kind, ["batch", 2])}, {"same": (kind, ["batch", 2])}
    )
    with pytest.raises(UsageError, match="`wave` of .* is complex64, which Triton does not carry"):
        Triton().write(job(Triton(), model=describe(path)), tmp_path)


def test_an_output_of_unknown_rank_is_refused(job: MakeJob, tmp_path: Path) -> None:
    """Triton would take it for a single value; the message says how to store the shape."""
    shape = helper.make_node("Shape", ["sizes"], ["rank"])
    ones = helper.make_node(
        "ConstantOfShape",
        ["rank"],
        ["shape"],
        value=helper.make_tensor("one", INTEGER, [1], [1]),
    )
    make = helper.make_node("Expand", ["x", "shape"], ["y"])
    path = write_graph(
        tmp_path / "graph",
        {"x": (FLOAT, ["batch", 2]), "sizes": (FLOAT, ["many"])},
        {"y": (FLOAT, None)},
        [shape, ones, make],
    )
    model = describe(path)
    wide = dataclasses.replace(model.outputs[0], shape=("batch", 2))
    known = dataclasses.replace(model, outputs=(wide,))
    with pytest.raises(UsageError, match="has 2 dimensions, but the graph doesn't say so"):
        Triton().write(job(Triton(), model=known), tmp_path)
