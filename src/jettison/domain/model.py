"""`Model`: files on disk with their traits; the native object never travels."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

from jettison.domain.encoder import Encoder
from jettison.domain.record import file_digest
from jettison.errors import ModelError


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output.

    Attributes:
        name: as the runtime knows it.
        dtype: NumPy name (`float32`, `int64`, `str` for text).
        shape: an integer is fixed, a string is a named free dimension; the first is the batch.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A saved model: a folder, and the files in it that belong to the model.

    Attributes:
        format: name of the registered `Format` that opens it.
        folder: absolute path.
        files: paths relative to the folder; the first is the one that is opened.
        digest: SHA-256 over names and contents, independent of the folder.
        size_bytes: sum of the sizes of the files, as saved.
    """

    format: str
    folder: str
    files: tuple[str, ...]
    digest: str
    size_bytes: int

    @property
    def path(self) -> Path:
        """The file that is opened first."""
        return Path(self.folder) / self.files[0]

    def whole_path(self) -> Path:
        """The file that is opened first, once all files are known to be there, of the right sizes.

        Raises:
            ModelError: if a file is missing, or the sizes are not those that were recorded.
        """
        size = 0
        for name in self.files:
            path = Path(self.folder) / name
            if not path.is_file():
                raise ModelError(
                    f"`{path}` is missing: the model in `{self.folder}` was moved or deleted; "
                    "restore the file, or load the model again"
                )
            size += path.stat().st_size
        if size != self.size_bytes:
            raise ModelError(
                f"the files in `{self.folder}` hold {size} bytes, but {self.size_bytes} were "
                "recorded: they were changed; restore them, or load the model again"
            )
        return self.path

    @classmethod
    def of(cls, format_name: str, folder: str | Path, files: tuple[str, ...]) -> Artifact:
        """Describes files that lie on disk; reads them to hash them."""
        root = Path(folder).resolve()
        whole = hashlib.sha256()
        size = 0
        for name in files:
            whole.update(f"{name}\0{file_digest(root / name)}\n".encode())
            size += (root / name).stat().st_size
        return cls(format_name, str(root), files, whole.hexdigest(), size)


@dataclass(frozen=True, slots=True)
class Model:
    """What is optimised: an artifact, what is true of it, and how examples reach it.

    Attributes:
        artifact: the files.
        traits: words of `jettison.domain.traits.TRAITS`.
        inputs: what a runner takes, first dimension the batch.
        outputs: what a runner gives.
        prediction: the output that quality metrics read (scores, label ids or embeddings).
        task: `classification`, `regression`, `embedding`, `transcription` or
            `token-classification`.
        encoder: how a raw example becomes the inputs, and the names of the outputs.
    """

    artifact: Artifact
    traits: frozenset[str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    prediction: str
    task: str
    encoder: Encoder

    def with_traits(self, *, add: frozenset[str], remove: frozenset[str]) -> Model:
        """Gives the same model with some traits set and others cleared."""
        return dataclasses.replace(self, traits=(self.traits - remove) | add)
