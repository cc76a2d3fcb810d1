"""LitServe: one worker process, its own batching, JSON as its documentation shows."""

from __future__ import annotations

from typing import Any

import litserve
import plain_session


class Inference(litserve.LitAPI):
    """Answers `{input: [numbers]}` with `{"output": [numbers]}`."""

    def setup(self, device: str) -> None:
        """Opens the model in the worker."""
        self.network = plain_session.Network()

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """Body to row."""
        return self.network.named(request)

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Rows stay a list; the session stacks them."""
        return inputs

    def predict(self, inputs: list[Any]) -> Any:
        """Rows to rows."""
        return self.network.answer(inputs)

    def unbatch(self, output: Any) -> list[Any]:
        """One answer per request."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Row to body."""
        return {"output": output.tolist()}


if __name__ == "__main__":
    api = Inference(
        max_batch_size=plain_session.cap(), batch_timeout=plain_session.wait_ms() / 1000.0
    )
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=plain_session.port(),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
