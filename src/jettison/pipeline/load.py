"""The stage load: from what the user pointed at to a `Model`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jettison import registry, worker_client
from jettison.domain.configuration import ModelSection
from jettison.domain.encoder import Encoder, Setting
from jettison.domain.extension_points import Source
from jettison.domain.function_source import ENDING, split_function
from jettison.domain.jobs import LoadJob
from jettison.domain.model import Model
from jettison.domain.record import Settings
from jettison.errors import ModelError, WorkerDied


def load_model(
    section: ModelSection,
    folder: Path,
    live: Any = None,
    tables: Mapping[str, object] = MappingProxyType({}),
) -> Model:
    """Finds the loader for a source and loads it into `folder`.

    A source on disk is loaded in a worker process, so that this process holds no weights. A live
    object is in this process already; its loader saves it to `folder`.

    Args:
        section: `model` of the configuration; `source` is ignored for a live object.
        folder: where the copy is written; made if it is not there.
        live: a model object of this Python process, or `None`.
        tables: sections of the configuration by name, of which an encoder may claim one as its
            `table`; it then encodes, with what the section says over what the loader found out.

    Raises:
        ModelError: if there is nothing at the source, no loader or several claim it, or the
            loader refuses it.
    """
    model = _loaded(section, folder, live)
    claimed = [(kind, tables[table]) for kind, table in encoder_tables() if tables.get(table)]
    if not claimed:
        return model
    if len(claimed) > 1:
        raise ModelError(
            f"the tables of the encoders {' and '.join(f'`{kind}`' for kind, _ in claimed)} are "
            "both given; a model has one encoder: leave one table out"
        )
    kind, given = claimed[0]
    kept = model.encoder.settings if model.encoder.kind == kind else {}
    settings = _laid_over(kept, given)
    return dataclasses.replace(
        model, encoder=Encoder.of(kind, settings, labels=model.encoder.labels)
    )


def _laid_over(found: Mapping[str, Setting], given: Any) -> dict[str, Setting]:
    """What a table says beyond its defaults, over what the loader found, over the defaults."""
    stated: dict[str, Any] = dataclasses.asdict(given)
    usual: dict[str, Any] = dataclasses.asdict(type(given)())
    settings = {key: _setting(value) for key, value in usual.items() if value}
    settings |= found
    return settings | {k: _setting(v) for k, v in stated.items() if v != usual[k]}


def encoder_tables() -> Iterator[tuple[str, str]]:
    """Encoders that read a table of jettison.toml, each with the name of its table."""
    for kind in registry.names("encoders"):
        table = getattr(registry.get("encoders", kind), "table", "")
        if table:
            yield kind, table


def _setting(value: Any) -> Setting:
    """Numbers in lists are floats, as they are after a round trip through JSON."""
    return [float(item) for item in value] if isinstance(value, tuple) else value


def _loaded(section: ModelSection, folder: Path, live: Any) -> Model:
    source = Source(
        location=_location(section.source) if live is None else "",
        task=section.task,
        options=_options(section),
        live=live,
    )
    name = _claimant(source)
    _check_options(source, name)
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


LOADER_OPTIONS = ("weights", "inputs", "prediction")
"""Options that a loader must say it reads (`options`), if the user gives them."""


def _options(section: ModelSection) -> Settings:
    weights = str(Path(section.weights).expanduser().resolve()) if section.weights else ""
    given = {
        "weights": weights,
        "inputs": "\n".join(section.inputs),
        "prediction": section.prediction,
    }
    return {
        "trust_pickle": section.trust_pickle,
        "max_length": section.max_length,
        **{name: value for name, value in given.items() if value},
    }


def _check_options(source: Source, loader: str) -> None:
    """Refuses options that the loader would not look at."""
    read: frozenset[str] = getattr(registry.get("loaders", loader), "options", frozenset())
    unread = [name for name in LOADER_OPTIONS if name in source.options and name not in read]
    if unread:
        raise ModelError(
            f"`{unread[0]}` in `model` is not for this kind of model (loader `{loader}`): its "
            "files say it already; leave it out"
        )


def _location(given: str) -> str:
    path = Path(given).expanduser()
    function = split_function(given)
    if function is not None and not path.exists():
        where, name = function
        return f"{Path(where).expanduser().resolve()}:{name}" if where.endswith(ENDING) else given
    if not given or not path.exists():
        shown = f"`{given}`" if given else "an empty path"
        raise ModelError(
            f"there is no model at {shown} (looked in {Path.cwd()}): give the path of an .onnx "
            "file, a Hugging Face folder, a scikit-learn .skops file or a .pt2 file, or a function "
            "that gives a PyTorch module (net.py:make)"
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
        "Hugging Face folder (config.json and .safetensors), a scikit-learn estimator (.skops, or "
        ".pkl and .joblib with trust_pickle = true, or live in Python), and a PyTorch module (.pt2, "
        "a function such as net.py:make, or live in Python)"
    )


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
