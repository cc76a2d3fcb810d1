"""Sealed rows: moved away, checked to the byte, opened once against a charged look."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import typing
from pathlib import Path

import numpy as np
import pytest

import jettison
from jettison.domain.rows import LENGTHS, Rows
from jettison.domain.splits import CertificationSet, Labels
from jettison.errors import CheckFailed, SealRefused
from jettison.trust import seal
from jettison.trust.ledger import Charge, Ledger, Look
from jettison.trust.seal import check_seal, open_seal, seal_rows, sealed_row_set

N = 20


def make_rows(folder: Path) -> Rows:
    """Rows with one plain and one ragged input."""
    folder.mkdir(parents=True)
    np.save(folder / "x.npy", np.arange(N * 3, dtype=np.float32).reshape(N, 3))
    np.save(folder / "ids.npy", np.ones((N, 4), dtype=np.int64))
    np.save(folder / f"{LENGTHS}.npy", np.full(N, 4))
    return Rows(str(folder), ("x", "ids"), N, {"ids": 0.0}, "f" * 64)


def make_labels() -> Labels:
    return Labels(
        targets=np.arange(N) % 2,
        groups={"sex": np.array(["f", "m"] * (N // 2), dtype=object)},
        units=np.array([f"author {i // 4}" for i in range(N)], dtype=object),
        weights=np.linspace(1.0, 2.0, N),
    )


def row_digests() -> list[str]:
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(N)]


@pytest.fixture
def sealed(tmp_path: Path) -> CertificationSet:
    return seal_rows(
        make_rows(tmp_path / "rows"), make_labels(), row_digests(), tmp_path / "sealed"
    )


def look_at(sealed: CertificationSet, folder: Path) -> Look:
    rows = sealed_row_set(sealed)
    return Ledger.at(folder).charge(Charge("c", sealed.digest, "o", 0.05, rows))


def test_the_set_tells_its_sizes_only(sealed: CertificationSet) -> None:
    """Sizes of the whole and of groups, in rows and in units, are known without opening."""
    assert (sealed.n, sealed.units, sealed.labelled, sealed.weighted) == (N, 5, True, True)
    assert sealed.group_sizes == {"sex=f": 10, "sex=m": 10}
    assert sealed.group_units == {"sex=f": 5, "sex=m": 5}


def test_rows_are_moved(tmp_path: Path, sealed: CertificationSet) -> None:
    """Nothing is left where the rows lay."""
    assert sealed.folder == str(tmp_path / "sealed")
    assert list((tmp_path / "rows").iterdir()) == []


def test_opening_gives_what_was_sealed(tmp_path: Path, sealed: CertificationSet) -> None:
    """Rows and labels come back as they were; text as fixed-width unicode."""
    rows, labels = open_seal(sealed, look_at(sealed, tmp_path / "ledger"))
    expected = make_labels()
    np.testing.assert_array_equal(rows.column("x")[3], [9, 10, 11])
    assert (rows.n, rows.names, rows.pad, rows.digest) == (N, ("x", "ids"), {"ids": 0.0}, "f" * 64)
    assert rows.lengths() is not None
    assert labels.targets is not None
    assert labels.weights is not None
    assert labels.units is not None
    np.testing.assert_array_equal(labels.targets, expected.targets)
    np.testing.assert_array_equal(labels.weights, expected.weights)
    np.testing.assert_array_equal(labels.units, expected.units)
    assert labels.groups["sex"].dtype.kind == "U"
    assert labels.membership()["sex=f"].sum() == 10


def test_rows_without_labels_can_be_sealed(tmp_path: Path) -> None:
    """No target, group, unit or weight is needed."""
    sealed = seal_rows(make_rows(tmp_path / "r"), Labels(None), row_digests(), tmp_path / "s")
    _, labels = open_seal(sealed, look_at(sealed, tmp_path / "ledger"))
    assert not sealed.labelled
    assert labels == Labels(None)


def test_the_same_data_has_the_same_digest(tmp_path: Path) -> None:
    """The digest names the data, not the folder or the day."""
    first = seal_rows(make_rows(tmp_path / "a"), make_labels(), row_digests(), tmp_path / "1")
    second = seal_rows(make_rows(tmp_path / "b"), make_labels(), row_digests(), tmp_path / "2")
    assert first.digest == second.digest
    changed = dataclasses.replace(make_labels(), targets=np.zeros(N, dtype=np.int64))
    third = seal_rows(make_rows(tmp_path / "c"), changed, row_digests(), tmp_path / "3")
    assert third.digest != first.digest


def test_lengths_must_agree(tmp_path: Path) -> None:
    """A label or digest too few is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"row_digests 0.*19"):
        seal_rows(make_rows(tmp_path / "r"), make_labels(), row_digests()[1:], tmp_path / "s")


def test_objects_are_no_targets(tmp_path: Path) -> None:
    """Targets that would need pickle are refused."""
    labels = Labels(np.array([object()] * N))
    with pytest.raises(ValueError, match="Python objects"):
        seal_rows(make_rows(tmp_path / "r"), labels, row_digests(), tmp_path / "s")


def test_an_uncharged_look_opens_nothing(tmp_path: Path, sealed: CertificationSet) -> None:
    """A look that no ledger charged is refused."""
    made_up = Look(str(tmp_path / "ledger"), "0" * 64, 1, 0.05, sealed.digest, "key")
    with pytest.raises(SealRefused, match="has not charged"):
        open_seal(sealed, made_up)


def test_a_look_opens_once(tmp_path: Path, sealed: CertificationSet) -> None:
    """The same look can't open its seal a second time."""
    look = look_at(sealed, tmp_path / "ledger")
    open_seal(sealed, look)
    with pytest.raises(SealRefused, match="already"):
        open_seal(sealed, look)


def test_a_look_opens_only_its_own_rows(tmp_path: Path, sealed: CertificationSet) -> None:
    """A look charged for one set does not open another."""
    other_digests = [hashlib.sha256(f"other {i}".encode()).hexdigest() for i in range(N)]
    other = seal_rows(make_rows(tmp_path / "r"), make_labels(), other_digests, tmp_path / "s")
    look = look_at(sealed, tmp_path / "ledger")
    with pytest.raises(SealRefused, match="another sealed set"):
        open_seal(other, look)
    with pytest.raises(SealRefused, match="charged for other rows"):
        open_seal(other, dataclasses.replace(look, data=other.digest))


@pytest.mark.parametrize(
    "name", ["seal.json", "labels.npz", "row_set.npy", "rows/x.npy", "rows/ids.npy"]
)
def test_flipped_bytes_are_found_before_the_look_is_used(
    tmp_path: Path, sealed: CertificationSet, name: str
) -> None:
    """A changed byte in any sealed file is found, and the look stays usable for the true one."""
    look = look_at(sealed, tmp_path / "ledger")
    path = Path(sealed.folder) / name
    good = path.read_bytes()
    for place in (0, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(CheckFailed, match="seal"):
            check_seal(sealed)
        with pytest.raises(CheckFailed, match="seal"):
            open_seal(sealed, look)
    path.write_bytes(good)
    open_seal(sealed, look)


def test_a_missing_file_is_found(sealed: CertificationSet) -> None:
    """A sealed file that is gone is named."""
    (Path(sealed.folder) / "labels.npz").unlink()
    with pytest.raises(CheckFailed, match=r"labels\.npz"):
        check_seal(sealed)


def test_only_open_seal_gives_labels() -> None:
    """No other public function of the seal gives labels, and no other module names their file."""
    public = {
        name: function
        for name, function in vars(seal).items()
        if inspect.isfunction(function)
        and function.__module__ == seal.__name__
        and not name.startswith("_")
    }
    assert set(public) == {"seal_rows", "check_seal", "sealed_row_set", "open_seal"}
    giving = {
        name
        for name, function in public.items()
        if "Labels" in str(typing.get_type_hints(function)["return"])
    }
    assert giving == {"open_seal"}
    root = Path(jettison.__file__).parent
    naming = {p.name for p in root.rglob("*.py") if "labels.npz" in p.read_text()}
    assert naming == {"seal.py"}
    fields = {field.name for field in dataclasses.fields(CertificationSet)}
    assert not fields & {"labels", "targets", "rows"}
