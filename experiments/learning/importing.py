"""Bringing in a policy made elsewhere: a fitted ``MAB`` of mabwiser, or a version's file of another deployment.

It becomes a version like any other: the gate judges it with the next update, or somebody approves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.errors import InputError
from experiments.keeping import audit
from experiments.keeping.heads import read_experiment
from experiments.keeping.records import ExperimentRecord
from experiments.learning import versions
from experiments.learning.approving import PolicyError
from experiments.learning.telling import tell
from experiments.learning.versions import NewVersion, Version
from experiments.store import Store
from experiments.store.clock import database_now

OWN = b"PK"
"""Beginning of a policy's file: it is a zip archive."""


@dataclass(frozen=True)
class Brought:
    """A version that was brought in, and what whoever did should know."""

    version: Version
    warnings: tuple[str, ...]


def bring(
    store: Store,
    experiment: str,
    data: bytes,
    *,
    actor: str,
    name: str,
    arms: Mapping[str, str] | None = None,
    features: Sequence[str] | None = None,
    pickles: bool = False,
    now: int | None = None,
) -> Brought:
    """Keep a policy of a file as a new version, a candidate.

    Args:
        store: where versions are kept.
        experiment: whose policy it becomes.
        data: the file: a policy's own, JSON of mabwiser's state, or a pickled ``MAB``.
        actor: who brings it.
        name: of the file, for the record.
        arms: mabwiser: arm as text → variant, where they differ.
        features: mabwiser: the attributes that are the contexts' columns; by default those of ``allocation``.
        pickles: whether a pickle may be read, which can run code: only for a local file that the operator named.
        now: microseconds since 1970 UTC; by default the database's.

    Raises:
        PolicyError: when the experiment draws by the hash.
        InputError: when the file is no policy, or does not fit the experiment.
        UnknownKeyError: when there is no such experiment.
    """
    from allocation.bandits.policy import Policy, from_bytes, to_bytes

    with store.read() as connection:
        record = read_experiment(connection, experiment)
    allocation = record.definition.allocation
    if allocation is None:
        raise PolicyError(f"experiment {experiment} draws by the hash: it has no policy; declare one under allocation")
    warnings: tuple[str, ...] = ()
    try:
        if data[: len(OWN)] == OWN:
            policy: Policy = from_bytes(data)
        else:
            from allocation.bandits.mabwiser.importing import load

            found = load(
                data,
                variants=[variant.key for variant in record.definition.variants],
                names=arms,
                features=list(features) if features else list(allocation.attributes) or None,
                pickles=pickles,
            )
            policy, warnings = found.policy, found.warnings
            if found.explore is not None:
                warnings += (f"its epsilon is {found.explore:g}; what is drawn with is explore: {allocation.explore}",)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    _check(record, policy.variants, [code.attribute for code in policy.encoder.features], name)
    body = to_bytes(policy)
    with store.begin() as connection:
        audit.lock(connection)
        at = database_now(connection) if now is None else now
        own = data[: len(OWN)] == OWN
        new = NewVersion(
            experiment=experiment, body=body, policy=policy.rule if policy.kind != "uniform" else "uniform",
            trained_at=at, data_until=0, rows=0, origin="learned" if own else "mabwiser",
            about={"imported": name, "rows_by_variant": {}},
        )  # fmt: skip
        number = versions.insert(connection, new)
        detail = {"version": number, "sha256": hashlib.sha256(body).hexdigest(), "file": name}
        tell(connection, "policy_imported", experiment, detail, actor=actor, now=at)
        return Brought(versions.one(connection, experiment, number), warnings)


def _check(record: ExperimentRecord, variants: Sequence[str], attributes: Sequence[str], name: str) -> None:
    """Refuse a policy of other variants, or one that looks at what is not frozen at the decision."""
    keys = [variant.key for variant in record.definition.variants]
    if strangers := [key for key in variants if key not in keys]:
        raise InputError(
            f"{name}: {', '.join(strangers)} is no variant of {record.key}, which has {', '.join(keys)}; name the "
            "variants of its arms"
        )
    if unread := [attribute for attribute in attributes if attribute not in record.definition.frozen]:
        raise InputError(f"{name}: it looks at {', '.join(unread)}, which is no feature; add it to allocation.features")
