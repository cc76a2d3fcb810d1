"""What a look at sealed rows had found, as text."""

from __future__ import annotations

from jettison.domain.certificate import Certificate, Claim


def look_text(number: int, time: str, certificate: Certificate | None, reason: str) -> str:
    """Tells one revealed look: each candidate with its claims.

    Args:
        number: of the look in its plan.
        time: when it was charged.
        certificate: in full; `None` where it can't be shown.
        reason: why it can't.
    """
    lines = [f"look {number}, {time}:" + ("" if certificate else f" {reason}")]
    for tested in certificate.order if certificate else ():
        lines.append(f"  {tested.title}: {tested.verdict}")
        lines += [f"    {_claim_text(claim)}" for claim in tested.claims]
    return "\n".join(lines)


def _claim_text(claim: Claim) -> str:
    drop = "unknown" if claim.estimate is None else f"{claim.estimate:.4g}"
    bound = "" if claim.bound is None else f", at most {claim.bound:.4g} by these rows"
    gates = "" if claim.gates else " (does not gate)"
    return (
        f"{claim.metric} of {claim.group}: {claim.verdict}{gates}; a drop of {drop}{bound}; "
        f"{claim.margin:.4g} is allowed (n = {claim.n:,})"
    )
