"""Real bundles of tiny models, written by `pipeline.emit`, for every test of the server.

The certificates are made by hand: `jettison serve` checks what they are about, not how their
verdicts came about (that is `jettison verify`, which has tests of its own).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from jettison import machine
from jettison.domain.certificate import Certificate, Claim, LedgerPosition, Requirement, Subject
from jettison.domain.configuration import Configuration, DataSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.measurement import Measurement
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.profile import Profile
from jettison.domain.recipe import Candidate, Change, Recipe, SearchSpace, Step
from jettison.domain.record import digest
from jettison.domain.rows import LENGTHS, Rows
from jettison.domain.run import RunRecord, Trial
from jettison.pipeline.certify import uncertified_certificate
from jettison.pipeline.emit import Cargo, emit
from jettison.pipeline.load import load_model
from jettison.trust.ledger import Charge, Ledger
from jettison.trust.row_sets import row_set
from jettison.trust.wording import ANY_BATCH, ASSUMPTIONS, BATCH_ONE
from tests.openvino_models import converted

FEATURES = 16
CLASSES = 4
LABELS = ("ant", "bee", "cat", "dog")
WORDS = ("[PAD]", "[UNK]", "good", "bad", "film", "the", "a", "dull", "bright", "plot")
RUNTIME = Step("onnx_runtime")
BATCH_SIZES = (1, 8, 32)


@dataclass(frozen=True)
class Made:
    """How a bundle is to be made.

    Attributes:
        kind: `mlp` (input `x`, rows of 16 floats), `text` (a tokenizer and word vectors),
            `dynamic` (the `mlp` after dynamic quantization: rows heed their neighbours), or
            `openvino` (the `mlp` as OpenVINO IR).
        seed: of the weights; another seed is another version with other answers.
        hidden: width of the hidden layer of the `mlp`; a wide one takes longer.
        certified: else the bundle is `uncertified`.
        one_by_one: certified at batch size 1 only.
        batch_sizes, threads: of the serving profile.
        cpu_class: that the certificate names; empty for this machine's.
        accelerator: that the certificate names.
        probes: rows that are stored in it (8 at most).
        loaded: the original in the record is the model as the stage load leaves it (takes a
            second), so that `--original` finds it to be the same; else it is the model itself.
    """

    kind: str = "mlp"
    seed: int = 0
    hidden: int = 32
    certified: bool = True
    one_by_one: bool = False
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    threads: int = 1
    cpu_class: str = ""
    accelerator: str = ""
    probes: int = 64
    loaded: bool = False


def make_bundle(folder: Path, made: Made | None = None) -> Path:
    """Writes a bundle to `folder`; gives `folder`.

    Ledger, rows and the model itself (`model/model.onnx`) lie in `<folder>-parts` beside it.
    """
    how = made or Made()
    place = folder.with_name(f"{folder.name}-parts")
    model = make_model(place / "model", how)
    rows = make_rows(place / "rows", how)
    candidate = Candidate(
        Recipe((Step("round_weights", {"bits": 8}),), _runtime_of(how)),
        model,
        (Change("2 weights rounded to 8 bits", 2, 5000),),
    )
    serving = serving_of(how)
    configuration = Configuration(
        ModelSection(str(model.artifact.path), "classification"),
        DataSection("rows.npz", target="label"),
        serving=serving,
        requirements=(Requirement("accuracy", 0.01, 0.03),),
    )
    certificate = make_certificate(how, candidate, configuration)
    ledger = str(place / "ledger")
    if certificate.ledger is not None:
        certificate = replace(certificate, ledger=_charged(certificate, rows, ledger))
    original = load_model(configuration.model, place / "loaded") if how.loaded else model
    record = _record(original, candidate, configuration, certificate)
    emit(record, Cargo(candidate, rows), folder, ledger)
    return folder


def _charged(certificate: Certificate, rows: Rows, ledger: str) -> LedgerPosition:
    """Charges a look, as certifying would: a ledger records no bundle on a look that it lacks."""
    charge = Charge(
        certificate.config_digest,
        certificate.data_digest,
        certificate.order_digest,
        0.05,
        row_set([rows.digest]),
    )
    look = Ledger.at(ledger).charge(charge)
    return LedgerPosition(str(Ledger.at(ledger).path), look.number, look.entry, look.alpha)


def serving_of(how: Made) -> ServingProfile:
    """Equal weights over the batch sizes."""
    sizes = how.batch_sizes
    return ServingProfile(sizes, tuple(1 / len(sizes) for _ in sizes), how.threads)


def _runtime_of(how: Made) -> Step:
    return Step("openvino") if how.kind == "openvino" else RUNTIME


def make_model(folder: Path, how: Made) -> Model:
    """Writes the model of a bundle alone, as a loader would describe it."""
    folder.mkdir(parents=True, exist_ok=True)
    if how.kind == "text":
        return _text_model(folder, how.seed)
    write_mlp(folder / "model.onnx", how)
    traits = {"onnx", "standard-operators", "float32", "matmul"}
    if how.kind == "dynamic":
        _quantize(folder / "model.onnx")
        traits = {"onnx", "int8", "matmul"}
    model = Model(
        artifact=Artifact.of("onnx_file", folder, ("model.onnx",)),
        traits=frozenset(traits),
        inputs=(TensorSpec("x", "float32", ("batch", FEATURES)),),
        outputs=(TensorSpec("scores", "float32", ("batch", CLASSES)),),
        prediction="scores",
        task="classification",
        encoder=Encoder.of("arrays", {"columns": ["x"]}, labels=LABELS),
    )
    return converted(model, folder / "ir") if how.kind == "openvino" else model


def write_mlp(path: Path, how: Made) -> None:
    """Writes two dense layers with a softmax and random weights."""
    rng = np.random.default_rng(how.seed)
    weights = {
        "w1": rng.normal(size=(FEATURES, how.hidden)).astype(np.float32),
        "b1": rng.normal(size=how.hidden).astype(np.float32),
        "w2": (rng.normal(size=(how.hidden, CLASSES)) * 0.2).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h0"], name="first"),
        helper.make_node("Add", ["h0", "b1"], ["h1"], name="shift"),
        helper.make_node("Relu", ["h1"], ["h2"], name="bend"),
        helper.make_node("MatMul", ["h2", "w2"], ["logits"], name="second"),
        helper.make_node("Softmax", ["logits"], ["scores"], name="softmax", axis=-1),
    ]
    _save(path, nodes, weights, {"x": (TensorProto.FLOAT, ["batch", FEATURES])})


def make_rows(folder: Path, how: Made) -> Rows:
    """Rows that such a model meets; of very different sizes, so that a range over a batch tells."""
    folder.mkdir(parents=True, exist_ok=True)
    n = how.probes
    rng = np.random.default_rng(how.seed + 1)
    if how.kind == "text":
        return _text_rows(folder, rng, n)
    scale = np.geomspace(0.1, 3.0, max(n, 2))[:n, None]
    values = (rng.normal(size=(n, FEATURES)) * scale).astype(np.float32)
    np.save(folder / "x.npy", values)
    return Rows(str(folder), ("x",), n, {}, hashlib.sha256(values.tobytes()).hexdigest())


def make_certificate(how: Made, candidate: Candidate, configuration: Configuration) -> Certificate:
    """A certificate about the candidate, or one that says why there is none."""
    if not how.certified:
        return uncertified_certificate("a test left the seal closed", digest(configuration))
    return Certificate(
        status="certified",
        reason="",
        claims=(
            Claim(
                metric="accuracy",
                group="overall",
                margin=0.01,
                gates=True,
                n=4000,
                baseline=0.91,
                candidate=0.909,
                estimate=0.001,
                bound=0.006,
                p_value=1e-4,
                grade="A",
                method="made by a test",
                verdict="held",
            ),
        ),
        procedure="Made by a test: no rows were opened.",
        subject=Subject(
            artifact=candidate.model.artifact.digest,
            encoder=candidate.model.encoder.digest,
            recipe=candidate.recipe.digest,
            runtime=str(candidate.recipe.runtime),
            threads=how.threads,
            batch_size=1 if how.one_by_one else max(how.batch_sizes),
            batch_policy=BATCH_ONE if how.one_by_one else ANY_BATCH,
            cpu_class=how.cpu_class or machine.describe_device().cpu_class,
            accelerator=how.accelerator,
        ),
        order=(),
        config_digest=digest(configuration),
        data_digest="d" * 64,
        order_digest="0" * 64,
        ledger=LedgerPosition("ledger", 1, "e" * 64, 0.05),
        assumptions=ASSUMPTIONS,
    )


def _record(
    model: Model, candidate: Candidate, configuration: Configuration, certificate: Certificate
) -> RunRecord:
    device = machine.describe_device()
    measured = Measurement("", "claim", (), device)
    recipe = candidate.recipe
    ranking = Measurement(recipe.digest, "ranking", (), device)
    size = model.artifact.size_bytes
    return RunRecord(
        outcome="improved",
        answer="It is better.",
        next_step="",
        configuration=configuration,
        model=model,
        profile=Profile(device, configuration.serving, (), (), 1e9, 0.02, size),
        space=SearchSpace((), {}, {}, (), ()),
        data=None,
        baseline=measured,
        trials=(Trial(0, recipe, "complete", "", candidate, ranking, 1.0),),
        claims={recipe.digest: replace(measured, recipe=recipe.digest)},
        front=(recipe.digest,),
        shipped=recipe.digest,
        certificate=certificate,
        noise_floor=0.02,
        stage_seconds={"load": 1.0},
        command="jettison optimize jettison.toml",
        started="2026-01-01T00:00:00+00:00",
    )


def _quantize(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, path, weight_type=QuantType.QInt8)


def _text_model(folder: Path, seed: int) -> Model:
    """Means of word vectors, under a mask, to two classes."""
    rng = np.random.default_rng(seed)
    weights = {
        "words": rng.normal(size=(len(WORDS), 8)).astype(np.float32),
        "out": rng.normal(size=(8, 2)).astype(np.float32),
        "last": np.array([-1], dtype=np.int64),
        "second": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["vectors", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "second"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "second"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "out"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
    ]
    ragged = (TensorProto.INT64, ["batch", "tokens"])
    _save(
        folder / "model.onnx",
        nodes,
        weights,
        {"input_ids": ragged, "attention_mask": ragged},
        classes=2,
    )
    encoder = folder.with_name("encoder")
    encoder.mkdir(parents=True, exist_ok=True)
    (encoder / "tokenizer.json").write_text(json.dumps(_tokenizer()), encoding="utf-8")
    return Model(
        artifact=Artifact.of("onnx_file", folder, ("model.onnx",)),
        traits=frozenset({"onnx", "standard-operators", "float32", "matmul"}),
        inputs=(
            TensorSpec("input_ids", "int64", ("batch", "tokens")),
            TensorSpec("attention_mask", "int64", ("batch", "tokens")),
        ),
        outputs=(TensorSpec("scores", "float32", ("batch", 2)),),
        prediction="scores",
        task="classification",
        encoder=Encoder.of(
            "tokenizer",
            {"max_length": 32, "pad_id": 0, "columns": ["text"]},
            folder=encoder,
            files=("tokenizer.json",),
            labels=("bad", "good"),
        ),
    )


def _tokenizer() -> dict[str, object]:
    """A `tokenizer.json` that splits at spaces, without needing the package to write it."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(WORDS)},
            "unk_token": "[UNK]",
        },
    }


def _text_rows(folder: Path, rng: np.random.Generator, n: int) -> Rows:
    longest = 12
    lengths = rng.integers(1, longest + 1, n)
    ids = rng.integers(2, len(WORDS), (n, longest))
    mask = np.arange(longest) < lengths[:, None]
    arrays = {"input_ids": np.where(mask, ids, 0), "attention_mask": mask.astype(np.int64)}
    whole = hashlib.sha256()
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values.astype(np.int64))
        whole.update(values.tobytes())
    np.save(folder / f"{LENGTHS}.npy", lengths.astype(np.int64))
    pad = {"input_ids": 0.0, "attention_mask": 0.0}
    return Rows(str(folder), tuple(arrays), n, pad, whole.hexdigest())


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    inputs: dict[str, tuple[int, list[int | str]]],
    classes: int = CLASSES,
) -> None:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
