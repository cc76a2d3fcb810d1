"""Ed25519 signatures (RFC 8032) with keys that lie in files; a thin layer over `cryptography`.

Keys are made by any tool: `openssl genpkey -algorithm ed25519 -out key.pem`, or `ssh-keygen -t
ed25519`. jettison makes, sends and stores no private key.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jettison.errors import UsageError
from jettison.registry import missing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO
_MAKE = "openssl genpkey -algorithm ed25519 -out {path}; chmod 600 {path}"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that was read from a file.

    Attributes:
        public: its public key, 64 hexadecimal characters.
    """

    public: str
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    def sign(self, text: str) -> str:
        """Signs the UTF-8 bytes of a text; 128 hexadecimal characters."""
        return self._key.sign(text.encode()).hex()


def read_signer(path: Path) -> Signer:
    """Reads a private key (PEM or OpenSSH, without a password) that nobody else may read.

    Raises:
        UsageError: if it can't be read, is of another kind, or others may read or write it.
        MissingDependency: without the package `cryptography`.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            load_pem_private_key,
            load_ssh_private_key,
        )
    except ModuleNotFoundError as error:
        raise missing(error, "signing") from error
    data = _bytes(path, "private")
    mode = path.stat().st_mode
    if mode & OTHERS_MAY:
        raise UsageError(
            f"others may use the private key {path} (its permissions are "
            f"{stat.S_IMODE(mode):03o}); run: chmod 600 {path}"
        )
    load = load_ssh_private_key if b"OPENSSH" in data[:64] else load_pem_private_key
    try:
        key = load(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path} is no private key that can be used ({error}); it must be Ed25519 in PEM or "
            f"OpenSSH form, without a password: {_MAKE.format(path='key.pem')}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(
            f"{path} is a `{type(key).__name__}`; only Ed25519 keys sign here: "
            f"{_MAKE.format(path='key.pem')}"
        )
    return Signer(key.public_key().public_bytes_raw().hex(), key)


def read_public_key(path: Path) -> str:
    """Reads a public key (PEM or OpenSSH); 64 hexadecimal characters.

    Raises:
        UsageError: if it can't be read or is of another kind.
        MissingDependency: without the package `cryptography`.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import (
            load_pem_public_key,
            load_ssh_public_key,
        )
    except ModuleNotFoundError as error:
        raise missing(error, "checking a signature") from error
    data = _bytes(path, "public")
    load = load_ssh_public_key if data.startswith(b"ssh-") else load_pem_public_key
    try:
        key = load(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path} is no public key that can be read ({error}); make it from the private one: "
            f"openssl pkey -in key.pem -pubout -out {path}"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is a `{type(key).__name__}`; only Ed25519 keys sign here")
    return key.public_bytes_raw().hex()


def signed_by(public: str, text: str, signature: str) -> bool:
    """Whether the holder of a key signed a text.

    Raises:
        MissingDependency: without the package `cryptography`.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError as error:
        raise missing(error, "checking a signature") from error
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def _bytes(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"the {kind} key {path} can't be read: {error.strerror}") from error
