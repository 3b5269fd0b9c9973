"""A policy's versions and masks as JSON can say them: the same for the command line and over HTTP."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.learning.versions import Version
from experiments.store.policy_tables import policy_masks
from experiments.webhooks.events import iso


def version_document(version: Version) -> dict[str, Any]:
    """Return a version; times as ISO text, ``gate`` empty before the gate ran."""
    return {
        "version": version.version,
        "state": version.state,
        "share": version.share,
        "policy": version.policy,
        "origin": version.origin,
        "sha256": version.sha256,
        "rows": version.rows,
        "trained_at": iso(version.trained_at),
        "data_until": iso(version.data_until) if version.data_until else None,
        "changed_at": iso(version.changed_at),
        "about": dict(version.about),
        "gate": dict(version.gate),
    }


def mask_documents(connection: Connection, experiment: str) -> list[dict[str, Any]]:
    """Return the variants that are taken out, with who did it and why."""
    c = policy_masks.c
    query = sa.select(policy_masks).where(c.experiment == experiment).order_by(c.variant)
    return [
        {"variant": row.variant, "since": iso(row.since), "actor": row.actor, "reason": row.reason or None}
        for row in connection.execute(query)
    ]
