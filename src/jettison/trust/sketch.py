"""What inputs and outputs looked like when the model was fitted: `sketch.json` of a bundle.

A server compares live requests with it. It holds counts in bins and no row: edges are rounded
quantiles, a bin holds about 10 rows or more, texts are kept as hashes and only if `SHARED` rows
have them. It is at most `FEATURES` features long, whatever the model takes:

* a ragged input (tokens) is its length;
* an input of at most `ELEMENTWISE` values a row is each of its values, in order;
* a wider one (an image, a file) is mean, spread, smallest and largest value of each row;
* what is beyond `FEATURES` is left out, and counted in `left_out`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jettison.domain.files import write_atomically
from jettison.domain.jobs import SessionJob
from jettison.domain.model import Model
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import Array, Rows
from jettison.errors import CheckFailed
from jettison.statistics.drift import bin_counts, equal_mass_edges
from jettison.trust.probes import Served
from jettison.worker_client import WorkerSession

FEATURES = 64
ELEMENTWISE = 256
OUTPUT_ELEMENTS = 8
CATEGORIES = 20
SHARED = 5
"""Rows that must share a category before it is kept; rarer ones count as `none of these`."""

BINS = 20
ROWS_PER_BIN = 10
MINIMUM_ROWS = 40
ROWS = 512
FEW_VALUES = 10
"""Numbers with at most so many different values are categories: a new value is then seen."""

Reads = Literal["element", "length", "mean", "spread", "smallest", "largest", "class", "top"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One number or word that is read off each row.

    Attributes:
        name: as it is shown.
        tensor: model input or output.
        reads: `element` number `place` of the row laid flat; `length` up to the last value that
            is not `pad`; `mean`, `spread` (standard deviation), `smallest`, `largest` of the
            row; `class` the place of the largest score, `top` that score.
        place: for `element`.
        pad: for `length`.
    """

    name: str
    tensor: str
    reads: Reads = "element"
    place: int = 0
    pad: float = 0.0


@dataclass(frozen=True, slots=True)
class FeatureSketch:
    """How the values of one feature were distributed.

    Attributes:
        feature: what is read.
        edges: inner edges of the bins, where it is a number; a bin is closed by its right edge.
        categories: numbers as text and hashes of texts, where it has few values.
        counts: of each bin or category; the last one is of what fits in none.
    """

    feature: Feature
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def ordered(self) -> bool:
        """Whether bins have an order."""
        return not self.categories

    def count(self, values: Array) -> Array:
        """Counts live values in the same bins, shape (len(counts),)."""
        if self.ordered:
            return bin_counts(values, self.edges)
        places = {word: place for place, word in enumerate(self.categories)}
        counts = np.zeros(len(self.counts), np.int64)
        for word, times in Counter(map(_word, values.tolist())).items():
            counts[places.get(word, len(places))] += times
        return counts


@dataclass(frozen=True, slots=True)
class Sketch:
    """The sketch of one bundle.

    Attributes:
        inputs, outputs: features, in the order of the model; outputs are those of the model that
            ships, on the same rows.
        rows: behind the counts.
        left_out: features beyond `FEATURES`.
        reason: why there is no feature, one sentence; else empty.
        format_version: of this record.
    """

    inputs: tuple[FeatureSketch, ...] = ()
    outputs: tuple[FeatureSketch, ...] = ()
    rows: int = 0
    left_out: int = 0
    reason: str = ""
    format_version: int = 1


def make_sketch(served: Served, rows: Rows) -> Sketch:
    """Sketches rows (never sealed ones) and the answers of a model (absolute paths) to them."""
    if rows.n < MINIMUM_ROWS:
        return Sketch(
            rows=rows.n,
            reason=f"only {rows.n} rows fitted the model, and a sketch needs {MINIMUM_ROWS}",
        )
    few = dataclasses.replace(rows, n=min(rows.n, ROWS))
    wanted = [*input_features(served.model, few)]
    arrays = {name: np.asarray(few.column(name)[: few.n]) for name in few.names}
    inputs = tuple(_sketched(feature, arrays) for feature in wanted[:FEATURES])
    outputs = _answers(served, few)
    found = output_features(served.model, outputs)
    return Sketch(
        inputs=inputs,
        outputs=tuple(_sketched(feature, outputs) for feature in found),
        rows=few.n,
        left_out=max(0, len(wanted) - FEATURES),
    )


def write_sketch(sketch: Sketch, path: Path) -> None:
    """Writes a sketch."""
    write_atomically(path, to_json(sketch) + "\n")


def read_sketch(path: Path) -> Sketch:
    """Reads a sketch; a bundle that was made before there were any has one that says so.

    Raises:
        CheckFailed: if the file is there and is no sketch.
    """
    try:
        sketch = from_json(Sketch, path.read_bytes())
    except FileNotFoundError:
        return Sketch(reason="the bundle was made before bundles had a sketch; make it again")
    except (OSError, ValueError) as error:
        raise CheckFailed(f"the sketch {path} can't be read: {error}") from error
    for one in (*sketch.inputs, *sketch.outputs):
        bins = len(one.edges) + 1 if one.ordered else len(one.categories)
        if len(one.counts) != bins + 1 or sum(one.counts) != sketch.rows:
            raise CheckFailed(f"the sketch {path} has wrong counts for `{one.feature.name}`")
    return sketch


def read_values(feature: Feature, array: Array) -> Array:
    """Reads one feature off rows, shape (n,); NaN where a row has no such element."""
    flat = array.reshape(len(array), -1)
    if feature.reads == "element":
        missing = np.full(len(flat), np.nan)
        return flat[:, feature.place] if feature.place < flat.shape[1] else missing
    if feature.reads == "length":
        kept = array.reshape(len(array), array.shape[1], -1) != feature.pad
        places = np.arange(1, array.shape[1] + 1)
        lengths: Array = (kept.any(axis=2) * places).max(axis=1, initial=0)
        return lengths
    if feature.reads == "class":
        return np.asarray(flat.argmax(axis=1))
    numbers = flat.astype(np.float64)
    if feature.reads == "mean":
        return np.asarray(numbers.mean(axis=1))
    if feature.reads == "spread":
        return np.asarray(numbers.std(axis=1))
    return np.asarray(numbers.min(axis=1) if feature.reads == "smallest" else numbers.max(axis=1))


def input_features(model: Model, rows: Rows) -> Iterator[Feature]:
    """The features of the inputs, in order, by the rule at the top of this file."""
    ragged = next((name for name in rows.names if name in rows.pad), "")
    if ragged:
        yield Feature(f"{ragged}:length", ragged, "length", pad=rows.pad[ragged])
    plain = [name for name in rows.names if name not in rows.pad]
    columns = model.encoder.settings.get("columns")
    named = [str(c) for c in columns] if isinstance(columns, list) else []
    for place, name in enumerate(plain):
        column = rows.column(name)
        width = int(np.prod(column.shape[1:], dtype=np.int64))
        if width <= ELEMENTWISE and column.ndim <= 2:
            titles = _titles(name, width, place, named, len(plain))
            yield from (Feature(title, name, place=i) for i, title in enumerate(titles))
        elif column.dtype.kind in "biuf":
            yield from _summary(name)


def output_features(model: Model, outputs: Mapping[str, Array]) -> list[Feature]:
    """The features of the output that quality metrics read."""
    name = model.prediction
    values = outputs[name]
    width = values[:1].size
    if values.dtype.kind == "f" and model.task == "classification" and width > 1:
        return [Feature(f"{name}:class", name, "class"), Feature(f"{name}:top", name, "top")]
    if width == 1:
        return [Feature(name, name)]
    places = np.unique(np.linspace(0, width - 1, OUTPUT_ELEMENTS).astype(int))
    return [Feature(f"{name}[{place}]", name, place=int(place)) for place in places]


def _titles(name: str, width: int, place: int, columns: list[str], inputs: int) -> list[str]:
    """What a person calls the values of one input: columns of the data where they are known."""
    if width == 1:
        return [columns[place] if len(columns) == inputs else name]
    if inputs == 1 and len(columns) == width:
        return columns
    return [f"{name}[{i}]" for i in range(width)]


def _summary(name: str) -> Iterator[Feature]:
    yield Feature(f"{name}:mean", name, "mean")
    yield Feature(f"{name}:spread", name, "spread")
    yield Feature(f"{name}:smallest", name, "smallest")
    yield Feature(f"{name}:largest", name, "largest")


def _sketched(feature: Feature, arrays: Mapping[str, Array]) -> FeatureSketch:
    values = read_values(feature, arrays[feature.tensor])
    numeric = values.dtype.kind in "iuf"
    words = Counter(map(_word, values.tolist())) if not numeric or _few(values) else None
    if words is None:
        finite = values[np.isfinite(values)]
        bins = min(BINS, max(2, len(finite) // ROWS_PER_BIN))
        edges = equal_mass_edges(finite, bins)
        counts = bin_counts(values, edges)
        return FeatureSketch(feature, tuple(edges.tolist()), (), tuple(counts.tolist()))
    kept = [(word, n) for word, n in words.most_common(CATEGORIES) if n >= SHARED]
    kept.sort()
    rest = len(values) - sum(n for _, n in kept)
    names = tuple(word for word, _ in kept)
    # A feature without any common value keeps one name that no value has.
    return FeatureSketch(
        feature, (), names or ("-",), (*((n for _, n in kept) if kept else (0,)), rest)
    )


def _few(values: Array) -> bool:
    return len(np.unique(values[np.isfinite(values)])) <= FEW_VALUES


def _word(value: object) -> str:
    """A category: a number as it is, a text as a hash, so that no text lies in the bundle."""
    if isinstance(value, bool | int | float):
        return repr(float(value))
    return hashlib.sha256(str(value).encode()).hexdigest()[:12]


def _answers(served: Served, rows: Rows) -> dict[str, Array]:
    """Runs the rows in a worker; gives the output that metrics read."""
    size = 1 if served.one_by_one else max(served.serving.batch_sizes)
    job = SessionJob(served.model, served.runtime, rows, served.serving, served.one_by_one)
    name = served.model.prediction
    with tempfile.TemporaryDirectory(prefix="jettison-sketch-") as place:
        with WorkerSession(job, Path(place)) as session:
            scored = session.score(rows, Path(place) / "outputs", size)
        return {name: np.load(scored.file(name), allow_pickle=False)}
