"""The gRPC side of a server: the service `inference.GRPCInferenceService` of the protocol."""
