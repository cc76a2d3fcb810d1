"""What each layer of the server costs, in CPU a request, beside an empty endpoint and mosec.

    python -m benchmarks.protocol_cost        about 6 minutes
    python -m benchmarks.protocol_cost --rounds 2 --seconds 1 --no-write      a look

One model, one load, one run; every arm has one turn in each round, and servers without a turn are
stopped. Each layer does what the one before does, and one thing more. The difference of two layers is
taken within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.load.ratios import bootstrap_median
from benchmarks.load.tensors import binary_request, infer_path, json_request
from benchmarks.results_file import Row, write
from benchmarks.served import arms, layers, peers
from benchmarks.served.arms import Arm, Case, Made
from benchmarks.served.rounds import RAW, Field, Plan, Turn, play
from benchmarks.served.rows import by_arm
from benchmarks.served.servers import NotStarted, RawRunner, Recipe, Server, free_port, start
from benchmarks.serving import PEERS, SMALL, small_case
from jettison.statistics.intervals import Interval

WORK = Path(".bench/protocol_cost").absolute()
CONSTANT_BYTES = "240"

EMPTY = "empty endpoint (uvicorn, constant bytes)"
WORDS = {
    layers.CONNECTION: "our connection, constant bytes",
    layers.MESSAGES: "+ the protocol's messages read and written",
    layers.CHECK: "+ the check against the model",
    layers.BATCHER: "+ batcher and engine thread, which answers zeros",
}
WHOLE = "+ the model, counts, logs and the watch on quality: the server"
ORDER = (EMPTY, *WORDS.values(), WHOLE)
NOTES = (
    f"{SMALL}. CPU of all processes of a server, per answered request. Each layer does one thing more "
    "than the one before it; `added` is the difference of two layers within a round, and intervals "
    "are bootstrapped over rounds. mosec speaks a protocol of its own: raw bytes in and out, no names, "
    "no shapes, no check.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="What each layer of the server costs.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    turns = measured(small_case(), Plan(options.rounds, options.seconds))
    found = [row for kind in ("JSON", "raw tensors") for row in cost_rows(kind, turns)]
    for row in found:
        print(f"{row.model:12s} {row.method:62s} {row.metric:16s} {row.value:.3g} {row.unit}")
    if not options.no_write:
        write("protocol_cost", found, NOTES)


def measured(case: Case, plan: Plan) -> list[Turn]:
    """Starts every layer, plays the rounds, and ends them all."""
    WORK.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        raw = RawRunner(peers.SCRIPTS, case.environment())
        stack.callback(raw.end)
        servers: dict[str, Server] = {}
        taking_part: list[Arm] = []
        for recipe, its_arms in entries(case):
            print(f"starting {recipe.name}", flush=True)
            try:
                server = start(recipe, WORK)
            except NotStarted as error:
                print(f"{recipe.name} takes no part: {error}", flush=True)
                continue
            stack.callback(server.tree.end)
            server.tree.pause()
            servers[recipe.name] = server
            taking_part += its_arms
        return play(Field(case, servers, taking_part, raw), plan)


def entries(case: Case) -> Iterator[Made]:
    """The empty endpoint, each layer, the server, and mosec where it is installed."""
    port = free_port()
    environment = {
        **os.environ,
        "BENCH_PORT": str(port),
        "BENCH_ANSWER_BYTES": CONSTANT_BYTES,
    }
    command = [sys.executable, str(peers.SCRIPTS / "empty.py")]
    yield _made(case, EMPTY, command, environment, port)
    for layer, words in WORDS.items():
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.served.layers", layer, str(case.bundle)]
        yield _made(case, words, [*command, str(port)], dict(os.environ), port)
    recipe, ours = arms.jettison(case)
    kinds = (("JSON", ours[0]), ("raw tensors", ours[1]))
    yield (
        recipe,
        tuple(Arm(f"{kind}: {WHOLE}", recipe.name, arm.requests, None) for kind, arm in kinds),
    )
    with contextlib.suppress(peers.NotInstalled):
        yield arms.mosec(case, peers.interpreter("mosec", PEERS), WORK)


def _made(
    case: Case, name: str, command: Sequence[str], environment: dict[str, str], port: int
) -> Made:
    path = infer_path(arms.NAME)
    texts = tuple(json_request(path, row) for row in case.inputs)
    raws = tuple(binary_request(path, row) for row in case.inputs)
    recipe = Recipe(name, command, environment, Path.cwd(), port, texts[0])
    kinds = (("JSON", texts), ("raw tensors", raws))
    return recipe, tuple(Arm(f"{kind}: {name}", name, sent, None) for kind, sent in kinds)


def cost_rows(kind: str, turns: Sequence[Turn]) -> list[Row]:
    """CPU per request of each layer, and what it adds to the layer before."""
    found = by_arm(turns)
    rows: list[Row] = []
    before: list[float] = []
    for words in ORDER:
        own = [1e3 * turn.cpu_ms for turn in found[f"{kind}: {words}"]]
        busy = sum(turn.busy for turn in found[f"{kind}: {words}"])
        note = f"noisy: others used the machine in {busy} of {len(own)} turns" if busy else ""
        rows.append(_row(kind, words, "CPU a request", bootstrap_median(own), note))
        if before:
            more = [mine - theirs for mine, theirs in zip(own, before, strict=True)]
            rows.append(_row(kind, words, "added", bootstrap_median(more), note))
        before = own
    for name in ("mosec", RAW):
        if name in found:
            own = [1e3 * turn.cpu_ms for turn in found[name]]
            rows.append(_row(kind, name, "CPU a request", bootstrap_median(own), ""))
    return rows


def _row(kind: str, method: str, metric: str, found: Interval, note: str) -> Row:
    return Row(kind, method, metric, found.value, found.low, found.high, "us", found.n, note)


if __name__ == "__main__":
    main()
