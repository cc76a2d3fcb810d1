"""gRPC with real certificates and keys: who is let in, and who is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from jettison.serving.rpc.messages import messages
from jettison.serving.sources import ServedSource
from tests.serving_live import LiveServer
from tests.serving_tls import Authority, Pair, make_authority

SERVICE = "/inference.GRPCInferenceService"
KEY = "a-key-of-some-length"
BEARER = (("authorization", f"Bearer {KEY}"),)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom server and callers trust."""
    return make_authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom nobody trusts."""
    return make_authority(tmp_path_factory.mktemp("tls") / "theirs")


def served(bundle: Path, authority: Authority, **more: str) -> LiveServer:
    """A server with TLS over gRPC and a key."""
    files = {
        "tls_certificate": str(authority.server.certificate),
        "tls_key": str(authority.server.key),
    }
    sources = (ServedSource("mlp", bundle),)
    return LiveServer(sources, grpc=True, key=KEY, **files, **more)


@pytest.fixture(scope="module")
def encrypted(bundle: Path, authority: Authority) -> Iterator[LiveServer]:
    """TLS, a key, no certificates of callers."""
    with served(bundle, authority) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(bundle: Path, authority: Authority) -> Iterator[LiveServer]:
    """TLS, a key, and certificates of callers."""
    with served(bundle, authority, tls_client_ca=str(authority.ca)) as server:
        yield server


def secure(server: LiveServer, trusted: Path, own: Pair | None = None) -> grpc.Channel:
    """A channel that trusts one authority and may show a certificate of its own."""
    credentials = grpc.ssl_channel_credentials(
        trusted.read_bytes(),
        own.key.read_bytes() if own else None,
        own.certificate.read_bytes() if own else None,
    )
    return grpc.secure_channel(f"127.0.0.1:{server.grpc_port}", credentials)


def ask(channel: grpc.Channel, metadata: tuple[tuple[str, str], ...] = ()) -> grpc.StatusCode:
    """How a question about the model ends, which needs the key."""
    request, response = (messages()[f"ModelMetadata{kind}"] for kind in ("Request", "Response"))
    call = channel.unary_unary(
        f"{SERVICE}/ModelMetadata", request.SerializeToString, response.FromString
    )
    with channel:
        try:
            told = call(request(name="mlp"), metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[no-any-return]
    assert told.name == "mlp"
    return grpc.StatusCode.OK


def test_with_the_certificate_and_the_key(encrypted: LiveServer, authority: Authority) -> None:
    """Who trusts the authority and shows the key is answered."""
    assert ask(secure(encrypted, authority.ca), BEARER) is grpc.StatusCode.OK
    api_key = (("x-api-key", KEY),)
    assert ask(secure(encrypted, authority.ca), api_key) is grpc.StatusCode.OK


@pytest.mark.parametrize("shown", ["", "Bearer another-key-of-a-length", f"Basic {KEY}", "Bearer"])
def test_encrypted_but_without_the_key(
    encrypted: LiveServer, authority: Authority, shown: str
) -> None:
    """TLS lets nobody in by itself."""
    metadata = (("authorization", shown),) if shown else ()
    told = ask(secure(encrypted, authority.ca), metadata)
    assert told is grpc.StatusCode.UNAUTHENTICATED


def test_who_trusts_another_authority_does_not_talk(
    encrypted: LiveServer, stranger: Authority
) -> None:
    """The caller sees that the server is not the one that it trusts, and sends no key."""
    assert ask(secure(encrypted, stranger.ca), BEARER) is grpc.StatusCode.UNAVAILABLE


def test_plain_text_is_not_understood(encrypted: LiveServer) -> None:
    """A server with TLS answers nobody without."""
    channel = grpc.insecure_channel(f"127.0.0.1:{encrypted.grpc_port}")
    assert ask(channel, BEARER) is grpc.StatusCode.UNAVAILABLE


def test_callers_must_show_a_certificate_where_it_is_asked(
    mutual: LiveServer, authority: Authority, stranger: Authority
) -> None:
    """Ours with the key is answered; none, a stranger's, or ours without the key is not."""
    told = [
        ask(secure(mutual, authority.ca, own), metadata)
        for own, metadata in (
            (authority.client, BEARER),
            (None, BEARER),
            (stranger.client, BEARER),
            (authority.client, ()),
        )
    ]
    assert told == [
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNAUTHENTICATED,
    ]


def test_a_key_without_tls(bundle: Path) -> None:
    """The key counts in plain text too; a change of what is served needs it as well."""
    with LiveServer((ServedSource("mlp", bundle),), grpc=True, key=KEY) as server:
        address = f"127.0.0.1:{server.grpc_port}"
        assert ask(grpc.insecure_channel(address), BEARER) is grpc.StatusCode.OK
        assert ask(grpc.insecure_channel(address)) is grpc.StatusCode.UNAUTHENTICATED
        request = messages()["RepositoryModelUnloadRequest"]
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(
                f"{SERVICE}/RepositoryModelUnload",
                request.SerializeToString,
                messages()["RepositoryModelUnloadResponse"].FromString,
            )
            with pytest.raises(grpc.RpcError) as caught:
                call(request(model_name="mlp"), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert [version.name for version in server.call(server.repository.versions, "mlp")]
