"""MLServer: a runtime of our own in its process, its adaptive batching, OIP with JSON tensors."""

from __future__ import annotations

import plain_session
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Inference(MLModel):
    """Answers tensors with tensors."""

    async def load(self) -> bool:
        """Opens the model."""
        self.network = plain_session.Network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """A batch to a batch."""
        batch = {
            tensor.name: NumpyCodec.decode_input(tensor).astype(
                self.network.inputs[tensor.name], copy=False
            )
            for tensor in payload.inputs
        }
        answer = self.network.whole(batch)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("output", answer)]
        )
