"""The server beside its peers, in one run: CPU per request, throughput, latency, ratios.

    python -m benchmarks.serving             about 25 minutes; peers are installed on the first run
    python -m benchmarks.serving --only minilm     one case; the stored rows of the other stay
    python -m benchmarks.serving --launches 1 --rounds 2 --seconds 1 --no-write      a look

Closed loops give capacity and CPU per request; every second round goes through the servers in the
reverse order, and servers without a turn are stopped (SIGSTOP). All servers are started anew a few
times: where the pages of a process lie in memory makes one launch of the same program a tenth
quicker than another. Goals stand in `GOALS` before the first run. Cases that are lost stay in.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.load.recording import Load, samples_needed
from benchmarks.results_file import Row, stored_rows, write
from benchmarks.served import arms, models, peers, rows
from benchmarks.served.arms import Arm, Array, Case, Made
from benchmarks.served.rounds import RAW, Field, Plan, Turn, check_answers, offer, play
from benchmarks.served.servers import NotStarted, RawRunner, Server, start

WORK = Path(".bench/serving").absolute()
PEERS = Path(".bench/peers").absolute()
ROWS = 64
IDLE_SECONDS = 5.0
OPEN_SHARE = 0.6
OPEN_MOST_PER_SECOND = 300.0
"""Generator and server share two cores: beyond it the generator is late by more than a small model
takes to answer."""
OPEN_LONGEST_SECONDS = 40.0

MINILM = "MiniLM, 32 tokens, 8 clients, batches of at most 8"
SMALL = "MLP 64-256-256-8, 32 clients, batches of at most 32"
ONLY = {MINILM: "minilm", SMALL: "small"}
JSON_EMPTY, BINARY_EMPTY = "empty endpoint, JSON sizes", "empty endpoint, binary sizes"
CEILING = "two constant bytes (ceiling of the generator)"
GOALS = (
    f"Goals, fixed before the first run. {MINILM}: answers/s at least 0.95 of raw in-process "
    "batches, and not below mosec beyond the interval.",
    f"{SMALL}: at least 0.70 of the empty endpoint, and 0.8 of mosec.",
    "CPU while idle below 1 %; ready within 5 s over model load.",
)
PROTOCOL = (
    "One machine; server and load generator share its cores. Every arm has one turn in each round, "
    "and all servers are started anew for every launch; intervals are bootstrapped over the rounds of "
    "all launches. CPU is that of all processes of a server. "
    "In ratios, above 1 is better for the method named. Answers/s near the generator's ceiling are "
    "the generator's, not the server's: CPU per request is the fair figure there.",
)


def main() -> None:
    options = _options()
    plan = Plan(options.rounds, options.seconds)
    found: list[Row] = []
    for title, case in ((MINILM, minilm_case), (SMALL, small_case)):
        if options.only in (None, ONLY[title]):
            found += compare(case(), plan, options.launches)
        elif not options.no_write:
            found += [row for row in stored_rows("serving") if row.model == title]
    for row in found:
        if "closed loop" not in row.metric:
            shown = "none" if row.value is None else f"{row.value:.4g}"
            ends = "" if row.low is None else f"[{row.low:.4g}, {row.high:.4g}]"
            print(f"{row.model[:6]} {row.method:28s} {row.metric:44s} {shown} {ends} {row.note}")
    if not options.no_write:
        versions = ", ".join(f"{n} {peers.version_of(n, PEERS)}" for n in peers.PACKAGES)
        write("serving", found, (*GOALS, *PROTOCOL, f"Peers: {versions}."))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares servers in one run.")
    parser.add_argument("--launches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="of each launch")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", choices=tuple(ONLY.values()))
    parser.add_argument("--no-write", action="store_true")
    return parser.parse_args()


def minilm_case() -> Case:
    place = WORK / "minilm"
    model = models.kept(place / "model.json", lambda: models.minilm_model(place / "parts"))
    models.bundle_of(model, place / "bundle", (1, 8))
    inputs = models.minilm_inputs(model, ROWS)
    path = model.artifact.path
    return Case(MINILM, path, place / "bundle", inputs, "embedding", models.TOKENS, 8, 8, 5.0)


def small_case() -> Case:
    place = WORK / "small"
    model = models.network_model(place / "model", models.Network())
    models.bundle_of(model, place / "bundle", (1, 8, 32))
    inputs = models.network_inputs(ROWS)
    path = model.artifact.path
    return Case(SMALL, path, place / "bundle", inputs, "scores", models.FEATURES, 32, 32, 1.0)


def compare(case: Case, plan: Plan, launches: int) -> list[Row]:
    """Launches every server of a case a few times, and plays the rounds of each launch."""
    turns: list[Turn] = []
    found: list[Row] = []
    for launch in range(launches):
        own = dataclasses.replace(plan, seed=launch)
        played, more = _launched(case, own, last=launch + 1 == launches)
        found += [row for row in more if row not in found]
        first = launch * plan.rounds
        turns += [dataclasses.replace(turn, number=first + turn.number) for turn in played]
    whole = launches * plan.rounds
    turns = [turn for own in rows.by_arm(turns).values() if len(own) == whole for turn in own]
    made = rows.arm_rows(case.title, turns)
    made += rows.ratio_rows(case.title, turns, _references(case, turns))
    return made + found


def _launched(case: Case, plan: Plan, *, last: bool) -> tuple[list[Turn], list[Row]]:
    """Starts every server, plays some rounds, and ends them all.

    Returns:
        The turns; and who is missing, with the rows that only the last launch gives.
    """
    missing: list[Row] = []
    with contextlib.ExitStack() as stack:
        raw = RawRunner(peers.SCRIPTS, case.environment())
        stack.callback(raw.end)
        expected = _expected(case)
        servers: dict[str, Server] = {}
        taking_part: list[Arm] = []
        for made in _entries(case, expected[0].size, missing):
            _enter(case, made, servers, taking_part, missing, stack)
        for server in servers.values() if last else ():
            server.measure_idle(IDLE_SECONDS)
        field = Field(case, servers, taking_part, raw)
        wrong = check_answers(field, expected)
        missing += [rows.missing_row(case.title, name, why) for name, why in wrong.items()]
        right = [arm for arm in taking_part if arm.name not in wrong]
        field = Field(case, servers, right, raw)
        turns = play(field, plan)
        if not last:
            return turns, missing
        return turns, [*_open_loops(field, turns), *rows.server_rows(case.title, field), *missing]


def _enter(
    case: Case,
    made: Made,
    servers: dict[str, Server],
    taking_part: list[Arm],
    missing: list[Row],
    stack: contextlib.ExitStack,
) -> None:
    recipe, its_arms = made
    print(f"starting {recipe.name}", flush=True)
    try:
        server = start(recipe, WORK)
    except NotStarted as error:
        missing.append(rows.missing_row(case.title, recipe.name, f"not started: {error}"))
        return
    stack.callback(server.tree.end)
    server.tree.pause()
    servers[recipe.name] = server
    taking_part += its_arms


def _entries(case: Case, outputs: int, missing: list[Row]) -> Iterator[Made]:
    """Everything that can be started here."""
    small = case.title == SMALL
    recipe, ours = arms.jettison(case)
    wanted = ("JSON", "binary") if small else ("binary", "gRPC")
    chosen = tuple(arm for arm in ours if arm.name.endswith(wanted))
    yield recipe, chosen
    if not small:
        yield arms.holding(case)
    else:
        by_name = {arm.name: arm.requests for arm in ours}
        # About 10 characters per JSON number, 4 bytes per binary one, and a header.
        yield arms.empty(case, JSON_EMPTY, by_name["jettison, HTTP JSON"], 160 + 10 * outputs)
        yield arms.empty(case, BINARY_EMPTY, by_name["jettison, HTTP binary"], 200 + 4 * outputs)
        yield arms.ceiling(case, CEILING, by_name["jettison, HTTP binary"])
    for name, make in arms.PEERS.items():
        try:
            python = peers.interpreter(name, PEERS)
        except peers.NotInstalled as error:
            missing.append(rows.missing_row(case.title, name, f"not installed: {error}"))
            continue
        yield make(case, python, WORK / f"{name}-{case.cap}")


def _expected(case: Case) -> list[Array]:
    """The model's output for each row, alone, from a session of our own."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(case.onnx), providers=["CPUExecutionProvider"])
    return [
        np.asarray(session.run([case.output], dict(row))[0], np.float32).ravel()
        for row in case.inputs
    ]


def _references(case: Case, turns: Sequence[Turn]) -> dict[str, tuple[str, ...]]:
    names = rows.by_arm(turns)
    if case.title == MINILM:
        return {name: (RAW, "mosec") for name in names if name != RAW}
    binary = ("jettison, HTTP binary", "mosec")
    return {
        name: (BINARY_EMPTY if name in binary else JSON_EMPTY, "mosec")
        for name in names
        if name not in (RAW, JSON_EMPTY, BINARY_EMPTY, CEILING)
    }


def _open_loops(field: Field, turns: Sequence[Turn]) -> list[Row]:
    """Poisson arrivals at 60 % (or less) of what the slower of ours and mosec can do."""
    capacity = {
        n: statistics.median(t.per_second for t in o) for n, o in rows.by_arm(turns).items()
    }
    names = [n for n in ("jettison, HTTP binary", "mosec") if n in capacity]
    if len(names) < 2:
        return []
    rate = min(OPEN_SHARE * min(capacity[name] for name in names), OPEN_MOST_PER_SECOND)
    seconds = min(1.2 * samples_needed(0.99) / rate, OPEN_LONGEST_SECONDS) / 2 + 1.0
    by_name = {arm.name: arm for arm in field.arms}
    batch_ms = 1e3 * statistics.median(float(t.latency[0]) for t in turns if t.arm == RAW)
    loads: dict[str, list[Load]] = {name: [] for name in names}
    for seed, name in enumerate((*names, *reversed(names))):
        loads[name].append(offer(field, by_name[name], rate, seconds, seed))
    found: list[Row] = []
    for name in names:
        found += rows.open_rows(field.case.title, name, loads[name], rate, batch_ms)
    return found


if __name__ == "__main__":
    main()
