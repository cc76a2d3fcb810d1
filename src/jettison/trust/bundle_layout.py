"""Where things lie in a bundle, and what its manifest must say about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from jettison.domain.bundle import Manifest
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model
from jettison.domain.record import file_digest, from_json, to_json
from jettison.errors import CheckFailed

MANIFEST = "manifest.json"
MODEL = "model.json"
CERTIFICATE = "certificate.json"
RUN = "run.json"
RECIPE = "recipe.toml"
CARD = "README.md"
REPORT = "report.html"
LOG = "run.log"
PROBES = "probes.npz"
SKETCH = "sketch.json"
OUTCOMES = "outcomes.npz"
ARTIFACT_FOLDER = "model"
ENCODER_FOLDER = "encoder"


def safe_name(name: str) -> bool:
    """Whether a path from a manifest stays inside the bundle."""
    path = PurePosixPath(name)
    return (
        bool(name)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in name
        and "\0" not in name
        and str(path) == name
    )


def files_of(folder: Path) -> Iterator[str]:
    """Names of all files (and links) in a bundle, relative, sorted; without the manifest."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name != MANIFEST:
            yield name


def read_manifest(folder: Path) -> Manifest:
    """Reads a manifest, which must be canonical: its bytes hash to the bundle's name.

    Raises:
        CheckFailed: if the folder is no bundle or the manifest can't be read.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckFailed(f"{folder} is not a jettison bundle: {path} can't be read") from error
    try:
        manifest = from_json(Manifest, data)
    except ValueError as error:
        raise CheckFailed(f"{path} is not a manifest: {error}") from error
    if to_json(manifest).encode() != data:
        raise CheckFailed(f"{path} is not in canonical form: it was changed after it was written")
    return manifest


def differences(folder: Path, manifest: Manifest) -> list[str]:
    """Compares the files of a bundle with its manifest; opens nothing that lies outside."""
    problems = [f"the manifest names {n!r}, outside the bundle" for n in _unsafe(manifest)]
    present = set(files_of(folder))
    for name in sorted(set(manifest.files) - set(_unsafe(manifest))):
        path = folder / name
        if any(part.is_symlink() for part in (path, *path.parents) if _within(part, folder)):
            problems.append(f"{name} is a link; a bundle holds plain files only")
        elif name not in present:
            problems.append(f"{name} is missing")
        elif file_digest(path) != manifest.files[name]:
            problems.append(f"{name} was changed")
    problems += [f"{n} is not in the manifest" for n in sorted(present - set(manifest.files))]
    return problems


def relative(model: Model) -> Model:
    """Describes a model as it lies in a bundle: folders relative to the bundle."""
    encoder = model.encoder
    return dataclasses.replace(
        model,
        artifact=dataclasses.replace(model.artifact, folder=ARTIFACT_FOLDER),
        encoder=dataclasses.replace(encoder, folder=ENCODER_FOLDER if encoder.files else ""),
    )


def absolute(model: Model, folder: Path) -> Model:
    """The reverse of `relative`, for a bundle in `folder`.

    Raises:
        CheckFailed: if a file of the model would lie outside the bundle.
    """
    names = (*model.artifact.files, *model.encoder.files)
    places = {model.artifact.folder, model.encoder.folder} - {""}
    outside = [n for n in names if not safe_name(n)]
    if outside or not places <= {ARTIFACT_FOLDER, ENCODER_FOLDER}:
        raise CheckFailed(f"{folder / MODEL} names files outside the bundle: {outside or places}")
    root = folder.resolve()
    encoder = model.encoder
    return dataclasses.replace(
        model,
        artifact=dataclasses.replace(model.artifact, folder=str(root / ARTIFACT_FOLDER)),
        encoder=dataclasses.replace(
            encoder, folder=str(root / ENCODER_FOLDER) if encoder.files else ""
        ),
    )


def found_artifact(model: Model) -> str:
    """Digest of the model's files as they lie on disk now."""
    artifact = model.artifact
    return Artifact.of(artifact.format, artifact.folder, artifact.files).digest


def found_encoder(model: Model) -> str:
    """Digest of the encoder as it lies on disk now."""
    encoder = model.encoder
    return Encoder.of(
        encoder.kind,
        encoder.settings,
        folder=encoder.folder,
        files=encoder.files,
        labels=encoder.labels,
    ).digest


def _unsafe(manifest: Manifest) -> list[str]:
    return sorted(name for name in manifest.files if not safe_name(name))


def _within(path: Path, folder: Path) -> bool:
    return path != folder and path.is_relative_to(folder)
