"""The loader `scikit_learn`: a .skops file, a pickle that the user trusts, or a live estimator."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.encoder import Encoder, Setting
from jettison.domain.extension_points import Source
from jettison.domain.model import Artifact, Model
from jettison.domain.rows import Array
from jettison.errors import ModelError
from jettison.graphs.sklearn_pipeline import (
    EstimatorFacts,
    answer_of,
    facts_of,
    table_of,
    takes_missing,
)
from jettison.graphs.sklearn_store import MODEL_FILE, open_skops, save_skops
from jettison.numerics.made_up_inputs import made_up_inputs

PICKLES = frozenset({".pkl", ".pickle", ".joblib"})


class ScikitLearnLoader:
    """Loads a scikit-learn classifier or regressor, alone or at the end of a pipeline."""

    name: ClassVar[str] = "scikit_learn"

    def claims(self, source: Source) -> bool:
        """Claims .skops, .pkl, .pickle and .joblib files, and live scikit-learn estimators."""
        if source.live is not None:
            return any(c.__module__.startswith("sklearn.") for c in type(source.live).__mro__)
        path = Path(source.location)
        return path.is_file() and path.suffix.lower() in PICKLES | {".skops"}

    def load(self, source: Source, folder: Path) -> Model:
        """Reads and describes an estimator, and keeps it as a skops file.

        Raises:
            ModelError: for a pickle that was not declared trusted, types that are not
                scikit-learn's, damaged files, and estimators that are not fitted or supported.
        """
        path = Path(source.location)
        if source.live is not None:
            save_skops(source.live, folder)
        elif path.suffix.lower() in PICKLES:
            save_skops(_unpickle(path, source), folder)
        else:
            open_skops(path)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / MODEL_FILE)
        # What was written is what will be served: it is described from there.
        estimator = open_skops(folder / MODEL_FILE)
        facts = facts_of(estimator)
        if source.task and source.task != facts.task:
            raise ModelError(
                f"the scikit-learn estimator is for {facts.task}, but `model.task` says "
                f"`{source.task}`: correct it or leave it out"
            )
        traits = {"sklearn"} | ({"trees"} if facts.trees else set())
        return Model(
            artifact=Artifact.of("sklearn_skops", folder, (MODEL_FILE,)),
            traits=frozenset(traits),
            inputs=facts.inputs,
            outputs=(facts.output,),
            prediction=facts.output.name,
            task=facts.task,
            encoder=_encoder(estimator, facts),
        )


def _unpickle(path: Path, source: Source) -> Any:
    if source.options.get("trust_pickle") is not True:
        raise ModelError(
            f"`{path}` is a pickle: opening it can run any code that its author put in. If you "
            "made it yourself, set `model.trust_pickle = true`; better, save the model as "
            "skops: skops.io.dump(model, 'model.skops')"
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # A trusted pickle may raise anything at all.
        raise ModelError(
            f"`{path}` can't be unpickled here: {type(error).__name__}: {str(error)[:300]}. It is "
            "damaged, or was made with other versions or with classes that are not installed; "
            "save the model again as skops"
        ) from error


def _encoder(estimator: Any, facts: EstimatorFacts) -> Encoder:
    settings: dict[str, Setting] = {
        "layout": "columns" if facts.as_columns else "matrix",
    }
    if facts.columns:
        settings["columns"] = list(facts.columns)
    for column, categories in facts.categories.items():
        settings[f"categories.{column}"] = list(categories)
    if facts.strict:
        settings["strict"] = list(facts.strict)
    rows = _example(facts)
    try:
        answer_of(estimator, facts, table_of(facts, rows))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"the scikit-learn estimator does not answer a made-up row: {str(error)[:300]}. It may "
            "come from another version of scikit-learn; save it again with the one installed here"
        ) from error
    missing = takes_missing(estimator, facts, rows)
    if missing:
        settings["missing"] = list(missing)
    return Encoder.of("tabular", settings, labels=facts.labels)


def _example(facts: EstimatorFacts) -> dict[str, Array]:
    names = zip(facts.inputs, facts.columns, strict=True) if facts.as_columns else ()
    known = {spec.name: facts.categories.get(column, ()) for spec, column in names}
    return made_up_inputs(facts.inputs, 2, 0, categories=known)
