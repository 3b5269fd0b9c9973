"""Writing down what happens to a policy: a row of the audit trail, and the message to whoever wants to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from experiments.keeping import audit
from experiments.webhooks.events import announce

EVENTS: dict[str, str] = {
    "policy_live": "policy.live",
    "policy_waiting": "policy.waiting",
    "policy_blocked": "policy.blocked",
    "policy_rolled_back": "policy.rolled_back",
    "variant_masked": "variant.masked",
}
"""What webhooks are told of, and by which event; the other steps stand in the audit trail alone."""

GATE = "gate"
"""Who acts where nobody does: the gate and its ramp in the audit trail."""


def tell(
    connection: Connection,
    action: str,
    experiment: str,
    detail: Mapping[str, Any],
    *,
    actor: str,
    now: int,
    reason: str | None = None,
) -> None:
    """Write down one step, in the transaction that makes it.

    By the row of the audit trail all hosts notice that there is something to publish.

    Args:
        connection: a transaction for changes, with the lock of the audit trail.
        action: such as ``policy_live``.
        experiment: whose policy.
        detail: version, share, variant …
        actor: who did it.
        now: microseconds since 1970 UTC.
        reason: why, in words.
    """
    audit.append(
        connection, at=now, actor=actor, action=action, kind="experiment", key=experiment, detail=detail, reason=reason
    )
    event = EVENTS.get(action)
    if event is not None:
        announce(connection, event, {"experiment": experiment, **detail, "actor": actor, "reason": reason}, now=now)
