"""Ed25519 keys in files, as openssl and ssh-keygen write them."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def make_keys(folder: Path, *, ssh: bool = False) -> tuple[Path, Path]:
    """Writes a private and a public key; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    form = forms.PrivateFormat.OpenSSH if ssh else forms.PrivateFormat.PKCS8
    private, public = folder / "key.pem", folder / "key.pub"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(forms.Encoding.PEM, form, forms.NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
        if ssh
        else key.public_key().public_bytes(
            forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public
