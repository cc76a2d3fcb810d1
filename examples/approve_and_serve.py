"""From a bundle to a server that answers only because a named person signed it off.

    python examples/approve_and_serve.py jettison-run/release

It makes a key in a temporary folder, shows that a server which asks for an approval refuses the
bundle, approves it, starts the server again, and stops it once it is ready.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

JETTISON = (sys.executable, "-m", "jettison")


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Writes a key that only its owner may read, and its public half."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / "ada.pem", folder / "ada.pub"
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(
            key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        )
    public.write_bytes(
        key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def served(bundle: Path, public: Path, ready: Path, *more: str) -> bool:
    """Starts a server that asks for an approval; says whether it came to serve."""
    command = (*JETTISON, "serve", str(bundle), "--require-approval", str(public), *more)
    server = subprocess.Popen([*command, "--port", "0", "--no-grpc", "--ready-file", str(ready)])
    while server.poll() is None and not ready.exists():
        time.sleep(0.1)
    server.terminate()
    server.wait()
    return ready.exists()


def main(bundle: Path, *more: str) -> int:
    """Goes the whole way; gives 0 if the approval alone made the difference."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        private, public = make_keys(folder)
        before = served(bundle, public, folder / "before.json", *more)
        approve = ("approve", str(bundle), "--name", "Ada Lovelace", "--key", str(private))
        allowed = [word for word in more if word == "--allow-uncertified"]
        subprocess.run([*JETTISON, *approve, *allowed], check=True)
        after = served(bundle, public, folder / "after.json", *more)
        subprocess.run([*JETTISON, "audit", str(bundle)], check=True)
    print(f"served before the approval: {before}; after it: {after}")
    return 0 if after and not before else 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), *sys.argv[2:]))
