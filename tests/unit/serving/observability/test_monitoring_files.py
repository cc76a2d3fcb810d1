"""The files for Prometheus and Grafana: right by promtool, and each alert fires when it must."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jettison.errors import UsageError
from jettison.serving.observability import Observability
from jettison.serving.observability.dashboard import dashboard, expressions
from jettison.serving.observability.monitoring_files import write_monitoring
from jettison.serving.versions import ServedVersion

HERE = Path(__file__).resolve().parent
ALERT_TESTS = HERE / "alerts.test.yml"


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' own checker; a loud skip where it is not installed."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip(
            "NO PROMTOOL: rules, metrics and alerts were not checked by Prometheus' own tool; "
            "install Debian's `prometheus` to run these tests"
        )
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes."""
    folder = tmp_path_factory.mktemp("monitoring") / "new"
    write_monitoring(folder, "10.0.0.1:9000")
    return folder


def checked(*words: str | Path, given: bytes | None = None) -> str:
    """Runs promtool; what it says must be good."""
    done = subprocess.run([str(w) for w in words], capture_output=True, input=given, check=False)
    told = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, told
    return told


def test_the_three_files_are_written(folder: Path) -> None:
    """Rules, an example for Prometheus with the target in it, and the dashboard."""
    assert sorted(p.name for p in folder.iterdir()) == [
        "jettison.dashboard.json",
        "jettison.rules.yml",
        "prometheus.yml",
    ]
    assert '"10.0.0.1:9000"' in (folder / "prometheus.yml").read_text()
    assert json.loads((folder / "jettison.dashboard.json").read_text()) == dashboard()


@pytest.mark.parametrize("target", ["", "host", "http://host:1", 'a"]\n:1', "host:1 2", "host:x"])
def test_a_target_that_is_none_is_refused(tmp_path: Path, target: str) -> None:
    """Nothing is written for it."""
    with pytest.raises(UsageError, match="host:port"):
        write_monitoring(tmp_path / "new", target)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("target", ["localhost:8080", "[::1]:8080", "a-b.example:1"])
def test_names_and_addresses_are_targets(tmp_path: Path, target: str) -> None:
    """Hosts, IPv4 and IPv6."""
    write_monitoring(tmp_path, target)
    assert f'["{target}"]' in (tmp_path / "prometheus.yml").read_text()


def test_promtool_accepts_configuration_and_rules(promtool: str, folder: Path) -> None:
    """`promtool check config` reads both files and finds no fault, and lint neither."""
    told = checked(promtool, "check", "config", "--lint=all", folder / "prometheus.yml")
    assert "SUCCESS" in told
    checked(promtool, "check", "rules", "--lint=all", folder / "jettison.rules.yml")


def test_promtool_accepts_the_metrics(
    promtool: str, watch: Observability, served: ServedVersion
) -> None:
    """`promtool check metrics` has nothing to say about names, types, help and units."""
    watch.request(served.name, served.version, 200, 0.01, "http")
    watch.rejected(served.name, "full")
    observer = watch.batches(served.name, served.version)
    observer.batch(2, [0.001, 0.002], 0.003)
    body, _ = watch.expose()
    assert checked(promtool, "check", "metrics", given=body) == ""


def test_each_alert_fires_when_it_must_and_only_then(promtool: str, folder: Path) -> None:
    """`promtool test rules` plays series to the rules; the expected alerts are in a file here."""
    shutil.copy(ALERT_TESTS, folder / ALERT_TESTS.name)
    told = checked(promtool, "test", "rules", folder / ALERT_TESTS.name)
    assert "SUCCESS" in told


def test_every_alert_is_played(folder: Path) -> None:
    """An alert that no test makes fire is a missing test."""
    alerts = set(re.findall(r"- alert: (\w+)", (folder / "jettison.rules.yml").read_text()))
    played = set(re.findall(r"alertname: (\w+)", ALERT_TESTS.read_text()))
    assert len(alerts) >= 9
    assert alerts == played


def test_rules_and_panels_name_only_known_metrics(folder: Path) -> None:
    """Each `jettison_...` name in a rule or a panel is one that the server or its monitors have."""
    known = {
        "jettison_requests_total",
        "jettison_rejected_total",
        "jettison_request_duration_seconds",
        "jettison_queue_duration_seconds",
        "jettison_compute_duration_seconds",
        "jettison_batch_rows",
        "jettison_batch_rows_limit",
        "jettison_queue_rows",
        "jettison_queue_rows_limit",
        "jettison_in_flight",
        "jettison_model_info",
        "jettison_energy_joules_total",
        "jettison_energy_low_joules_total",
        "jettison_gpu_utilization_ratio",
        "jettison_gpu_memory_used_bytes",
        "jettison_gpu_memory_total_bytes",
        "jettison_quality_evidence_unsaved_seconds",
        "jettison_energy_high_joules_total",
        "jettison_drift_score",
        "jettison_drift_limit",
        "jettison_quality_agreement_ratio",
        "jettison_quality_margin_held",
        "jettison_quality_margin",
        "jettison_quality_drop",
        "jettison_quality_drop_low",
        "jettison_quality_drop_high",
        "jettison_quality_outcomes",
    }
    rules = (folder / "jettison.rules.yml").read_text()
    recorded = set(re.findall(r"record: (\S+)", rules))
    texts = [*expressions().values(), *re.findall(r"expr: (.*(?:\n          .*)*)", rules)]
    for name in recorded:
        texts = [text.replace(name, "") for text in texts]
    named = {n for text in texts for n in re.findall(r"\bjettison_\w+", text)}
    plain = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    assert plain <= known, plain - known
