"""From what is kept of each model to one stored result, losing rows and failures included."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.cpu.choosing import CHOICE
from benchmarks.cpu.fronts import front_rows
from benchmarks.cpu.margins import MARGINS, MINUTES, SPEED_ONLY, TARGET, TRIALS
from benchmarks.cpu.records import Built, Claimed, State, kept
from benchmarks.cpu.subjects import SUBJECTS
from benchmarks.results_file import Row, stored_rows, write
from jettison.domain.measurement import OVERALL, Estimate
from jettison.machine import describe_device

TOLD = (
    "2026-11-30 and 2026-12-01. Nothing else of ours computed while searches, rankings and claims ran, but the "
    "machines were not steady: two copies of the original differ by 6 to 41 %. `BENCH_SHORT`: rows of "
    "PyTorch left out of verdicts and ranking, peers judged from the fastest on until one held, one peer in "
    "the claim beside the float runtimes, at least 3 launches of 3 or 4 rounds. Searched for 2 minutes: "
    "magika, resnet56, mobilenet-v2, fsdd-ctc; for 3: resnet20, silero-vad; for 4: efficientnet-lite0, resnet-50; for "
    "6: minilm-sst2. Magika: verdicts on 1,200 of its 3,701 rows. minilm-sst2, resnet-50 and fsdd-ctc were measured a "
    "day later, on another machine of this kind, when 8-bit weights had become an early try of dynamic "
    "int8; silero-vad and efficientnet-lite0 were searched with plain routes first, the others before.",
)
"""What a reader of the stored run must know; replace it with the next run."""

RATIO = "speed over the best peer that meets the margin"


def store() -> None:
    """Writes `results/cpu_frontier-*.json` of this kind of CPU from every model that was measured.

    Rows of models that were not, or not to the end, stay as they are stored.
    """
    # Other instructions, other winners: one result must not replace the other.
    result = f"cpu_frontier-{'vnni' if describe_device().has_int8_dot_products else 'avx2'}"
    before: dict[str, list[Row]] = {}
    for row in stored_rows(result):
        before.setdefault(row.model.partition(", ")[0], []).append(row)
    rows: list[Row] = []
    missing = []
    for name in SUBJECTS:
        state = kept(name)
        if state is not None and (state.claims or name not in before):
            rows += rows_of(state)
        else:
            rows += before.get(name, [])
        if state is None and name not in before:
            missing.append(name)
    rows += summary(rows)
    notes = [
        f"Margins, fixed before the first run: {dict(MARGINS)}; speed and size only: "
        f"{', '.join(SPEED_ONLY)}. 1 thread.",
        f"Budget of jettison's searches: {TRIALS} trials, {MINUTES:g} minutes where nothing else is "
        "said. Minutes to get there are CPU time.",
        "Rows without ms were ranked in one launch, or not timed: enough to tell that they are not "
        "the best, never to quote.",
        *TOLD,
    ]
    if missing:
        notes.append(f"Not run: {', '.join(missing)}.")
    write(result, rows, notes)


def rows_of(state: State) -> Iterator[Row]:
    # What was never timed has one table: verdicts don't hang on what it would be timed with.
    timed = [title for title in state.subject.timed if title in state.claims]
    for title in timed or [""]:
        claimed = state.claims.get(title)
        model = f"{state.subject.name}{', ' * bool(title)}{title}"
        for built in state.built:
            yield from _built_rows(model, built, state, title)
            if claimed is not None and built.name in claimed.costs:
                for e in claimed.costs[built.name]:
                    yield _estimate_row(model, built.name, e, claimed)
        if claimed is not None:
            yield from _ratio_rows(model, claimed)
        yield from front_rows(state, title, model)


def _built_rows(model: str, built: Built, state: State, title: str) -> Iterator[Row]:
    def row(metric: str, value: float | str | None, unit: str, n: int, note: str = "") -> Row:
        return Row(model, built.name, metric, value, None, None, unit, n, note)

    if built.variant is None:
        yield row("built", None, "", 0, built.note)
        return
    yield row("CPU minutes to get there", built.seconds / 60, "min", 1, built.note)
    yield row("size_bytes", float(built.variant.model.artifact.size_bytes), "B", 1)
    judged = state.judged.get(built.name)
    if judged is not None:
        margin = MARGINS[state.subject.name]
        yield row(f"{state.subject.metric} (tested rows)", judged.value, "fraction", judged.n)
        note = f"{judged.verdict} at the margin of {margin:g}"
        yield Row(
            model,
            built.name,
            f"drop of {state.subject.metric} (tested rows)",
            judged.drop,
            None,
            judged.bound,
            "fraction",
            judged.n,
            note,
        )
    gain = state.ranking.get(title, {}).get(built.name)
    claimed = state.claims.get(title)
    if gain is not None and (claimed is None or built.name not in claimed.costs):
        yield row("speed over the original (one launch)", gain, "ratio", 1)


def _estimate_row(model: str, name: str, e: Estimate, claimed: Claimed) -> Row:
    metric = e.metric if e.group == OVERALL else f"{e.metric} {e.group}"
    note = "noisy" if e.state == "noisy" else ""
    return Row(model, name, metric, e.value, e.low, e.high, e.unit, e.n, note)


def _ratio_rows(model: str, claimed: Claimed) -> Iterator[Row]:
    for name, ratios in ((CHOICE, claimed.ratios), *claimed.others.items()):
        for e in ratios:
            metric = RATIO if e.group == OVERALL else f"{RATIO}, {e.group}"
            note = f"best: {claimed.best}; {verdict(e, claimed.floor)}"
            yield Row(model, name, metric, e.value, e.low, e.high, "ratio", e.n, note)
    note = f"{claimed.conditions}{'; noisy' if claimed.busy else ''}"
    floor, n = claimed.floor, claimed.launches
    yield Row(model, "a/a", "noise floor", floor, None, None, "fraction", n, note)


def verdict(ratio: Estimate, floor: float) -> str:
    """The bar: the interval is not wholly below 1 minus the noise floor."""
    if ratio.low is None or ratio.high is None:
        return "not measured"
    if ratio.high < 1.0 - floor:
        return "slower: the bar is missed"
    return "faster" if ratio.low > 1.0 + floor else "no difference shown"


def summary(rows: Sequence[Row]) -> list[Row]:
    """The geometric mean over models of the ratio to the best peer."""
    ratios = [
        float(row.value)
        for row in rows
        if row.metric == RATIO and row.method == CHOICE and isinstance(row.value, float)
    ]
    if not ratios:
        return []
    mean = math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))
    note = f"target {TARGET:g}; over models and lengths"
    return [
        Row("all", CHOICE, f"geometric mean: {RATIO}", mean, None, None, "ratio", len(ratios), note)
    ]
