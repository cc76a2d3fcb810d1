"""The secret of this user account: made once, kept in the state directory, never sent or shipped.

It keys pseudonyms, so that nobody without it can try names until one fits, and the noise of
private training, so that nobody without it can take the noise off again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from jettison.domain.files import sync_folder
from jettison.errors import UsageError

KEY_BYTES = 32


def state_folder() -> Path:
    """Where jettison keeps what must outlive a project: `$XDG_STATE_HOME/jettison`, or
    `~/.local/state/jettison`.

    Raises:
        UsageError: if the user has no home folder.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    # The specification of base directories says to ignore a relative path.
    try:
        base = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise UsageError(
            "this user has no home folder, so there is no place for the ledger and the keys: set "
            "XDG_STATE_HOME, or name a ledger with `ledger` in jettison.toml"
        ) from error
    return base / "jettison"


def keyed_digest(purpose: str, text: str) -> str:
    """HMAC-SHA256 (RFC 2104) of a text under the key of this account, 64 hexadecimal characters.

    The same text gives the same digest for this account and this purpose, and another one for any
    other.

    Raises:
        UsageError: if the key can't be read or made, or others may read it.
    """
    return hmac.new(_key(), f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


def _key() -> bytes:
    path = state_folder() / "local.key"
    try:
        if not path.exists():
            _make(path)
        key = path.read_bytes()
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise UsageError(
            f"the key of this account, {path}, can't be read or made ({error}); make its folder "
            "writable, or set XDG_STATE_HOME to a folder that is, on a disk that allows hard links"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"others may read the key of this account, {path} ({mode:03o}); run: chmod 600 {path}"
        )
    if len(key) != KEY_BYTES:
        raise UsageError(
            f"{path} holds {len(key)} bytes in place of {KEY_BYTES}; restore it from a backup: with "
            "another key, pseudonyms change"
        )
    return key


def _make(path: Path) -> None:
    """Writes a new key under another name first, so that two processes end up with one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name is taken: the first process wins, whole.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
