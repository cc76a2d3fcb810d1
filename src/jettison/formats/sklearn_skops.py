"""The format `sklearn_skops`: a scikit-learn estimator as `model.skops`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.model import Artifact
from jettison.graphs.sklearn_store import open_skops, save_skops


class SklearnSkops:
    """Opens a skops file as an estimator, trusting scikit-learn's own classes only."""

    name: ClassVar[str] = "sklearn_skops"
    trait: ClassVar[str] = "sklearn"

    def open(self, artifact: Artifact) -> Any:
        """Gives the estimator.

        Raises:
            ModelError: if the file is damaged or names a type that is not scikit-learn's.
        """
        return open_skops(artifact.path)

    def save(self, native: Any, folder: Path) -> Artifact:
        """Writes an estimator; the same estimator gives the same bytes.

        Raises:
            ModelError: if it holds something that skops can't write.
        """
        return Artifact.of(self.name, folder, (save_skops(native, folder),))
