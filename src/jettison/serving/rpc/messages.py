"""The message classes of the service, made from its descriptor.

The descriptor lives in a pool of its own. Code that protoc generates would register the same names
in the pool that all packages share, where a client of the protocol in the same process has
registered them already; and it would refuse an older protobuf than the one that generated it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
DESCRIPTOR = "open_inference.binpb"


@functools.cache
def messages() -> Mapping[str, Any]:
    """Name -> message class, for example `ModelInferRequest`."""
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_set().file
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}")
        )
        for file in files
        for message in file.message_type
    }


def descriptor_set() -> Any:
    """What protoc made of `open_inference.proto`."""
    data = (resources.files(__package__) / DESCRIPTOR).read_bytes()
    return descriptor_pb2.FileDescriptorSet.FromString(data)


def methods() -> Mapping[str, tuple[str, str]]:
    """Method -> names of its request and its response."""
    (service,) = (service for file in descriptor_set().file for service in file.service)
    return {
        method.name: (_last(method.input_type), _last(method.output_type))
        for method in service.method
    }


def _last(name: str) -> str:
    return name.rpartition(".")[2]
