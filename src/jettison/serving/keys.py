"""The key of a server: who may ask, and who may change what is served."""

from __future__ import annotations

import hmac

from jettison.errors import RequestRefused

HOW = "send the header `Authorization: Bearer KEY` or `X-API-Key: KEY`"


class KeyCheck:
    """Compares what callers show with the key of the server, in constant time.

    A key never comes from a cookie or a browser's own memory of passwords: nothing that another
    site makes a browser send carries it.

    Attributes:
        is_asked: whether callers must show a key.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self.is_asked = bool(key)

    def check(self, authorization: bytes, api_key: bytes) -> None:
        """Lets a caller in who shows the key, or anybody where there is none.

        Args:
            authorization: value of the header of that name; empty where it is missing.
            api_key: value of `X-API-Key`, likewise.

        Raises:
            RequestRefused: `key`.
        """
        if self._key and not hmac.compare_digest(_bearer(authorization) or api_key, self._key):
            raise RequestRefused("key", f"this server asks for a key: {HOW}")

    def check_change(self, authorization: bytes, api_key: bytes) -> None:
        """Lets a caller change what is served.

        Raises:
            RequestRefused: `key`, also where the server has none.
        """
        if not self._key:
            raise RequestRefused(
                "key",
                "this server has no key, so nothing can be loaded or unloaded over the network: "
                "start it with --key-file",
            )
        self.check(authorization, api_key)


def _bearer(authorization: bytes) -> bytes:
    scheme, _, rest = authorization.partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else b""
