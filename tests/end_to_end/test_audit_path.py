"""Who decided what: a signed run, its bundle, a sign-off, and a server that asks for one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from jettison.pipeline.verify import verify
from jettison.trust.audit import AUDIT, read_trail
from tests.end_to_end.conftest import Command, Given, options, record_of
from tests.keys import make_keys


@pytest.mark.slow
def test_a_run_can_be_followed_and_signed_off(
    small: Given, jettison: Command, tmp_path: Path
) -> None:
    """Every stage has its line, the bundle carries them, and a change anywhere gives exit code 5."""
    private, public = make_keys(tmp_path / "ada")
    stranger = make_keys(tmp_path / "eve")[1]
    words = options(small, tmp_path / "ledger", "--technique", "int8_dynamic")
    ran = jettison(*words, "--no-certify", "--trials", "2", "--sign-key", str(private))
    assert ran.returncode == 4, ran.stderr
    run = tmp_path / "jettison-run"
    record = record_of(run)
    kinds = [event.kind for event in read_trail(run / AUDIT)]
    assert kinds[:3] == ["run_started", "prepared", "required"]
    assert kinds.count("trial") == len(record.trials)
    assert kinds[-4:] == ["shortlisted", "judged", "concluded", "emitted"]
    assert "the audit trail of" in " ".join(verify(run / "release").checks)

    told = jettison("audit", "jettison-run", "--key", str(public))
    assert told.returncode == 0, told.stderr
    assert "started a run" in told.stdout
    assert "wrote the bundle" in told.stdout
    assert jettison("audit", "jettison-run", "--key", str(stranger)).returncode == 5

    release = "jettison-run/release"
    serve = ("serve", release, "--require-approval", str(public), "--allow-uncertified")
    refused = jettison(*serve, "--port", "0", "--grpc-port", "0")
    assert refused.returncode == 5
    assert "is not approved" in refused.stderr
    signing = ("approve", release, "--name", "Ada", "--key", str(private))
    assert jettison(*signing).returncode == 2
    assert jettison(*signing, "--allow-uncertified").returncode == 0
    assert "Ada approved" in jettison("audit", release).stdout

    forged = Path(shutil.copytree(run, tmp_path / "forged")) / AUDIT
    forged.write_text(forged.read_text().replace("complete", "failed"))
    broken = jettison("audit", "forged")
    assert broken.returncode == 5
    assert "was changed after it was written" in broken.stderr

    leaked = jettison(
        "leak", "jettison-run", "--members", str(small.data), "--non-members", str(small.data)
    )
    assert leaked.returncode == 0, leaked.stderr
    assert "rows lie under an unopened seal" in leaked.stdout
    assert "No difference" in leaked.stdout
    other = tmp_path / "other.onnx"
    made = onnx.load(str(small.model))
    for weights in made.graph.initializer:
        noisy = numpy_helper.to_array(weights) * np.float32(1.1)
        weights.CopyFrom(numpy_helper.from_array(noisy, weights.name))
    onnx.save(made, str(other))
    both = ("--members", str(small.data), "--non-members", str(small.data))
    stronger = jettison("leak", "jettison-run", *both, "--reference", str(other))
    assert stronger.returncode == 0, stronger.stderr
    assert "attack against 1 reference models" in stronger.stdout
    assert stronger.stdout.count("shipped: AUC 0.5000") == 2
    itself = jettison("leak", "jettison-run", *both, "--reference", str(small.model))
    assert itself.returncode == 2
    assert "is one of the models that are attacked" in itself.stderr
    sheet = run / "release.approvals.md"
    assert "Approved by **Ada**" in sheet.read_text()
    assert "that stand: Ada" in jettison("verify", release).stdout
    hiding = jettison("privacy", str(small.data), "--quasi", "site", "--k", "500")
    assert hiding.returncode == 5
    assert "smallest class (k): 200" in hiding.stdout
    forgotten = jettison("forget", "jettison-run", "--where", "site=north", "--delete")
    assert forgotten.returncode == 0, forgotten.stderr
    assert not (run / "work" / "data").exists()
    assert "removed 200 row(s)" in jettison("audit", "jettison-run").stdout
