"""Run records as real runs leave them, one for each way that a run can end."""

from __future__ import annotations

import dataclasses

from jettison.domain.certificate import Certificate, Claim, LedgerPosition, Requirement, Subject
from jettison.domain.certificate import Tested as Member
from jettison.domain.configuration import (
    Configuration,
    DataSection,
    ModelSection,
    SearchSection,
)
from jettison.domain.device import Device, ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.measurement import Estimate, Measurement
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.profile import LayerCost, Profile, StageCost
from jettison.domain.recipe import (
    Advice,
    Candidate,
    Change,
    Potential,
    Recipe,
    Refusal,
    Route,
    SearchSpace,
    Step,
)
from jettison.domain.run import DataSummary, RunRecord, Trial

BATCHES = (1, 8, 32)
DEVICE = Device(
    cpu="AMD EPYC 7B13",
    architecture="x86_64",
    features=("avx2",),
    cores=2,
    memory_bytes=8_324_567_040,
    system="Linux 6.1.0",
    versions={"jettison": "0.1.0", "onnxruntime": "1.32.0", "onnx": "1.23.0", "numpy": "2.3.1"},
)
SERVING = ServingProfile(BATCHES, (0.5, 0.25, 0.25), threads=1)
RUNTIME = Step("onnx_runtime", {"optimization": "all"})

STATIC = Recipe(
    (Step("int8_static", {"calibrator": "minmax", "per_channel": True, "reduce_range": True}),),
    RUNTIME,
)
STATIC_FULL = Recipe(
    (Step("int8_static", {"calibrator": "minmax", "per_channel": True, "reduce_range": False}),),
    RUNTIME,
)
STATIC_PERCENTILE = Recipe(
    (Step("int8_static", {"calibrator": "percentile", "per_channel": True, "reduce_range": True}),),
    RUNTIME,
)
DYNAMIC = Recipe((Step("int8_dynamic", {"per_channel": True, "reduce_range": True}),), RUNTIME)
HALF = Recipe((Step("half_precision", {"keep_io": True}),), RUNTIME)
FUSED = Recipe((Step("transformer_fusion"), Step("int8_dynamic", {"per_channel": True})), RUNTIME)

GROUPS = {"type=python": 400, "type=c": 388, "type=rust": 201, "type=toml": 157, "type=diff": 41}
SIZES = {
    STATIC.digest: 1_163_904,
    STATIC_FULL.digest: 1_163_904,
    STATIC_PERCENTILE.digest: 1_164_010,
    DYNAMIC.digest: 1_102_330,
    HALF.digest: 1_604_112,
}
ORIGINAL_BYTES = 3_139_211
REQUIREMENT = Requirement(
    "accuracy", 0.01, 0.05, gated_groups=("type=c", "type=python", "type=rust", "type=toml")
)


def model(size: int = ORIGINAL_BYTES, digest: str = "0" * 64, traits: str = "float32") -> Model:
    """A model on disk that no test opens."""
    return Model(
        artifact=Artifact("onnx_file", "/models/magika", ("model.onnx",), digest, size),
        traits=frozenset({"onnx", "standard-operators", "convolution", traits}),
        inputs=(TensorSpec("bytes", "int32", ("batch", 2048)),),
        outputs=(TensorSpec("target_label", "float32", ("batch", 214)),),
        prediction="target_label",
        task="classification",
        encoder=Encoder("arrays", labels=("python", "c", "rust"), digest="e" * 64),
    )


def estimate(
    metric: str, value: float, spread: float, n: int, unit: str, group: str = "overall"
) -> Estimate:
    """An estimate with a symmetric interval."""
    better = "higher" if unit in {"ratio", "fraction"} else "lower"
    return Estimate(
        metric, group, value, value * (1 - spread), value * (1 + spread), n, unit, better
    )


def costs(gain: float, spread: float, n: int, size: int) -> list[Estimate]:
    """Latency and size with their gains, overall and per batch size."""
    found = [
        estimate("latency_ms", 11.87 / gain, spread, n, "ms"),
        estimate("latency_ms:gain", gain, spread, n, "ratio"),
        estimate("size_bytes", size, 0.0, 1, "bytes"),
        estimate("size_bytes:gain", ORIGINAL_BYTES / size, 0.0, 1, "ratio"),
    ]
    for place, batch in enumerate(BATCHES):
        here = gain * (1 + 0.04 * place)
        group = f"batch={batch}"
        found.append(
            estimate("latency_ms", 12.21 / here * (1 - 0.05 * place), spread, n, "ms", group)
        )
        found.append(estimate("latency_ms:gain", here, spread, n, "ratio", group))
    return found


def quality(value: float, n: int = 752) -> list[Estimate]:
    """Accuracy on the selection rows."""
    return [
        Estimate(
            "accuracy", "overall", value, value - 0.024, value + 0.023, n, "fraction", "higher"
        ),
        Estimate("accuracy", "type=python", value + 0.01, None, None, 74, "fraction", "higher"),
    ]


def measured(recipe: str, tier: str, estimates: list[Estimate]) -> Measurement:
    """A measurement on the machine of this file."""
    notes = ("all nodes ran on CPUExecutionProvider",) if tier == "claim" else ()
    return Measurement(recipe, tier, tuple(estimates), DEVICE, {}, notes)  # type: ignore[arg-type]


def trial(number: int, recipe: Recipe, gain: float, accuracy: float, what: str) -> Trial:
    """A complete trial."""
    size = SIZES.get(recipe.digest, 1_100_000)
    candidate = Candidate(recipe, model(size, f"{number:064d}", "int8"), (Change(what, 14, 90),))
    ranking = measured(recipe.digest, "ranking", [*costs(gain, 0.0, 1, size), *quality(accuracy)])
    return Trial(number, recipe, "complete", "", candidate, ranking, 14.2 + number, 0.31)


def claim(
    group: str, n: int, drop: float, bound: float, verdict: str, *, gates: bool = True
) -> Claim:
    """One certified (or not) drop."""
    margin = 0.01 if group == "overall" else 0.05
    return Claim(
        metric="accuracy",
        group=group,
        margin=margin,
        gates=gates,
        n=n,
        baseline=0.8731,
        candidate=0.8731 - drop,
        estimate=drop,
        bound=bound,
        p_value=0.0004 if verdict == "held" else 0.31,
        grade="A",
        method="Tango score, Berger-Boos p-value",
        verdict=verdict,  # type: ignore[arg-type]
        rows_needed=0 if verdict != "undecided" else 118,
        reason="" if verdict == "held" else f"{n} rows can't show a drop below {margin:.0%}.",
    )


CLAIMS = (
    claim("overall", 4016, -0.0024, 0.0013, "held"),
    claim("type=python", 400, 0.0025, 0.0162, "held"),
    claim("type=c", 388, -0.0052, 0.0101, "held"),
    claim("type=rust", 201, 0.0, 0.0148, "held"),
    claim("type=toml", 157, 0.0064, 0.0321, "held"),
    claim("type=diff", 41, 0.0244, 0.1114, "undecided", gates=False),
)
ASSUMPTIONS = (
    "The sealed rows are an independent sample of the files that the model will see.",
    "Labels are file extensions: they are wrong for some files.",
)
PROCEDURE = "Fixed-sequence test of a frozen shortlist; every group at the full error rate of 5 %."


def subject(recipe: Recipe) -> Subject:
    """What the certificate is about."""
    return Subject(
        artifact="a" * 64,
        encoder="e" * 64,
        recipe=recipe.digest,
        runtime=str(RUNTIME),
        threads=1,
        batch_size=32,
        batch_policy="any batch size of the serving profile",
        cpu_class=DEVICE.cpu_class,
    )


def certificate() -> Certificate:
    """A certificate that was granted."""
    return Certificate(
        status="certified",
        reason="",
        claims=CLAIMS,
        procedure=PROCEDURE,
        subject=subject(STATIC),
        order=(
            Member(STATIC_PERCENTILE.digest, str(STATIC_PERCENTILE), "held", CLAIMS),
            Member(STATIC.digest, str(STATIC), "held", CLAIMS),
        ),
        config_digest="c" * 64,
        data_digest="d" * 64,
        order_digest="f" * 64,
        ledger=LedgerPosition("/home/ada/.local/state/jettison/ledger.jsonl", 1, "1" * 64, 0.05),
        assumptions=ASSUMPTIONS,
    )


def uncertified(reason: str) -> Certificate:
    """A certificate that was not granted because the seal stayed closed."""
    return Certificate(
        "uncertified",
        reason,
        (),
        PROCEDURE,
        None,
        (),
        "c" * 64,
        "d" * 64,
        "f" * 64,
        None,
        ASSUMPTIONS,
    )


def profile() -> Profile:
    """Where the time of the original goes."""
    layers = tuple(
        LayerCost(f"/network/block_{i}/Conv", "Conv", 65_000 + i, 33_000_000 + i, 260_000 + i, s)
        for i, s in enumerate((0.31, 0.22, 0.14, 0.09, 0.05))
    )
    other = LayerCost("/network/head/MatMul", "MatMul", 54_784, 54_784, 219_136, 0.02)
    return Profile(
        DEVICE,
        SERVING,
        (
            StageCost("encode", 0.41, 0.033),
            StageCost("model", 11.87, 0.961),
            StageCost("decode", 0.07, 0.006),
        ),
        (*layers, other),
        bound=25.6,
        noise_floor=0.018,
        size_bytes=ORIGINAL_BYTES,
        notes=("Layer times come from the profiler of the runtime.",),
    )


def space() -> SearchSpace:
    """What may be tried."""
    return SearchSpace(
        routes=(Route(("int8_static",), "onnx_runtime"),),
        ranges={},
        fixed={},
        advice=(
            Advice(
                "int8_static",
                Potential(2.9, 0.27, "81 % of the time is Conv, which int8 runs up to 4x faster."),
                ("int8_static > onnx_runtime",),
            ),
            Advice(
                "int8_dynamic",
                Potential(1.03, 0.26, "2 % of the time is MatMul; Conv gets slower."),
                ("int8_dynamic > onnx_runtime",),
            ),
            Advice("half_precision", Potential(1.0, 0.5, "No fp16 units here: size only."), ()),
        ),
        refused=(
            Refusal("transformer_fusion", "The graph holds no attention."),
            Refusal("export_onnx", "`export_onnx` needs a model that is `torch`."),
        ),
    )


def trials() -> tuple[Trial, ...]:
    """One of each fate: claims, slower, lossy, failed, stopped."""
    return (
        trial(0, DYNAMIC, 0.36, 0.8724, "12 of 14 operators to int8"),
        trial(1, STATIC, 1.57, 0.8737, "14 of 14 operators to int8 per channel"),
        trial(2, STATIC_FULL, 1.61, 0.6890, "14 of 14 operators to int8 per channel"),
        trial(3, STATIC_PERCENTILE, 1.55, 0.8711, "14 of 14 operators to int8 per channel"),
        Trial(
            4,
            HALF,
            "failed",
            "onnxruntime has no float16 kernel for LayerNormalization on this CPU",
            None,
            None,
            2.4,
        ),
        Trial(
            5, FUSED, "stopped", "3.1x slower than the original after one burst", None, None, 3.3
        ),
    )


def configuration(source: str = "magika/model.onnx") -> Configuration:
    """What was asked."""
    return Configuration(
        model=ModelSection(source, task="classification"),
        data=DataSection(source="files.parquet", target="label", groups=("type",)),
        search=SearchSection(trials=12, max_minutes=5.0, shortlist=2),
        serving=SERVING,
        requirements=(REQUIREMENT,),
    )


def improved() -> RunRecord:
    """A certified improvement."""
    again = [e for e in costs(1.003, 0.018, 5, ORIGINAL_BYTES) if e.metric.startswith("latency")]
    return RunRecord(
        outcome="improved",
        answer="int8_static is 1.54x faster and 2.7x smaller, certified within 1 % of accuracy.",
        next_step="Serve the bundle in jettison-demo/release.",
        configuration=configuration(),
        model=model(),
        profile=profile(),
        space=space(),
        data=DataSummary(
            "files.parquet",
            {"fitting": 251, "selection": 752, "certification": 4016},
            GROUPS,
            113,
            "d" * 64,
            ("113 rows repeat an earlier row and were dropped.",),
        ),
        baseline=measured("", "claim", [*costs(1.0, 0.012, 5, ORIGINAL_BYTES), *quality(0.8731)]),
        trials=trials(),
        claims={
            STATIC.digest: measured(STATIC.digest, "claim", costs(1.54, 0.027, 5, 1_163_904)),
            STATIC_PERCENTILE.digest: measured(
                STATIC_PERCENTILE.digest, "claim", costs(1.52, 0.031, 5, 1_164_010)
            ),
            "baseline": measured("", "claim", costs(1.0, 0.012, 5, ORIGINAL_BYTES)),
            "a/a": measured("", "claim", again),
        },
        front=(STATIC.digest, STATIC_FULL.digest),
        shipped=STATIC.digest,
        certificate=certificate(),
        noise_floor=0.018,
        stage_seconds={"load": 1.2, "profile": 9.7, "search": 161.0, "certify": 88.4, "emit": 0.9},
        command="jettison optimize jettison.toml",
        started="2026-11-25T07:26:56Z",
        notes=("The machine stayed quiet while it was measured.",),
    )


def nothing_better() -> RunRecord:
    """The only candidate that is cheaper was broken on the sealed rows."""
    lost = (claim("overall", 4016, 0.0312, 0.0371, "broken"), CLAIMS[1])
    refused = dataclasses.replace(
        certificate(),
        status="failed",
        reason="No member of the shortlist was held.",
        claims=(),
        subject=None,
        order=(
            Member(STATIC.digest, str(STATIC), "broken", lost),
            Member(STATIC_PERCENTILE.digest, str(STATIC_PERCENTILE), "not tested"),
        ),
    )
    return dataclasses.replace(
        improved(),
        outcome="nothing_better",
        answer="Nothing beat the original: the one faster candidate loses 3.1 points of accuracy.",
        next_step="Widen max_drop to 0.04, or try calibrating on more rows.",
        shipped="",
        certificate=refused,
    )


def undecided() -> RunRecord:
    """The rows don't suffice: stopped before the seal was opened."""
    return dataclasses.replace(
        improved(),
        outcome="undecided",
        answer="Undecided: 41 sealed rows of type=diff can't show a drop below 5 %.",
        next_step='Add about 77 rows of type=diff, or set on_undecided = "ship_listed".',
        certificate=uncertified("type=diff needs about 118 sealed rows and holds 41."),
    )


def without_data() -> RunRecord:
    """No data at all: speed and size only."""
    bare = tuple(
        t
        if t.ranking is None
        else dataclasses.replace(
            t,
            ranking=dataclasses.replace(
                t.ranking,
                estimates=tuple(e for e in t.ranking.estimates if e.metric != "accuracy"),
            ),
        )
        for t in trials()
    )
    record = undecided()
    config = dataclasses.replace(record.configuration, data=DataSection(), requirements=())
    baseline = dataclasses.replace(
        record.baseline,
        estimates=tuple(e for e in record.baseline.estimates if e.metric != "accuracy"),
    )
    return dataclasses.replace(
        record,
        answer="int8_static is 1.54x faster on made-up inputs; quality is not known.",
        next_step="Give --data with labels to have it certified.",
        configuration=config,
        data=None,
        baseline=baseline,
        trials=bare,
        certificate=uncertified("There are no data to certify on."),
    )


def interrupted() -> RunRecord:
    """Ctrl-C after the second trial."""
    record = improved()
    return dataclasses.replace(
        record,
        outcome="interrupted",
        answer="Interrupted after 2 trials; the seal was not opened.",
        next_step="Run the same command again to go on.",
        trials=record.trials[:2],
        claims={},
        front=(STATIC.digest,),
        shipped="",
        certificate=uncertified("The run was interrupted before certification."),
    )


def all_failed() -> RunRecord:
    """Every trial failed, and the runtime shows no layers."""
    record = improved()
    broken = tuple(
        dataclasses.replace(
            t, state="failed", reason="a crash in native code", candidate=None, ranking=None
        )
        for t in record.trials
    )
    return dataclasses.replace(
        record,
        outcome="nothing_better",
        answer="Nothing beat the original: all 6 candidates failed.",
        next_step="Read the log.",
        profile=dataclasses.replace(record.profile, layers=(), bound=1e9),
        trials=broken,
        claims={},
        front=(),
        shipped="",
        certificate=uncertified("There was no candidate to certify."),
    )


def noisy() -> RunRecord:
    """Others used the machine while the finalists were timed."""
    record = undecided()
    spoiled = {
        digest: dataclasses.replace(
            m, estimates=tuple(dataclasses.replace(e, state="noisy") for e in m.estimates)
        )
        for digest, m in record.claims.items()
    }
    return dataclasses.replace(
        record,
        answer="The machine was too busy to tell whether any candidate is faster.",
        next_step="run again when nothing else uses this machine",
        claims=spoiled,
        shipped="",
        certificate=uncertified("no candidate is faster"),
    )


SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
MARKDOWN = "a|b`c`[d](http://evil.example) | # e\n# heading\n---\n- x: &y *z"
TEMPLATE = "{{ 7*777 }}{% for x in y %}</script><!--"


def hostile() -> RunRecord:
    """Names from a user's files that try to be code."""
    record = improved()
    claims = (
        CLAIMS[0],
        dataclasses.replace(CLAIMS[1], group=f"type={SCRIPT}"),
        dataclasses.replace(CLAIMS[2], group=f"type={MARKDOWN}"),
        dataclasses.replace(CLAIMS[3], group=f"type={IMAGE}{TEMPLATE}"),
    )
    layers = tuple(
        dataclasses.replace(layer, name=f"{SCRIPT}{layer.name}{IMAGE}{TEMPLATE}")
        for layer in record.profile.layers
    )
    source = f"models/{SCRIPT}{MARKDOWN}.onnx"
    return dataclasses.replace(
        record,
        answer=f"{SCRIPT} is faster {MARKDOWN}",
        next_step=IMAGE,
        configuration=configuration(source),
        profile=dataclasses.replace(record.profile, layers=layers, notes=(TEMPLATE,)),
        space=dataclasses.replace(record.space, refused=(Refusal(SCRIPT, MARKDOWN),)),
        data=dataclasses.replace(
            record.data or DataSummary("", {}, {}, 0, ""),
            source=f"{SCRIPT}|{MARKDOWN}",
            group_sizes={f"type={SCRIPT}{MARKDOWN}": 3},
            notes=(IMAGE, TEMPLATE),
        ),
        certificate=dataclasses.replace(
            record.certificate,
            claims=claims,
            procedure=MARKDOWN,
            assumptions=(SCRIPT, MARKDOWN, TEMPLATE),
            order=(Member(STATIC.digest, SCRIPT, "held", claims),),
        ),
        command=f"jettison optimize '{SCRIPT}' --data '{MARKDOWN}'",
        notes=(SCRIPT, MARKDOWN, IMAGE, TEMPLATE),
    )


def many_groups(count: int = 60) -> RunRecord:
    """As many groups as the demo has, with long names."""
    record = improved()
    groups = tuple(
        claim(
            f"type=a-rather-long-file-type-name-{i:03d}",
            150 + i,
            0.001 * (i % 7 - 3),
            0.012 + 0.0005 * i,
            "held",
        )
        for i in range(count)
    )
    claims = (CLAIMS[0], *groups, CLAIMS[-1])
    return dataclasses.replace(
        record,
        certificate=dataclasses.replace(
            record.certificate,
            claims=claims,
            order=(Member(STATIC.digest, str(STATIC), "held", claims),),
        ),
    )


EVERY_RECORD = {
    "improved": improved,
    "nothing_better": nothing_better,
    "undecided": undecided,
    "without_data": without_data,
    "interrupted": interrupted,
    "all_failed": all_failed,
    "noisy": noisy,
    "hostile": hostile,
    "many_groups": many_groups,
}
