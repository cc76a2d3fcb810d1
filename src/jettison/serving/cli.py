"""The options of `jettison serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(  # noqa: PLR0913 - each option of a command is a parameter of its function
    bundle: Annotated[
        list[str], typer.Argument(help="Folder of a bundle, or NAME=FOLDER; several may be given.")
    ],
    name: Annotated[str, typer.Option(help="Name of the only bundle (its folder's name).")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="For HTTP; 0 takes any free one.")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="For gRPC; 0 takes any free one.")] = 8081,
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="HTTP only.")] = False,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the key that callers must show.")
    ] = None,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Listen beyond this machine without a key.")
    ] = False,
    tls_certificate: Annotated[str, typer.Option(help="PEM file: encrypt.")] = "",
    tls_key: Annotated[str, typer.Option(help="PEM file of the certificate's key.")] = "",
    tls_client_ca: Annotated[
        str, typer.Option(help="PEM file: callers must show a certificate that it signed.")
    ] = "",
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", help="Name that callers call it by; repeatable."),
    ] = None,
    threads: Annotated[int, typer.Option(help="Of one call; 0: as certified.")] = 0,
    max_batch_rows: Annotated[int, typer.Option(help="Rows of a batch; 0: measured.")] = 0,
    latency_target_ms: Annotated[
        float, typer.Option(help="One batch takes no longer, when its size is measured.")
    ] = 100.0,
    hold_ms: Annotated[
        float, typer.Option(help="Longest wait for a batch mate that is due; 0: none.")
    ] = 0.0,
    deadline_seconds: Annotated[float, typer.Option(help="Longest that a request may take.")] = 5.0,
    read_seconds: Annotated[float, typer.Option(help="Longest that a request may arrive.")] = 10.0,
    max_body_mb: Annotated[float, typer.Option(help="Largest request, in MiB.")] = 64.0,
    max_queue_mb: Annotated[
        float, typer.Option(help="Memory of waiting inputs of one version, in MiB.")
    ] = 256.0,
    max_connections: Annotated[int, typer.Option(help="Open at once, over HTTP.")] = 4096,
    drain_seconds: Annotated[float, typer.Option(help="Longest end after a signal.")] = 30.0,
    guardrails: Annotated[
        Path | None, typer.Option(help="TOML file: limits of requests, by model.")
    ] = None,
    allow_uncertified: Annotated[
        bool, typer.Option("--allow-uncertified", help="Serve what no certificate covers here.")
    ] = False,
    require_approval: Annotated[
        list[Path] | None,
        typer.Option(help="Public key whose holder must have approved; repeatable, one suffices."),
    ] = None,
    canary: Annotated[
        list[str] | None,
        typer.Option("--canary", help="NAME=FOLDER:SHARE: a second version gets a share."),
    ] = None,
    shadow: Annotated[
        list[str] | None,
        typer.Option("--shadow", help="NAME=FOLDER: a bundle that answers too, unseen."),
    ] = None,
    original: Annotated[
        list[str] | None,
        typer.Option("--original", help="NAME=MODEL: the original model as the shadow."),
    ] = None,
    shadow_share: Annotated[float, typer.Option(help="Of the requests, for the shadow.")] = 0.05,
    state_folder: Annotated[
        str, typer.Option(help="Keeps the evidence about margins through restarts.")
    ] = "",
    no_page: Annotated[bool, typer.Option("--no-page", help="Show no page at /.")] = False,
    trace_endpoint: Annotated[str, typer.Option(help="OTLP address for traces.")] = "",
    trace_share: Annotated[float, typer.Option(help="Of the requests, for traces.")] = 1.0,
    access_lines: Annotated[
        float, typer.Option(help="Log lines of requests a second at most; 0: none.")
    ] = 20.0,
    ready_file: Annotated[
        str, typer.Option(help="Written, as JSON, once the server is ready.")
    ] = "",
) -> None:
    """Serve bundles over HTTP and gRPC (Open Inference Protocol v2)."""
    from jettison.serving import server, sources
    from jettison.serving.guarding import read_guardrails
    from jettison.serving.settings import ServeSettings, bytes_of
    from jettison.trust.signing import read_public_key

    beside = sources.Beside(canary or (), shadow or (), original or ())
    served = sources.parse_sources(bundle, name, beside)
    settings = ServeSettings(
        host=host,
        http_port=port,
        grpc_port=None if no_grpc else grpc_port,
        key=sources.key_from_file(key_file) if key_file else "",
        no_key=no_key,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        allowed_hosts=tuple(allowed_host or ()),
        max_body_bytes=bytes_of(max_body_mb),
        max_queue_bytes=bytes_of(max_queue_mb, "--max-queue-mb"),
        max_connections=max_connections,
        read_seconds=read_seconds,
        deadline_seconds=deadline_seconds,
        latency_target_seconds=latency_target_ms / 1e3,
        hold_seconds=hold_ms / 1e3,
        max_batch_rows=max_batch_rows,
        threads=threads,
        drain_seconds=drain_seconds,
        guardrails=read_guardrails(guardrails, [one.name for one in served]) if guardrails else {},
        allow_uncertified=allow_uncertified,
        approvers=tuple(read_public_key(path) for path in require_approval or ()),
        shadow_share=shadow_share,
        state_folder=state_folder,
        page=not no_page,
        trace_endpoint=trace_endpoint,
        trace_share=trace_share,
        access_lines_per_second=access_lines,
        ready_file=ready_file,
    )
    raise typer.Exit(server.serve(served, settings))
