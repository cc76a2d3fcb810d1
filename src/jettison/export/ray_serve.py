"""The export `ray`: a folder with a Ray Serve app, its settings and the bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from jettison.domain.exports import ExportJob, ExportSetting
from jettison.export import pins
from jettison.export.bundle_copy import copy_bundle, copy_check, standing
from jettison.trust.bundle_layout import PROBES

BUNDLE = "bundle"
APP = Path(__file__).parent / "templates" / "serve_app.py"


class RayServe:
    """A Ray Serve app of N replicas; each is jettison's own engine, batcher and protocol."""

    name: ClassVar[str] = "ray"
    requires: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar[Mapping[str, ExportSetting]] = {
        "replicas": ExportSetting(2, "replicas of the model"),
        "max_ongoing_requests": ExportSetting(
            256, "requests that Ray hands to one replica at a time; its batcher queues them"
        ),
        "key_file": ExportSetting(
            "", "file with the bearer key, the same on every node; empty: anyone may ask"
        ),
    }

    def write(self, job: ExportJob, folder: Path) -> tuple[str, ...]:
        """Writes serve_app.py, serve.json, requirements and a copy of the bundle."""
        copy_bundle(job, folder / BUNDLE)
        # Copied as it stands in jettison, where it is checked and tested: only data is written.
        shutil.copyfile(APP, folder / APP.name)
        (folder / "serve.json").write_text(json.dumps(_settings(job), indent=2) + "\n", "utf-8")
        (folder / "requirements.txt").write_text(_requirements(job), "utf-8")
        (folder / "README.md").write_text(_readme(job), "utf-8")
        return (
            "cd <this folder> && RAY_USAGE_STATS_ENABLED=0 serve run serve_app:app",
            copy_check(job, folder, f"{BUNDLE}/{PROBES}"),
        )


def _settings(job: ExportJob) -> dict[str, object]:
    return {
        "name": job.name,
        "digest": job.manifest.digest,
        "threads": job.serving.threads,
        "allow_uncertified": not job.certified,
        "replicas": job.whole("replicas"),
        "max_ongoing_requests": job.whole("max_ongoing_requests"),
        "key_file": job.text("key_file"),
    }


def _requirements(job: ExportJob) -> str:
    """The certified runtime, and jettison where a package index has it."""
    version, origin = metadata.version("jettison"), pins.origin()
    jettison = (
        f"# jettison[serve,ray] {version}: install it on every node from {origin}"
        if origin
        else f"jettison[serve,ray]=={version}"
    )
    needed = [f"{name}=={found}" for name, found in pins.needed(job).items() if found]
    return "\n".join([jettison, *needed]) + "\n"


def _readme(job: ExportJob) -> str:
    facts = "\n".join(f"- {sentence}" for sentence in standing(job))
    return (
        f"# {job.name} on Ray Serve\n"
        f"Made by jettison from the bundle `{job.manifest.digest}`.\n\n{facts}\n\n"
        "```\npip install -r requirements.txt\n"
        "RAY_USAGE_STATS_ENABLED=0 serve run serve_app:app\n```\n"
        "`serve.json` holds what may be changed. On several nodes, give Ray this folder as the "
        "working directory of the app (`serve run --working-dir . serve_app:app`), so that every "
        "replica finds the bundle. Each replica checks the bundle and its certificate on its own "
        "node, and refuses to start where they don't hold.\n"
    )
