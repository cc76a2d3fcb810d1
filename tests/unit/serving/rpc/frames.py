"""Just enough HTTP/2 to send a call in pieces, which no client library does."""

from __future__ import annotations

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7
END_HEADERS = 4
STREAM = 1


def frame(kind: int, payload: bytes, flags: int = 0, stream: int = 0) -> bytes:
    """One frame (RFC 9113, section 4.1)."""
    head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags))
    return head + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that enters no table (RFC 7541, section 6.2.2)."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def connect(port: int) -> socket.socket:
    """Opens a connection and says hello."""
    link = socket.create_connection(("127.0.0.1", port), timeout=20)
    link.sendall(PREFACE + frame(SETTINGS, b""))
    return link


def begin_call(link: socket.socket, path: bytes) -> None:
    """Begins a gRPC call; its message is to come."""
    headers = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
    block = b"".join(literal(name, value) for name, value in headers)
    link.sendall(frame(HEADERS, block, END_HEADERS, STREAM))


def send_some(link: socket.socket, piece: bytes) -> None:
    """Sends a part of the message."""
    link.sendall(frame(DATA, piece, 0, STREAM))


def frames_until(link: socket.socket, kind: int) -> list[tuple[int, bytes]]:
    """Reads frames up to the first of that kind; all of them with their payloads."""
    found: list[tuple[int, bytes]] = []
    buffer = b""
    while not found or found[-1][0] != kind:
        piece = link.recv(65536)
        if not piece:
            raise AssertionError(f"the connection ended after {found}")
        buffer += piece
        while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3]):
            end = 9 + int.from_bytes(buffer[:3])
            found.append((buffer[3], buffer[9:end]))
            buffer = buffer[end:]
            if found[-1][0] == kind:
                break
    return found
