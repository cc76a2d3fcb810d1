"""Certificates made on the spot with openssl: an authority, a server on 127.0.0.1, a client."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Who signs, and what it signed."""

    ca: Path
    server: Pair
    client: Pair


def make_authority(folder: Path) -> Authority:
    """Makes everything anew; two authorities trust nothing of each other."""
    folder.mkdir(parents=True)
    ca = Pair(folder / "ca.pem", folder / "ca.key")
    _openssl("req", "-x509", *CURVE, "-keyout", ca.key, "-out", ca.certificate, "-subj", "/CN=ca")
    server = _signed(folder, ca, "server", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    client = _signed(folder, ca, "client", "extendedKeyUsage=clientAuth")
    return Authority(ca.certificate, server, client)


def _signed(folder: Path, ca: Pair, name: str, extension: str) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        *("req", "-x509", *CURVE, "-CA", ca.certificate, "-CAkey", ca.key),
        *("-keyout", pair.key, "-out", pair.certificate, "-subj", f"/CN={name}"),
        *("-addext", extension, "-addext", "basicConstraints=critical,CA:false"),
    )
    return pair


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
