"""`Context`: a place or condition of use, made by a declared, seeded transformation of raw rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jettison.domain.record import Scalar

CONTEXT = "context"
"""The column of groups that contexts make: the group is `context=NAME`."""


@dataclass(frozen=True, slots=True)
class Context:
    """One table `[[contexts]]` of jettison.toml.

    Attributes:
        name: of the group, `context=NAME`.
        transform: name of a registered transformation.
        settings: of the transformation; what is absent has its default.
        columns: that are changed; empty for those that feed the model and are of its kind.
        share: of the selection and sealed rows that get a copy in this context, above 0 to 1.
        of: the group whose rows get a copy, as `column=value`; empty for all rows.
    """

    name: str
    transform: str
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    share: float = 1.0
    of: str = ""

    @property
    def group(self) -> str:
        """The group that the copies make."""
        return f"{CONTEXT}={self.name}"
