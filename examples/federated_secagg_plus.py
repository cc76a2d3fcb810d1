"""Ten sites add their counts under flower's SecAgg+, so that nobody sees the counts of one site.

flower's pins conflict with jettison's, so this file runs in an environment of its own and imports
nothing of jettison:

    python -m venv flower; flower/bin/pip install "flwr[simulation]"
    FLWR_TELEMETRY_ENABLED=0 flower/bin/python examples/federated_secagg_plus.py counts.npz summed.npz

`counts.npz` holds `counts`, shape (sites, ...), whole numbers from 0 to 4,096, as
`examples/federated_certification.py` writes it with a second argument; here one file stands for the
sites' own, and ten sites are ten processes on this machine. `summed.npz` gets their sum. SecAgg+ adds fractions of 22 bits: a count has an error
below 0.002 at each site, and the sum is rounded to the whole number that it must be.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import Context, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import Grid, LegacyContext, ServerApp, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.simulation import run_simulation

LARGEST = 4096


def main(given: str, target: str) -> int:
    """Gives 0 if the sum under SecAgg+ is the sum of the counts."""
    with np.load(given) as file:
        counts = file["counts"]
    sites = len(counts)
    if counts.min() < 0 or counts.max() > LARGEST:
        raise SystemExit(f"counts must be from 0 to {LARGEST}; they are up to {counts.max()}")
    received: list[np.ndarray] = []

    class Site(NumPyClient):
        """Sends its counts, with a weight of 1."""

        def __init__(self, number: int) -> None:
            self.number = number

        def fit(self, parameters: Any, config: Any) -> tuple[list[np.ndarray], int, dict[str, Any]]:
            return [counts[self.number].astype(np.float64)], 1, {}

    class Keep(FedAvg):
        """Keeps the average that the protocol gave; it sees nothing else."""

        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            parameters, metrics = super().aggregate_fit(server_round, results, failures)
            received.append(parameters_to_ndarrays(parameters)[0])
            return parameters, metrics

    def site(context: Context) -> Any:
        return Site(int(context.node_config["partition-id"])).to_client()

    server = ServerApp()

    @server.main()
    def run(grid: Grid, context: Context) -> None:
        start = ndarrays_to_parameters([np.zeros(counts.shape[1:])])
        strategy = Keep(
            fraction_evaluate=0.0,
            min_fit_clients=sites,
            min_available_clients=sites,
            initial_parameters=start,
        )
        legacy = LegacyContext(
            context=context, config=ServerConfig(num_rounds=1), strategy=strategy
        )
        secure = SecAggPlusWorkflow(
            num_shares=5,
            reconstruction_threshold=3,
            max_weight=1.0,
            clipping_range=float(LARGEST),
        )
        DefaultWorkflow(fit_workflow=secure)(grid, legacy)

    run_simulation(
        server_app=server,
        client_app=ClientApp(client_fn=site, mods=[secaggplus_mod]),
        num_supernodes=sites,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    average = received[0]
    total = np.rint(average * sites).astype(np.int64)
    worst = float(np.abs(average * sites - total).max())
    np.savez(target, counts=total)
    same = bool((total == counts.sum(axis=0)).all())
    print(f"{sites} sites, {total.size} counts each; farthest from a whole number: {worst:.4f}")
    print(f"the sum under SecAgg+ is the sum of the counts: {same}")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
