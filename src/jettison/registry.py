"""Name -> plug-in, lazily, through entry points. Built-ins use the same door as everyone.

Nothing is imported until a plug-in is asked for by name.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from jettison.domain import accelerators
from jettison.domain.catalogue import Listed
from jettison.domain.record import file_digest
from jettison.errors import DuplicateName, MissingDependency, UnknownName

if TYPE_CHECKING:
    # Only for annotations: listing names must not load NumPy.
    from jettison.domain.extension_points import (
        CostMetric,
        EncoderKind,
        Format,
        Loader,
        QualityMetric,
        Runtime,
        Technique,
    )
    from jettison.domain.outer_points import Exporter, Guardrail, Transformation

Family = Literal[
    "techniques",
    "runtimes",
    "metrics",
    "costs",
    "loaders",
    "formats",
    "encoders",
    "guardrails",
    "exports",
    "transformations",
]
FAMILIES: tuple[Family, ...] = (
    "techniques",
    "runtimes",
    "metrics",
    "costs",
    "loaders",
    "formats",
    "encoders",
    "guardrails",
    "exports",
    "transformations",
)

EXTRA_OF = {
    "onnxruntime": "cpu",
    "sympy": "cpu",
    "openvino": "openvino",
    "nncf": "openvino",
    "pandas": "data",
    "pyarrow": "data",
    "tokenizers": "data",
    "PIL": "data",
    "sklearn": "sklearn",
    "skl2onnx": "sklearn",
    "skops": "sklearn",
    "torch": "huggingface",
    "torchao": "torchao",
    "torch_pruning": "pruning",
    "transformers": "huggingface",
    "safetensors": "huggingface",
    "onnxscript": "huggingface",
    "magika": "demo",
    "cryptography": "trust",
    "opacus": "train",
    "jiwer": "speech",
}
"""Import name -> the extra of jettison that installs it."""


@functools.cache
def _entries(family: Family) -> dict[str, metadata.EntryPoint]:
    found: dict[str, metadata.EntryPoint] = {}
    for entry in metadata.entry_points(group=f"jettison.{family}"):
        earlier = found.get(entry.name)
        if earlier is not None and earlier.value != entry.value:
            raise DuplicateName(
                f"two packages register {family} `{entry.name}`: `{package_of(earlier)}` "
                f"({earlier.value}) and `{package_of(entry)}` ({entry.value}); uninstall one"
            )
        found[entry.name] = entry
    return found


def package_of(entry: metadata.EntryPoint) -> str:
    """The distribution that registers an entry point."""
    return entry.dist.name if entry.dist is not None else "unknown package"


def names(family: Family) -> tuple[str, ...]:
    """All registered names of a family, sorted; imports none of them."""
    return tuple(sorted(_entries(family)))


def all_names() -> dict[str, tuple[str, ...]]:
    """The names of every family; imports none of them."""
    return {family: names(family) for family in FAMILIES}


def packages(family: Family) -> dict[str, str]:
    """Name -> package that registers it; imports none of them."""
    return {name: package_of(_entries(family)[name]) for name in names(family)}


@overload
def get(family: Literal["techniques"], name: str) -> Technique: ...
@overload
def get(family: Literal["runtimes"], name: str) -> Runtime: ...
@overload
def get(family: Literal["metrics"], name: str) -> QualityMetric: ...
@overload
def get(family: Literal["costs"], name: str) -> CostMetric: ...
@overload
def get(family: Literal["loaders"], name: str) -> Loader: ...
@overload
def get(family: Literal["formats"], name: str) -> Format: ...
@overload
def get(family: Literal["encoders"], name: str) -> EncoderKind: ...
@overload
def get(family: Literal["guardrails"], name: str) -> Guardrail: ...
@overload
def get(family: Literal["exports"], name: str) -> Exporter: ...
@overload
def get(family: Literal["transformations"], name: str) -> Transformation: ...
def get(family: Family, name: str) -> Any:
    """Imports and makes one plug-in.

    Raises:
        UnknownName: with the nearest names that exist.
        DuplicateName: if two packages register the name.
        MissingDependency: with the extra to install.
    """
    entries = _entries(family)
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=2, cutoff=0.5)
        hint = f"; did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
        allowed = ", ".join(sorted(entries)) or "none is installed"
        raise UnknownName(f"no {family} named `{name}`{hint} (registered: {allowed})")
    return _make(family, name)


@functools.cache
def _make(family: Family, name: str) -> Any:
    entry = _entries(family)[name]
    try:
        plugin = entry.load()()
    except ModuleNotFoundError as error:
        if error.name and entry.module.startswith(error.name):
            raise UnknownName(
                f"{family} `{name}` of package `{package_of(entry)}` names the module "
                f"{entry.module}, which does not exist; reinstall that package"
            ) from error
        raise missing(error, f"{family} `{name}` of package `{package_of(entry)}`") from error
    return plugin


def missing(error: ModuleNotFoundError, wanted_by: str) -> MissingDependency:
    """Turns an import failure into an error that names what to install."""
    top = (error.name or "").partition(".")[0]
    return MissingDependency(
        f"{wanted_by} needs the package `{top}`, which is not installed; run: {_install(top)}"
    )


def _install(top: str) -> str:
    extra = EXTRA_OF.get(top)
    return f"pip install 'jettison[{extra}]'" if extra else f"pip install {top}"


@functools.cache
def source_digest(family: Family, name: str) -> str:
    """Gives what the results of a plug-in depend on: its package's version and Python source.

    The source is part of it, so that whoever edits a plug-in never meets results of the old one.
    """
    entry = _entries(family)[name]
    top = entry.module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    whole = hashlib.sha256(
        f"{package_of(entry)} {entry.dist.version if entry.dist else ''}".encode()
    )
    places = list(spec.submodule_search_locations or ()) if spec else []
    files = [path for place in places for path in sorted(Path(place).rglob("*.py"))]
    if spec and spec.origin and not files:
        files = [Path(spec.origin)]
    for path in files:
        whole.update(file_digest(path).encode())
    return whole.hexdigest()


def absent_packages(plugin: Technique | Runtime) -> tuple[str, ...]:
    """The import names that a plug-in needs and this environment lacks; imports nothing."""
    return tuple(name for name in plugin.packages if importlib.util.find_spec(name) is None)


def versions_of(plugin: Technique | Runtime) -> dict[str, str]:
    """The versions of the packages that a plug-in declares, by import name."""
    owners = _owners()
    return {
        name: ", ".join(
            f"{d} {metadata.version(d)}" for d in sorted(owners.get(name.partition(".")[0], ()))
        )
        for name in plugin.packages
    }


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def hindrance(plugin: Technique | Runtime) -> str:
    """Why a plug-in can't run here (a package, an accelerator, a tool); empty where it can."""
    try:
        require_packages(plugin)
    except MissingDependency as reason:
        return str(reason)
    return ""


def require_packages(plugin: Technique | Runtime) -> None:
    """Checks that everything a plug-in needs is here: packages, and an accelerator if it needs one.

    Raises:
        MissingDependency: with the extra to install, or what the machine lacks.
    """
    for name in absent_packages(plugin):
        raise missing(ModuleNotFoundError(name=name), f"`{plugin.name}`")
    lacks = accelerators.lacking(plugin)
    if lacks:
        raise MissingDependency(f"`{plugin.name}` {lacks}")
    # Imported here: listing names must not load NumPy.
    from jettison.domain.extension_points import MayRefuse

    if isinstance(plugin, MayRefuse) and (reason := plugin.refusal()):
        raise MissingDependency(f"`{plugin.name}` can't run here: {reason}")


def home_runtime(traits: frozenset[str]) -> Runtime:
    """The runtime on which an untouched model with these traits is measured.

    Raises:
        UnknownName: if no installed runtime is the home of any trait.
    """
    for name in names("runtimes"):
        runtime = get("runtimes", name)
        if runtime.home and runtime.home in traits:
            return runtime
    raise UnknownName(f"no installed runtime runs an untouched model that is {sorted(traits)}")


def describe(family: Family) -> tuple[Listed, ...]:
    """Tells what each plug-in of a family declares; imports their modules, which are light."""
    listed = []
    for name in names(family):
        plugin: Any = get(family, name)
        absent = [p for p in getattr(plugin, "packages", ()) if not importlib.util.find_spec(p)]
        listed.append(
            Listed(
                family=family,
                name=name,
                package=package_of(_entries(family)[name]),
                requires=tuple(sorted(getattr(plugin, "requires", ()))),
                adds=tuple(sorted(getattr(plugin, "adds", ()))),
                removes=tuple(sorted(getattr(plugin, "removes", ()))),
                summary=(type(plugin).__doc__ or "").strip().partition("\n")[0],
                install=_install(absent[0]) if absent else accelerators.lacking(plugin),
            )
        )
    return tuple(listed)
