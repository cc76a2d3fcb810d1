"""Checks a bundle, settles the settings, and lets one kind write its folder: whole or not at all."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jettison import registry
from jettison.domain.bundle import Manifest
from jettison.domain.exports import ExportJob, ExportSetting, SettingValue
from jettison.domain.files import replace_folder
from jettison.domain.outer_points import Exporter
from jettison.domain.traits import TRAITS
from jettison.errors import CheckFailed, ConfigError, UsageError
from jettison.pipeline.verify import Opened, open_for_serving
from jettison.trust import bundle_layout as layout

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What `jettison serve` accepts as the name of a model."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A written export.

    Attributes:
        folder: where it lies.
        digest: name of the bundle inside.
        status: of its certificate.
        steps: what to do next, one sentence or command each.
    """

    folder: Path
    digest: str
    status: str
    steps: tuple[str, ...]


def export(
    kind: str,
    bundle: Path,
    out: Path,
    *,
    name: str = "",
    given: Sequence[str] = (),
    allow_uncertified: bool = False,
) -> Exported:
    """Writes a bundle in the form that another server takes.

    Args:
        kind: name of a registered kind of export.
        bundle: folder of the bundle; it is not changed.
        out: folder that is written; it must not exist, or be empty.
        name: that callers will ask for; empty to take the bundle folder's name.
        given: settings of the kind, each as `key=value`.
        allow_uncertified: export a bundle that no certificate covers.

    Raises:
        UnknownName: if there is no such kind; says which are near.
        ConfigError: for unknown settings and values, all at once.
        CheckFailed: if the bundle was changed, or is uncertified and that was not allowed.
        UsageError: if the model or the place does not suit; says what to do.
    """
    exporter = registry.get("exports", kind)
    settings = settle(exporter, given)
    if not bundle.is_dir():
        raise UsageError(
            f"there is no bundle at {bundle} (looked in {Path.cwd()}): give the folder that "
            "`jettison optimize` wrote, such as jettison-run/release"
        )
    _check_place(bundle.resolve(), out)
    opened = open_for_serving(bundle)
    manifest = layout.read_manifest(bundle)
    _check_certified(opened, bundle, allowed=allow_uncertified)
    _check_traits(exporter, opened, bundle)
    job = _job(opened, manifest, bundle.resolve(), name, settings)
    steps = _write(exporter, job, out)
    return Exported(out.absolute(), manifest.digest, manifest.status, steps)


def settle(exporter: Exporter, given: Sequence[str]) -> dict[str, SettingValue]:
    """Gives every setting of a kind its value.

    Raises:
        ConfigError: with every unknown key and every value that is not allowed.
    """
    values: dict[str, SettingValue] = {key: s.default for key, s in exporter.settings.items()}
    problems: list[str] = []
    seen: set[str] = set()
    for item in given:
        key, equals, text = item.partition("=")
        if not equals:
            problems.append(f"--set {item}: write it as key=value")
        elif key not in exporter.settings:
            problems.append(_unknown(exporter, key))
        elif key in seen:
            problems.append(f"`{key}` is set twice")
        else:
            seen.add(key)
            values[key] = _value(key, exporter.settings[key], text, problems)
    if problems:
        raise ConfigError(problems)
    return values


def _unknown(exporter: Exporter, key: str) -> str:
    near = difflib.get_close_matches(key, exporter.settings, n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    listed = "; ".join(f"`{k}`: {s.meaning}" for k, s in exporter.settings.items())
    return f"the export `{exporter.name}` has no setting `{key}`{hint} ({listed or 'it has none'})"


def _value(key: str, setting: ExportSetting, text: str, problems: list[str]) -> SettingValue:
    if isinstance(setting.default, int):
        if re.fullmatch(r"[0-9]{1,12}", text) and int(text) >= setting.lowest:
            return int(text)
        problems.append(f"`{key}` must be a whole number from {setting.lowest}; got {text!r}")
        return setting.default
    if setting.choices and text not in setting.choices:
        problems.append(f"`{key}` must be one of {', '.join(setting.choices)}; got {text!r}")
    if not text.isprintable():
        problems.append(f"`{key}` must be one line of printable characters; got {text!r}")
    return text


def _check_place(bundle: Path, out: Path) -> None:
    place = out.resolve()
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} is a file or a link; give a folder that doesn't exist yet")
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(
            f"{out} exists and is not empty; it is left as it is: remove it, or choose another "
            "folder"
        )
    if place == bundle or place.is_relative_to(bundle):
        raise UsageError(
            f"{out} lies inside the bundle {bundle}, which would no longer be what its manifest "
            "says; choose a folder outside it"
        )


def _check_certified(opened: Opened, bundle: Path, *, allowed: bool) -> None:
    certificate = opened.certificate
    if certificate.status == "certified" or allowed:
        return
    why = f": {certificate.reason}" if certificate.reason else ""
    raise CheckFailed(
        f"the certificate of {bundle} says `{certificate.status}`{why}. Certify it (run `jettison "
        "optimize` with enough rows), or export it with --allow-uncertified: it is then called "
        "uncertified in everything that is written"
    )


def _check_traits(exporter: Exporter, opened: Opened, bundle: Path) -> None:
    traits = opened.served.model.traits
    missing = sorted(exporter.requires - traits)
    if not missing:
        return
    wanted = " ".join(f"`{trait}`: {TRAITS.get(trait, '')}" for trait in missing)
    ways = [
        name
        for name in registry.names("techniques")
        for technique in (registry.get("techniques", name),)
        if technique.adds & set(missing) and technique.requires <= traits
    ]
    way = (
        f"make a bundle that is, with the technique {' or '.join(f'`{w}`' for w in ways)}"
        if ways
        else "no installed technique makes it so"
    )
    raise UsageError(
        f"the export `{exporter.name}` needs a model that is {wanted} The model in {bundle} is "
        f"{', '.join(sorted(traits))} and runs on {opened.served.runtime}: {way}, or use a kind "
        f"that takes any bundle: {', '.join(_kinds_for(traits)) or 'there is none'}"
    )


def _kinds_for(traits: frozenset[str]) -> list[str]:
    names = registry.names("exports")
    return [name for name in names if registry.get("exports", name).requires <= traits]


def _job(
    opened: Opened,
    manifest: Manifest,
    bundle: Path,
    name: str,
    settings: Mapping[str, SettingValue],
) -> ExportJob:
    chosen = name or bundle.name
    if not NAME.fullmatch(chosen):
        raise UsageError(
            f"`{chosen}` can't be a model's name (letters, digits, `.`, `_`, `-`; at most 128, the "
            "first a letter or a digit): give another with --name"
        )
    served, record = opened.served, opened.record
    return ExportJob(
        bundle=str(bundle),
        manifest=manifest,
        name=chosen,
        model=served.model,
        runtime=served.runtime,
        serving=served.serving,
        one_by_one=served.one_by_one,
        certificate=opened.certificate,
        versions=record.profile.device.versions,
        measured=record.claims.get(record.shipped),
        settings=settings,
    )


def _write(exporter: Exporter, job: ExportJob, out: Path) -> tuple[str, ...]:
    temporary = out.absolute().with_name(f".{out.name}.{os.getpid()}.part")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        steps = exporter.write(job, temporary)
        replace_folder(temporary, out.absolute())
    except OSError as error:
        raise UsageError(
            f"{out} can't be written ({error}); nothing was left there: make the folder writable, "
            "free some space, or choose another"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return steps
