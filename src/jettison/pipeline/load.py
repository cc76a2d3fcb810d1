"""The stage load: from what the user pointed at to a `Model`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jettison import registry, worker_client
from jettison.domain.configuration import ModelSection
from jettison.domain.extension_points import Source
from jettison.domain.jobs import LoadJob
from jettison.domain.model import Model
from jettison.errors import ModelError, WorkerDied


def load_model(section: ModelSection, folder: Path, live: Any = None) -> Model:
    """Finds the loader for a source and loads it into `folder`.

    A source on disk is loaded in a worker process, so that this process holds no weights. A live
    object is in this process already; its loader saves it to `folder`.

    Args:
        section: `model` of the configuration; `source` is ignored for a live object.
        folder: where the copy is written; made if it is not there.
        live: a model object of this Python process, or `None`.

    Raises:
        ModelError: if there is nothing at the source, no loader or several claim it, or the
            loader refuses it.
    """
    source = Source(
        location=_location(section.source) if live is None else "",
        task=section.task,
        options={"trust_pickle": section.trust_pickle, "max_length": section.max_length},
        live=live,
    )
    name = _claimant(source)
    folder.mkdir(parents=True, exist_ok=True)
    if live is not None:
        return registry.get("loaders", name).load(source, folder)
    job = LoadJob(name, source.location, source.task, source.options, str(folder.resolve()))
    try:
        return worker_client.run_load(job)
    except WorkerDied as error:
        raise ModelError(
            f"the worker process ended while it loaded `{source.location}`: the file is damaged in "
            f"a way that native code does not survive, or memory ran out ({error})"
        ) from error


def _location(given: str) -> str:
    path = Path(given).expanduser()
    if not given or not path.exists():
        shown = f"`{given}`" if given else "an empty path"
        raise ModelError(
            f"there is no model at {shown} (looked in {Path.cwd()}): give the path of an .onnx "
            "file, a Hugging Face folder, or a scikit-learn .skops file"
        )
    return str(path.resolve())


def _claimant(source: Source) -> str:
    claims = [n for n in registry.names("loaders") if registry.get("loaders", n).claims(source)]
    if len(claims) == 1:
        return claims[0]
    what = f"`{source.location}`" if source.live is None else f"a `{_type_name(source.live)}`"
    known = ", ".join(f"`{name}`" for name in registry.names("loaders"))
    if claims:
        raise ModelError(
            f"{what} is claimed by several loaders: {', '.join(f'`{c}`' for c in claims)}; leave "
            "only the files of one model there, or uninstall the package of the other loader"
        )
    raise ModelError(
        f"no loader knows what {what} is (loaders: {known}). Supported are an ONNX file (.onnx), a "
        "Hugging Face folder (config.json and .safetensors), and a scikit-learn estimator (.skops, "
        "or .pkl and .joblib with trust_pickle = true, or live in Python)"
    )


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
