"""Ten sites certify one model together; rows stay where they are, and only counts travel.

    python examples/federated_certification.py outcomes.npz

`outcomes.npz` is what a certification wrote (`release/outcomes.npz`): its rows are dealt to ten sites at
random, each site counts its own, the counts are added, and the claims are compared with those of the
rows in one place. So the counts of a site travel in the open. To hide them from whoever adds them:

    python examples/federated_certification.py outcomes.npz counts.npz
    FLWR_TELEMETRY_ENABLED=0 flower/bin/python examples/federated_secagg_plus.py counts.npz summed.npz
    python examples/federated_certification.py outcomes.npz counts.npz summed.npz

The first line writes the sites' counts, the second (flower, in an environment of its own) adds them
under SecAgg+, the third judges that sum.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from pathlib import Path

import numpy as np

from jettison.trust.federated import count_site, pooled, summed
from jettison.trust.judging import conclude
from jettison.trust.outcomes import GroupColumn, Outcomes, load_outcomes

SITES = 10


def part(outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
    """Some rows of a certification, as if a site had them alone."""
    return dataclasses.replace(
        outcomes,
        n=len(rows),
        baseline={m: v[rows] for m, v in outcomes.baseline.items()},
        candidates={r: {m: v[rows] for m, v in c.items()} for r, c in outcomes.candidates.items()},
        groups=tuple(GroupColumn(c.names, c.codes[rows]) for c in outcomes.groups),
    )


def main(path: Path, written: str = "", added: str = "") -> int:
    """Gives 0 if the sites' counts lead to the claims of the pooled rows.

    Args:
        path: outcomes of a certification.
        written: file that gets the counts of each site; empty for none.
        added: file with their sum, which is then judged; empty to add them here.
    """
    whole = load_outcomes(path)
    tested = tuple(m for m in whole.rules.members if m.recipe in whole.candidates)
    whole = dataclasses.replace(whole, rules=dataclasses.replace(whole.rules, members=tested))
    cells = tuple(itertools.product(*(column.names for column in whole.groups)))
    home = np.random.default_rng(0).integers(0, SITES, whole.n)
    told = [count_site(part(whole, np.flatnonzero(home == s)), cells) for s in range(SITES)]
    for number, site in enumerate(told, 1):
        print(
            f"site {number}: sends {site.counts.size} whole numbers, for {site.counts[0, 0].sum()} rows"
        )
    titles = {member.recipe: member.recipe[:12] for member in tested}
    if written and not added:
        np.savez(written, counts=np.stack([site.counts for site in told]))
    total = summed(told)
    if added:
        with np.load(added) as file:
            total = dataclasses.replace(total, counts=file["counts"])
    together, alone = conclude(pooled(total), titles), conclude(whole, titles)
    for claim in together.tested[0].claims:
        print(
            f"{claim.metric} of {claim.group}: {claim.verdict} (n = {claim.n}, p = {claim.p_value})"
        )
    print(f"the same as with all rows in one place: {together == alone}")
    return 0 if together == alone else 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), *sys.argv[2:4]))
