"""One update: from what the log says of matured decisions to a new version, kept as a whole or not at all.

A version is a function of the set of rows and the settings only. Making it changes nothing; keeping it is one
transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sqlalchemy.engine import Connection

from experiments.keeping import audit
from experiments.learning import versions
from experiments.learning.declared import Declared
from experiments.learning.rows import LearningRows
from experiments.learning.versions import NewVersion, Version
from experiments.measure.days import DAY_US

if TYPE_CHECKING:
    from allocation.bandits.learning.rows import Rows
    from allocation.bandits.learning.settings import Model, Settings
    from allocation.bandits.policy import Policy

Why = Literal["ramping", "too_few_rows", "too_few_by_variant"]

RARELY = 0.05
"""A variant that a smaller share of the decisions could draw holds no version up."""
TRUST = 10.0
"""Conversions of a variant that weigh as much as what was known of their worth before."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What an update came to."""

    rows: LearningRows
    settings: Settings
    new: NewVersion | None
    """``None`` where there is nothing to learn yet, for the reason in ``why``."""
    policy: Policy | None
    """The same as ``new``, ready to draw."""
    why: Why | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    """Numbers behind ``why``."""
    last: int = 0
    """Number of the version that was the last one when the log was read."""


@dataclass(frozen=True)
class Stands:
    """Where the policy of an experiment stands before an update."""

    known: tuple[Version, ...] = ()
    masked: tuple[str, ...] = ()
    """Variants that were taken out: they hold nothing up."""


def learn(
    rows: LearningRows,
    declared: Declared,
    stands: Stands,
    now: int,
    *,
    warm: LearningRows | None = None,
    force: bool = False,
) -> Learned:
    """Make a new version, where there is enough to learn from.

    Args:
        rows: matured decisions of the experiment, of the window that is learned from.
        declared: what is to be earned.
        stands: the versions that there are, and variants that were taken out.
        now: microseconds since 1970 UTC.
        warm: those of the finished experiment that is learned from too.
        force: whether a version is made also when little is new and while another one is ramped up: somebody asks.
    """
    allocation = declared.allocation
    assert allocation is not None  # noqa: S101 - whoever learns has one
    chosen = rows.of_group("policy")
    all_rows = together(rows, declared, warm)
    settings = settings_of(declared, all_rows)
    last = stands.known[-1].version if stands.known else 0
    why, detail = _nothing_yet(chosen, all_rows, declared, stands, force=force)
    if why is not None:
        return Learned(rows, settings, None, None, why, detail, last)
    from allocation.bandits.learning.train import train
    from allocation.bandits.policy import to_bytes

    policy = train(all_rows, settings)
    by_variant = np.bincount(all_rows.variant, minlength=len(rows.variants)).tolist()
    converted = np.bincount(all_rows.variant[all_rows.converted], minlength=len(rows.variants)).tolist()
    new = NewVersion(
        experiment=declared.record.key,
        body=to_bytes(policy),
        policy=allocation.policy,
        trained_at=now,
        data_until=int(chosen.at.max()) if chosen.n else 0,
        rows=all_rows.n,
        origin="mabwiser" if _by_mabwiser(allocation.policy) else "learned",
        about={
            "revision": declared.record.revision,
            "until": rows.until,
            "settings": _shown(settings),
            "rows_by_variant": dict(zip(rows.variants, by_variant, strict=True)),
            "converted_by_variant": dict(zip(rows.variants, converted, strict=True)),
            "warm_rows": all_rows.n - chosen.n,
            "immature": rows.immature,
            "left_out": dict(rows.left_out),
            "outcomes": rows.outcomes,
            "overlaps": rows.overlaps,
            "rows_sha256": rows_hash(all_rows, settings),
        },
    )
    return Learned(rows, settings, new, policy, last=last)


def keep(connection: Connection, learned: Learned, actor: str) -> int | None:
    """Keep a version that was made, with its row of the audit trail; return its number.

    Args:
        connection: a transaction for changes.
        learned: what `learn` made.
        actor: who asked.

    Returns:
        ``None`` where another version was made meanwhile: this one knew less, or the same.
    """
    new = learned.new
    assert new is not None  # noqa: S101 - there is something to keep
    audit.lock(connection)
    known = versions.read(connection, new.experiment)
    if known and known[-1].version != learned.last:
        return None
    number = versions.insert(connection, new)
    sha256 = hashlib.sha256(new.body).hexdigest()
    audit.append(
        connection,
        at=new.trained_at,
        actor=actor,
        action="policy_learned",
        kind="experiment",
        key=new.experiment,
        detail={"version": number, "sha256": sha256, "rows": new.rows, "data_until": new.data_until},
    )
    return number


def settings_of(declared: Declared, rows: Rows) -> Settings:
    """Return what a version is made from besides the rows.

    Args:
        declared: the experiment as defined.
        rows: what is learned from: they say what conversions are worth after redemption.
    """
    from allocation.bandits.learning.settings import FeatureSpec, Settings

    allocation = declared.allocation
    assert allocation is not None  # noqa: S101 - whoever learns has one
    numeric = {"number", "date"}
    features = tuple(
        FeatureSpec(
            feature.attribute,
            feature.kind
            if feature.kind != "auto"
            else ("numeric" if declared.attributes.get(feature.attribute) in numeric else "categorical"),
            feature.transform,
            feature.max_levels,
            feature.min_rows,
        )
        for feature in allocation.features
    )
    model = model_of(declared)
    return Settings(
        variants=declared.variants,
        features=features,
        pairs=allocation.pairs,
        policy=allocation.policy,
        model=model,
        worth=worth_of(declared, rows) if model == "logistic" else None,
        contact=declared.contact,
        half_life_days=allocation.update.half_life_days,
        sharpness=allocation.sharpness,
        optimism=allocation.optimism,
        min_rows_per_variant=allocation.update.min_rows_per_variant,
        parameters=dict(allocation.parameters),
        seed=int(declared.record.salt[:8], 16),
    )


def model_of(declared: Declared) -> Model:
    """Return the model of rewards: whether, for a proportion; else whether and how much."""
    chosen = declared.allocation.model if declared.allocation else "auto"
    if chosen != "auto":
        return chosen
    return "logistic" if declared.is_yes_or_no else "hurdle"


def worth_of(declared: Declared, rows: Rows) -> tuple[float, ...]:
    """Return what a conversion earns by variant, after redemption and before contact, in major units.

    It is the mean of what conversions earned, drawn towards what was known before: the declared worth less what the
    offer costs when it is redeemed; for amounts the mean over all variants.
    """
    count = len(declared.variants)
    if declared.is_yes_or_no and declared.worth is None:
        return (1.0,) * count
    won = rows.take(rows.converted)
    n = np.bincount(won.variant, weights=won.weight, minlength=count)
    sums = np.bincount(won.variant, weights=won.weight * won.amount, minlength=count)
    if declared.worth is not None:
        before = np.array([declared.worth - declared.redemption(key) for key in declared.variants])
    else:
        before = np.full(count, sums.sum() / n.sum() if n.sum() > 0 else 1.0)
    worth = (sums + TRUST * before) / (n + TRUST)
    return tuple(float(f"{value:.12g}") for value in worth)


def rows_hash(rows: Rows, settings: Settings) -> str:
    """Return what names the set of rows and the settings: equal for equal ones, whatever order they came in."""
    digest = hashlib.sha256(repr(_shown(settings)).encode())
    for values in (rows.variant, rows.converted, rows.amount, rows.age_days, rows.unit, rows.weight):
        digest.update(np.ascontiguousarray(values).tobytes())
    for name in sorted(rows.columns):
        digest.update(repr((name, rows.columns[name].tolist())).encode())
    return digest.hexdigest()


def _nothing_yet(
    chosen: LearningRows, all_rows: Rows, declared: Declared, stands: Stands, *, force: bool
) -> tuple[Why | None, dict[str, Any]]:
    """Return why no version is made now, if so."""
    allocation = declared.allocation
    assert allocation is not None  # noqa: S101 - whoever learns has one
    if not stands.known:
        few = _few_by_variant(chosen, all_rows, declared, stands)
        if few:
            return "too_few_by_variant", {"rows": few, "needed": allocation.update.min_rows_per_variant}
    if force and all_rows.n:
        return None, {}
    ramping = versions.standing(stands.known, "ramping")
    if ramping is not None:
        return "ramping", {"ramping": ramping.version}
    before = max((version.data_until for version in stands.known), default=0)
    fresh = int((chosen.at > before).sum()) + (all_rows.n - chosen.n if not stands.known else 0)
    if fresh < allocation.update.min_rows or not all_rows.n:
        return "too_few_rows", {"rows": fresh, "needed": allocation.update.min_rows}
    return None, {}


def _few_by_variant(chosen: LearningRows, all_rows: Rows, declared: Declared, stands: Stands) -> dict[str, int]:
    """Return the variants that too little is known of before the first version."""
    record = declared.record
    assert declared.allocation is not None  # noqa: S101 - whoever learns has one
    weights = record.phase.weights if record.phase else record.definition.split()
    counts = np.bincount(all_rows.variant, minlength=len(chosen.variants))
    possible = chosen.eligible.mean(axis=0) if chosen.n else np.ones(len(chosen.variants))
    return {
        key: int(counts[k])
        for k, key in enumerate(chosen.variants)
        if counts[k] < declared.allocation.update.min_rows_per_variant
        and weights.get(key, 0) > 0
        and key not in stands.masked
        and possible[k] >= RARELY
    }


def together(rows: LearningRows, declared: Declared, warm: LearningRows | None) -> Rows:
    """Return what is learned from: the policy's own decisions, never the control group's, and the earlier ones."""
    own = rows.rows()
    if warm is None or declared.allocation is None:
        return own
    return _joined(own, _warm_rows(warm, rows, declared.allocation.warm_start_weight))


def _warm_rows(warm: LearningRows, own: LearningRows, weight: float) -> Rows:
    """Return the rows of an earlier experiment as if they were this one's: its variants, its attributes, its days."""
    from dataclasses import replace

    known = np.array([key in own.variants for key in warm.variants], dtype=np.bool_)
    kept = warm.take(known[warm.variant] & (warm.group != "uniform"))
    rows = kept.rows(None, weight=weight)
    place = np.array([own.variants.index(key) if key in own.variants else -1 for key in warm.variants], dtype=np.intp)
    missing = np.full(kept.n, None, dtype=object)
    return replace(
        rows,
        variant=place[rows.variant],
        columns={name: rows.columns.get(name, missing) for name in own.columns},
        age_days=(own.until - kept.at) / DAY_US,
        unit=rows.unit + (int(own.unit.max()) + 1 if own.n else 0),
    )


def _joined(one: Rows, two: Rows) -> Rows:
    from dataclasses import fields

    from allocation.bandits.learning.rows import Rows

    joined = {
        each.name: np.concatenate([getattr(one, each.name), getattr(two, each.name)])
        for each in fields(Rows)
        if each.name != "columns"
    }
    columns = {name: np.concatenate([one.columns[name], two.columns[name]]) for name in one.columns}
    return Rows(columns=columns, **joined)


def _by_mabwiser(policy: str) -> bool:
    from allocation.bandits.learning.settings import CONTEXTUAL

    return policy not in CONTEXTUAL | {"uniform", "beta_thompson", "normal_thompson"}


def _shown(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON can say them, numbers as they are."""
    shown = asdict(settings)
    shown["parameters"] = dict(settings.parameters)
    return shown
