"""Three certified whole runs with groups and contexts, as the examples make them.

Fixed before the first run: margins, groups and contexts stand in `examples/`. What is stored is
every claim on sealed rows, losing ones too, and what the search rows said of recipes that lose.

    python -m benchmarks.shown_runs            # about 15 minutes; runs that are there are not repeated
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.results_file import Row, write
from jettison.assessment.search_rows import read_record
from jettison.domain.certificate import Claim
from jettison.domain.measurement import OVERALL
from jettison.domain.run import RunRecord

DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
RUNS = Path(".bench/shows")


def digits(folder: Path) -> None:
    from examples import spoken_digits
    from jettison import config, preparation, registry, whole_run
    from jettison.domain.progress import Silent

    spoken_digits.main(DATA / "speech", folder)
    path = folder / "jettison.toml"
    asked = config.read_configuration(path, registry.all_names())
    with preparation.run_folder(Path(asked.output)):
        whole_run.run(preparation.prepare(asked, Silent()), Silent(), certify=True)


def cifar(folder: Path) -> None:
    from examples import cifar_contexts

    cifar_contexts.main(DATA, folder)


def adult(folder: Path) -> None:
    from examples import adult_f1_auc

    adult_f1_auc.main(DATA / "tabular", folder)


MADE: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "digits": ("spoken digits, CTC with features", digits),
    "cifar": ("ResNet-20 on CIFAR-10, exact and JPEG", cifar),
    "adult": ("network on Adult", adult),
}


def rows_of(title: str, record: RunRecord) -> Iterator[Row]:
    """The answer, the claims, and what the search saw of recipes that lost."""
    yield Row(title, "run", "answer", record.answer, None, None, "", len(record.trials))
    for claim in record.certificate.claims:
        yield _claimed(title, claim)
    for trial in record.trials:
        found = trial.ranking
        for claim in record.certificate.claims:
            if found is None or claim.group != OVERALL or trial.recipe.digest == record.shipped:
                continue
            seen = found.get(claim.metric)
            if seen is not None:
                ends = (seen.value, seen.low, seen.high)
                told = f"selection rows: {claim.metric}"
                yield Row(title, str(trial.recipe), told, *ends, seen.unit, seen.n, "no claim")


def _claimed(title: str, claim: Claim) -> Row:
    bound = None if claim.bound is None else -claim.bound
    value = None if claim.estimate is None else -claim.estimate
    note = (
        f"{claim.baseline:.4f} to {claim.candidate:.4f}; margin {claim.margin:g}; grade {claim.grade}; "
        f"{claim.verdict}"
        if claim.baseline is not None and claim.candidate is not None
        else claim.verdict
    )
    name = f"change in {claim.metric}, {claim.group}"
    return Row(title, "ships", name, value, bound, None, "fraction", claim.n, note)


def main() -> None:
    rows: list[Row] = []
    for name in sys.argv[1:] or MADE:
        title, make = MADE[name]
        folder = (RUNS / name).resolve()
        if not (folder / "run/run.json").exists():
            make(folder)
        rows += rows_of(title, read_record(folder / "run"))
    if len(sys.argv) == 1:
        notes = [
            "A change of 0.01 is one point, positive is better. `low` is the worst change that the "
            "sealed rows don't exclude (one-sided 95 %); claims of a change have no upper end.",
            "One run each; sizes are exact, and no time is claimed.",
        ]
        write("shown_runs", rows, notes)


if __name__ == "__main__":
    main()
