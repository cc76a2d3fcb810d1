"""Checks of requests before they are queued: plug-ins of `jettison.guardrails`."""
