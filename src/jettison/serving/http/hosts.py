"""Is a request meant for this server? The `Host` header says for whom it is.

A web page can't read what a server on this machine answers, unless its own name is made to point
here (DNS rebinding): then the browser takes both for one site, and the page asks what it likes.
Such a request still names the page's host. Who has to show a key is not reached that way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from jettison.errors import RequestRefused
from jettison.serving.settings import ServeSettings

HOST = b"host"
LOCAL = "localhost"


class HostCheck:
    """Refuses requests that name another host than this server has.

    Looks at nothing where a key is asked for or where other machines are meant to reach the server,
    unless hosts were listed.

    Attributes:
        is_on: whether it looks at all.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._names = {_bare(name) for name in (settings.host, *settings.allowed_hosts)}
        self._seen = b""
        self.is_on = bool(settings.allowed_hosts) or (settings.is_loopback and not settings.key)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Looks at every `Host` header; a request without one comes from no browser.

        Raises:
            RequestRefused: `host`.
        """
        for name, value in headers:
            if name == HOST and value != self._seen:
                if not self._is_ours(value.decode("latin-1")):
                    raise _refused(value)
                self._seen = value

    def _is_ours(self, value: str) -> bool:
        name = _bare(_without_port(value))
        if name in self._names or name == LOCAL or name.endswith(f".{LOCAL}"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _without_port(value: str) -> str:
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0]


def _bare(name: str) -> str:
    return name.strip("[]").removesuffix(".").lower()


def _refused(value: bytes) -> RequestRefused:
    return RequestRefused(
        "host",
        f"this server is not called {value[:100].decode('ascii', 'replace')!r}: ask for it by "
        "localhost or its address, or start it with --allowed-host and that name",
    )
