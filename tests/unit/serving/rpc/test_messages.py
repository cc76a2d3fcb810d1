"""The descriptor is what the proto file says, and keeps to itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

import jettison.serving.rpc
from jettison.errors import REFUSALS
from jettison.serving.rpc.messages import descriptor_set, messages, methods
from jettison.serving.rpc.service import CODES

FOLDER = Path(jettison.serving.rpc.__file__).parent


def test_the_descriptor_is_made_of_the_proto_file(tmp_path: Path) -> None:
    """Compiling the proto file again gives the descriptor that is shipped."""
    pytest.importorskip(
        "grpc_tools",
        reason="NO PROTOC: pip install grpcio-tools (in an environment of its own: it pins protobuf "
        "below 7) to compile the .proto again and compare it with the stored descriptor",
    )
    made = tmp_path / "made.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{FOLDER}"]
    command += [f"--descriptor_set_out={made}", "open_inference.proto"]
    subprocess.run(command, check=True)
    assert descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()) == descriptor_set()


def test_the_messages_stay_out_of_the_common_pool() -> None:
    """Another package of the process may bring the same messages under its own file."""
    message = messages()["ModelInferRequest"].DESCRIPTOR
    assert message.full_name == "inference.ModelInferRequest"
    assert message.file.pool is not descriptor_pool.Default()


def test_every_method_has_its_messages() -> None:
    """Requests and responses of all methods are among the classes."""
    assert set(methods()) >= {"ModelInfer", "ModelMetadata", "ServerLive", "RepositoryIndex"}
    for request, response in methods().values():
        assert {request, response} <= set(messages())


def test_every_reason_has_a_status() -> None:
    """No refusal is without a gRPC status."""
    assert set(CODES) == set(REFUSALS)


def test_messages_are_those_of_the_public_client() -> None:
    """What our classes write, the public client's classes read, and the reverse."""
    service_pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    for name, ours in messages().items():
        theirs = getattr(service_pb2, name)
        for field in ours.DESCRIPTOR.fields:
            other = theirs.DESCRIPTOR.fields_by_name.get(field.name)
            if other is not None:
                assert (other.number, other.type) == (field.number, field.type), field.full_name
