"""A bundle is served only if it is what it says, and its certificate covers this server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jettison.domain.bundle import Manifest
from jettison.domain.record import file_digest, from_json, to_json
from jettison.errors import CheckFailed, UsageError
from jettison.serving.admission import admit, label_of, refuse_doubtful
from jettison.trust.bundle_layout import read_manifest
from tests.serving_bundle import Made, make_bundle


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "release"))


def forge(folder: Path) -> None:
    """Writes a manifest that fits the files as they are now."""
    old = read_manifest(folder)
    files = {name: file_digest(folder / name) for name in old.files}
    manifest = Manifest(files, old.status, old.created, old.jettison)
    (folder / "manifest.json").write_text(to_json(manifest))


def test_a_good_bundle_is_admitted(bundle: Path) -> None:
    """Everything that a server needs is at hand, and nothing speaks against it."""
    admitted = admit(bundle, threads=0)
    assert admitted.doubts == ()
    assert admitted.digest == read_manifest(bundle).digest
    assert admitted.version == admitted.digest[:12]
    assert label_of(admitted.doubts) == "certified"
    assert admitted.served.model.artifact.path == bundle / "model" / "model.onnx"
    assert admitted.card == (bundle / "README.md").read_text()
    assert len(admitted.probes["input.x"]) == 64
    refuse_doubtful(admitted, admitted.doubts, allowed=False)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The path is named, and what to give instead."""
    with pytest.raises(UsageError, match=r"there is no bundle at .*absent"):
        admit(tmp_path / "absent", threads=0)


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    """A folder without a manifest fails the check."""
    with pytest.raises(CheckFailed, match="not a jettison bundle"):
        admit(tmp_path, threads=0)


@pytest.mark.parametrize("name", ["model/model.onnx", "certificate.json", "probes.npz"])
def test_a_changed_file(copied: Path, name: str) -> None:
    """One changed byte is found by its hash."""
    path = copied / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckFailed, match=f"{name} was changed"):
        admit(copied, threads=0)


def test_a_half_written_bundle(copied: Path) -> None:
    """Missing and cut files are listed."""
    (copied / "report.html").unlink()
    model = copied / "model" / "model.onnx"
    model.write_bytes(model.read_bytes()[:100])
    with pytest.raises(CheckFailed, match=r"(?s)model.onnx was changed.*report.html is missing"):
        admit(copied, threads=0)


def test_a_file_that_does_not_belong(copied: Path) -> None:
    """A file that no manifest names could be code that somebody hopes will run."""
    (copied / "model" / "extra.bin").write_bytes(b"x")
    with pytest.raises(CheckFailed, match="not in the manifest"):
        admit(copied, threads=0)


def test_another_models_certificate(copied: Path, other_bundle: Path) -> None:
    """A certificate that was moved from another bundle, hashes and all, is found out."""
    for name in ("certificate.json", "run.json"):
        shutil.copyfile(other_bundle / name, copied / name)
    forge(copied)
    with pytest.raises(CheckFailed, match="about another model"):
        admit(copied, threads=0)


def test_a_forged_batch_policy(tmp_path: Path) -> None:
    """A model that was certified alone can't be declared fit for company."""
    folder = make_bundle(tmp_path / "release", Made(one_by_one=True))
    path = folder / "model.json"
    path.write_text(path.read_text().replace('"one_by_one": true', '"one_by_one": false'))
    forge(folder)
    with pytest.raises(CheckFailed, match="another batch policy"):
        admit(folder, threads=0)


def test_another_cpu_class(tmp_path: Path) -> None:
    """A certificate of other instruction sets leaves a doubt, which is refused or shown."""
    folder = make_bundle(tmp_path / "release", Made(cpu_class="x86_64-avx512_vnni"))
    admitted = admit(folder, threads=0)
    assert len(admitted.doubts) == 1
    assert "avx512_vnni" in admitted.doubts[0]
    with pytest.raises(CheckFailed, match="--allow-uncertified"):
        refuse_doubtful(admitted, admitted.doubts, allowed=False)
    refuse_doubtful(admitted, admitted.doubts, allowed=True)
    assert label_of(admitted.doubts).startswith("uncertified: it was certified on a CPU of class")


def test_another_accelerator(tmp_path: Path) -> None:
    """A certificate of a GPU covers no server that computes elsewhere."""
    folder = make_bundle(tmp_path / "release", Made(accelerator="NVIDIA H200"))
    (doubt,) = admit(folder, threads=0).doubts
    assert doubt.startswith("it was certified on NVIDIA H200, and here it computes on none")


def test_other_threads(bundle: Path) -> None:
    """Another number of threads adds in another order, so the certificate doesn't cover it."""
    admitted = admit(bundle, threads=2)
    assert admitted.served.serving.threads == 2
    assert "1 computing thread(s)" in admitted.doubts[0]
    assert admit(bundle, threads=1).doubts == ()


def test_an_uncertified_bundle(tmp_path: Path) -> None:
    """A bundle without a certificate says why there is none."""
    folder = make_bundle(tmp_path / "release", Made(certified=False))
    admitted = admit(folder, threads=0)
    assert admitted.doubts == ("its certificate says `uncertified`: a test left the seal closed",)
    # Threads and CPU class are no matter where nothing was certified.
    assert admit(folder, threads=2).doubts == admitted.doubts


def test_the_manifest_must_be_whole(copied: Path) -> None:
    """A manifest that was cut, as by a crash while copying, is no manifest."""
    path = copied / "manifest.json"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckFailed, match="is not a manifest"):
        admit(copied, threads=0)
    with pytest.raises(ValueError, match="JSON"):
        from_json(Manifest, path.read_bytes())
