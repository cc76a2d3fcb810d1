"""The built-in example: Google's Magika network on the files of the Python installation at hand.

The network, none of us trained it, comes with the `magika` package (ONNX, 3.2 MB, 214 labels).
The data are files that lie on this machine already; a file's extension is its label, for the
extensions that say what is inside.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jettison.domain.certificate import Requirement
from jettison.domain.configuration import (
    Configuration,
    DataSection,
    ModelSection,
    SearchSection,
)
from jettison.domain.files import write_atomically
from jettison.domain.progress import Progress
from jettison.domain.rows import Array
from jettison.domain.run import RunRecord
from jettison.errors import DataError, MissingDependency
from jettison.pipeline.emit import RELEASE
from jettison.preparation import Prepared, prepare
from jettison.whole_run import run

LABEL_OF = {
    "py": "python",
    "pyi": "python",
    "pyc": "pythonbytecode",
    "so": "elf",
    "json": "json",
    "rst": "rst",
    "xml": "xml",
    "gz": "gzip",
    "c": "c",
    "cc": "cpp",
    "cpp": "cpp",
    "hpp": "cpp",
    "onnx": "onnx",
    "css": "css",
    "wav": "wav",
    "png": "png",
    "gif": "gif",
    "npy": "npy",
    "npz": "npz",
    "toml": "toml",
    "csv": "csv",
    "f90": "fortran",
    "pem": "pem",
    "exe": "pebin",
    "html": "html",
    "js": "javascript",
    "sh": "shell",
    "yaml": "yaml",
    "zip": "zip",
    "whl": "zip",
    "sql": "sql",
    "svg": "svg",
    "tex": "latex",
}
"""Extension -> Magika label, where the extension says what is inside (`.txt`, `.pl`, `.h` don't)."""

PER_TYPE = 500
"""Rows per extension; 80 % of them are sealed, so at most 400 sealed rows a type."""

LARGEST_FILE = 16 << 20
GATED_ROWS = 150
"""A type gates the release if at least this many rows of it are sealed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """Magika's model file and what its own configuration says about its input."""

    model: Path
    labels: tuple[str, ...]
    begin: int
    end: int
    block: int
    padding: int
    smallest_file: int


def find_network() -> Network:
    """Finds the network in the installed `magika` package, without importing it.

    Raises:
        MissingDependency: if the package is not installed.
    """
    found = importlib.util.find_spec("magika")
    if found is None or found.origin is None:
        raise MissingDependency(
            "the demo needs the package `magika`, which is not installed; "
            "run: pip install 'jettison[demo]'"
        )
    models = sorted((Path(found.origin).parent / "models").glob("standard_*/model.onnx"))
    if not models:
        raise MissingDependency(
            f"the package `magika` at {Path(found.origin).parent} holds no models/standard_*/"
            "model.onnx; run: pip install --upgrade 'jettison[demo]'"
        )
    config = json.loads((models[-1].parent / "config.min.json").read_text())
    return Network(
        model=models[-1],
        labels=tuple(config["target_labels_space"]),
        begin=config["beg_size"],
        end=config["end_size"],
        block=config["block_size"],
        padding=config["padding_token"],
        smallest_file=config["min_file_size_for_dl"],
    )


def features(content_begin: bytes, content_end: bytes, network: Network) -> Array | None:
    """Gives the network's input for one file, shape (begin + end,) int32.

    The first block stripped on the left, the last block stripped on the right, cut and padded as
    the magika package documents. `None` for a file below the network's minimum after stripping.
    """
    first = content_begin.lstrip()[: network.begin]
    last = content_end.rstrip()[-network.end :]
    if len(first) < network.smallest_file:
        return None
    row = np.full(network.begin + network.end, network.padding, dtype=np.int32)
    row[: len(first)] = np.frombuffer(first, dtype=np.uint8)
    if last:
        row[-len(last) :] = np.frombuffer(last, dtype=np.uint8)
    return row


def roots() -> tuple[Path, ...]:
    """The folders of the Python installation at hand, without repeats or nesting."""
    paths = sysconfig.get_paths()
    wanted = [paths["stdlib"], paths["purelib"], paths["platlib"], sys.prefix, sys.base_prefix]
    folders = {Path(p).resolve() for p in wanted}
    folders.discard(Path("/usr"))  # a system Python's prefix holds the whole system
    return tuple(sorted(f for f in folders if not any(o in f.parents for o in folders)))


def collect(network: Network, progress: Progress) -> tuple[Array, Array, Array]:
    """Reads files until each type has enough; gives inputs (n, 2048), labels (n,), types (n,).

    Which files of a type are taken depends on their content alone, not on where they lie.
    """
    by_type: dict[str, list[Path]] = defaultdict(list)
    for root in roots():
        for path in _files(root):
            kind = path.suffix[1:].lower()
            if LABEL_OF.get(kind) in network.labels:
                by_type[kind].append(path)
    progress.stage("read files", len(by_type))
    rows: list[Array] = []
    labels: list[str] = []
    types: list[str] = []
    for kind in sorted(by_type):
        picked = _pick(by_type[kind], network)
        rows.extend(picked)
        labels.extend([LABEL_OF[kind]] * len(picked))
        types.extend([kind] * len(picked))
        progress.advance(f"{len(picked)} .{kind}")
    if not rows:
        raise DataError(f"no usable files under {', '.join(map(str, roots()))}")
    return np.stack(rows), np.array(labels), np.array(types)


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in root.walk() if hasattr(root, "walk") else _walk(root):
        folders.sort()
        for name in sorted(names):
            yield folder / name


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    # Path.walk came with Python 3.12.
    import os

    for folder, folders, names in os.walk(root):
        yield Path(folder), folders, names


def _pick(paths: list[Path], network: Network) -> list[Array]:
    """Features of at most `PER_TYPE` files with different contents, in order of content hash."""
    # Reading all 18,000 compiled files would take a minute: look at a sample, chosen by name.
    sample = sorted(paths, key=lambda p: hashlib.sha256(p.name.encode()).digest())[: 3 * PER_TYPE]
    found: dict[bytes, Array] = {}
    for path in sample:
        try:
            size = path.stat().st_size
            if path.is_symlink() or not network.smallest_file <= size <= LARGEST_FILE:
                continue
            content = path.read_bytes()
        except OSError:
            continue  # a file that this user may not read is no part of the demo's data
        row = features(content[: network.block], content[-network.block :], network)
        if row is not None:
            found[hashlib.sha256(content).digest()] = row
    return [found[key] for key in sorted(found)][:PER_TYPE]


def write_inputs(folder: Path, progress: Progress) -> Configuration:
    """Writes model, labels and data into a folder, and gives the configuration of the demo."""
    network = find_network()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(network.model, folder / "magika.onnx")
    write_atomically(folder / "magika.labels.json", json.dumps(list(network.labels)))
    data = folder / "files.npz"
    if not data.exists():
        inputs, labels, types = collect(network, progress)
        temporary = folder / ".files.part.npz"
        np.savez(temporary, bytes=inputs, label=labels, type=types)
        temporary.replace(data)
    return Configuration(
        model=ModelSection(str(folder / "magika.onnx"), task="classification"),
        data=DataSection(str(data), inputs=("bytes",), target="label", groups=("type",)),
        search=SearchSection(trials=12, max_minutes=4.0, shortlist=2),
        requirements=(Requirement("accuracy", max_drop=0.01, max_drop_group=0.05),),
        output=str(folder),
        ledger=str(folder / "ledger"),
    )


def demo(folder: Path, progress: Progress) -> RunRecord:
    """Runs the demo: prepares, fixes which types gate, searches, certifies, ships."""
    progress.say(
        "The demo keeps its own ledger in its folder, so that it can be repeated. A real run uses "
        "the ledger of your user account, and sealed rows are spent by one look."
    )
    configuration = write_inputs(folder, progress)
    if Path(configuration.ledger).exists():
        # An earlier demo looked at its rows: begin anew. One that was interrupted goes on instead.
        shutil.rmtree(configuration.ledger)
        shutil.rmtree(folder / "work", ignore_errors=True)
        shutil.rmtree(folder / RELEASE, ignore_errors=True)
    prepared = prepare(configuration, progress)
    return run(with_gated_types(prepared), progress)


def with_gated_types(prepared: Prepared) -> Prepared:
    """Fixes, before the seal opens, that only types with enough sealed rows gate the release."""
    sealed = prepared.splits.certification
    if sealed is None:
        return prepared
    gated = tuple(sorted(g for g, n in sealed.group_sizes.items() if n >= GATED_ROWS))
    requirements = tuple(
        dataclasses.replace(r, gated_groups=gated) for r in prepared.configuration.requirements
    )
    configuration = dataclasses.replace(prepared.configuration, requirements=requirements)
    return dataclasses.replace(prepared, configuration=configuration)
