"""Keys in files: only Ed25519, only for their owner, in both usual forms."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jettison.errors import UsageError
from jettison.trust.signing import read_public_key, read_signer, signed_by
from tests.keys import make_keys


@pytest.mark.parametrize("ssh", [False, True])
def test_what_a_key_signs_its_public_key_accepts(tmp_path: Path, ssh: bool) -> None:
    """A signature fits the text and the key that made it, and nothing else."""
    private, public = make_keys(tmp_path, ssh=ssh)
    signer, other = read_signer(private), read_signer(make_keys(tmp_path / "other")[0])
    signature = signer.sign("yes")
    assert read_public_key(public) == signer.public
    assert signed_by(signer.public, "yes", signature)
    assert not signed_by(signer.public, "no", signature)
    assert not signed_by(other.public, "yes", signature)
    assert not signed_by("short", "yes", signature)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """The message says how to close it."""
    private, _ = make_keys(tmp_path)
    private.chmod(0o640)
    with pytest.raises(UsageError, match=r"640.*chmod 600"):
        read_signer(private)


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    """RSA, a locked key, a public key as a private one, a file that is no key, no file at all."""
    private, public = make_keys(tmp_path)
    plain = (forms.Encoding.PEM, forms.PrivateFormat.PKCS8)
    rsa_key = rsa.generate_private_key(65537, 2048).private_bytes(*plain, forms.NoEncryption())
    locked = Ed25519PrivateKey.generate().private_bytes(
        *plain, forms.BestAvailableEncryption(b"word")
    )
    for content in (rsa_key, locked, public.read_bytes(), b"no key"):
        private.write_bytes(content)
        with pytest.raises(UsageError, match="Ed25519"):
            read_signer(private)
    with pytest.raises(UsageError, match="can't be read"):
        read_signer(tmp_path / "absent")
    public.write_bytes(b"no key")
    with pytest.raises(UsageError, match="openssl pkey"):
        read_public_key(public)


def test_a_key_of_a_kind_that_nobody_can_load_is_refused(tmp_path: Path) -> None:
    """A key that lives in a security token, and a kind that the library has never heard of."""

    def text(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    public = text(b"sk-ssh-ed25519@openssh.com") + text(bytes(32)) + text(b"ssh:")
    head = b"openssh-key-v1\0" + text(b"none") + text(b"none") + text(b"")
    whole = head + (1).to_bytes(4, "big") + text(public) + text(bytes(8))
    path = tmp_path / "id_ed25519_sk"
    path.touch(mode=0o600)
    lines = base64.encodebytes(whole).decode()
    path.write_text(
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}-----END OPENSSH PRIVATE KEY-----\n"
    )
    with pytest.raises(UsageError, match="it must be Ed25519"):
        read_signer(path)
    unheard = base64.b64encode(text(b"ssh-unheard")).decode()
    path.write_text(f"ssh-unheard {unheard} ada@home\n")
    with pytest.raises(UsageError, match="openssl pkey"):
        read_public_key(path)
