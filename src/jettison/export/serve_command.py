"""The command line of `jettison serve` inside a container: one place for its words."""

from __future__ import annotations

from jettison.domain.exports import ExportJob, ExportSetting

ACCESS = ExportSetting(
    "key",
    "`key`: callers show the bearer key in the mounted key file; `open`: anyone may ask",
    choices=("key", "open"),
)
DRAIN_SECONDS = 8
"""Above the longest that a request may take (5 s), below the 10 s that `docker stop` waits."""

READY, LIVE = "/v2/health/ready", "/v2/health/live"


def serve_arguments(job: ExportJob, place: str, key_file: str, ports: tuple[int, int]) -> list[str]:
    """Words after `jettison serve`.

    Args:
        job: what is served.
        place: the bundle inside the container.
        key_file: of the bearer key, inside the container.
        ports: HTTP, and gRPC or 0 to leave it out.
    """
    http, grpc = ports
    access = ["--key-file", key_file] if job.text("access") == "key" else ["--no-key"]
    return [
        f"{job.name}={place}",
        "--host",
        "0.0.0.0",
        "--port",
        str(http),
        *(["--grpc-port", str(grpc)] if grpc else ["--no-grpc"]),
        "--drain-seconds",
        str(DRAIN_SECONDS),
        *access,
        *([] if job.certified else ["--allow-uncertified"]),
    ]


def thread_variables(job: ExportJob) -> dict[str, str]:
    """What keeps the numeric libraries at the certified number of threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(job.serving.threads))


def image_tag(job: ExportJob) -> str:
    """The name of the container image: model, and the start of the bundle's digest."""
    return f"{job.name.lower()}:{job.manifest.digest[:12]}"
