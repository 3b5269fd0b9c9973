"""The report of an experiment whose policy learns, from its log and its versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from experiments.definitions.allocation import Allocation
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.learning import versions as version_table
from experiments.learning.as_drawn import Floors, drawn_by
from experiments.learning.declared import Declared as Learned
from experiments.learning.declared import declared as learned_of
from experiments.learning.plan import bandit_plan
from experiments.learning.versions import Version
from experiments.measure.days import DAY_US, changes, day_text, moment_text
from experiments.report.bandit import words
from experiments.report.bandit.arms import arms_of
from experiments.report.bandit.checks import checks_of
from experiments.report.bandit.counting import SEGMENT_DAYS, Asked, drawn_of
from experiments.report.bandit.document import (
    Bandit,
    BanditReward,
    BanditSegment,
    Day,
    Histogram,
    Mask,
    VersionLine,
    VersionStart,
)
from experiments.report.bandit.gain import gain_of
from experiments.report.bandit.logged import BINS, Drawn, Logged
from experiments.report.bandit.policies import Other, even, single, values_of
from experiments.report.content import sealed
from experiments.report.document import Population, Report, Srm
from experiments.report.inputs import Declared, phase_of
from experiments.report.plan import plan_of
from experiments.report.quality import split_check
from experiments.report.software import software
from experiments.report.standing import dominated_among
from experiments.sources.log import LogTables, open_log
from experiments.store import Store
from experiments.store.policy_tables import policy_masks
from stats.ope.adaptive import past_means

if TYPE_CHECKING:
    from allocation.bandits.policy import Policy
    from experiments.learning.rows import LearningRows


LEAST_HELD_OUT = 200
"""Decisions that nothing was learned from, below which other policies are valued on all."""


@dataclass(frozen=True)
class Made:
    """What an experiment has learned so far: its versions, those worth valuing as policies, and what is taken out."""

    versions: Sequence[Version] = ()
    policies: Mapping[int, Policy] | None = None
    """Version → the policy itself, of the live one and of the newest one."""
    masks: Sequence[Mask] = ()
    floors: Floors = Floors(0.0, (), ())  # noqa: RUF009 - frozen
    """What every version is drawn with."""

    @property
    def live(self) -> Version | None:
        """The version that draws for most members."""
        return version_table.standing(self.versions, "live")

    @property
    def newest(self) -> Version | None:
        """The newest version, where it is not the live one and could yet become it."""
        last = self.versions[-1] if self.versions else None
        return last if last is not None and last.state in {"candidate", "blocked", "waiting", "ramping"} else None


def build_bandit_report(store: Store, repository: Repository, declared: Declared, now: int) -> Report:
    """Compute the report of an experiment whose policy learns, from the service's own log.

    Args:
        store: definitions, versions and log.
        repository: of the same store.
        declared: the experiment.
        now: microseconds since 1970 UTC; nothing later is read.

    Raises:
        InputError: when the database cannot be read, or nothing can be learned from the metric.
    """
    made = made_of(store, declared.record)
    learned = learned_of(repository, declared.record)
    # DuckDB brings an SQLite of its own, and closing its descriptor drops the locks of ours (see Store.close).
    store.close()
    with open_log(store.url) as log:
        return bandit_report_of(log, declared, learned, made, now)


def made_of(store: Store, record: ExperimentRecord) -> Made:
    """Read what an experiment has learned."""
    key = record.key
    with store.read() as connection:
        known = version_table.read(connection, key)
        made = Made(known)
        wanted = [version for version in (made.live, made.newest) if version is not None]
        policies = {version.version: version_table.policy(connection, version.sha256) for version in wanted}
        rows = connection.execute(
            sa.select(policy_masks).where(policy_masks.c.experiment == key).order_by(policy_masks.c.variant)
        )
        masks = [Mask(variant=r.variant, since=moment_text(r.since), reason=r.reason) for r in rows]
        plan = bandit_plan(connection, record)
    weights = record.phase.weights if record.phase else record.definition.split()
    in_order = {variant.key: weights.get(variant.key, 0) for variant in record.definition.variants}
    return Made(known, policies, masks, Floors(0.0, (), ()) if plan is None else Floors.of(plan, in_order))


def bandit_report_of(log: LogTables, declared: Declared, learned: Learned, made: Made, now: int) -> Report:
    """Compute a report from a log in any Ibis connection."""
    from experiments.learning.reading import read_rows

    rows = read_rows(log, learned, now)
    return report_from(declared, learned, rows, _counted(log, declared, learned, now), made, now)


def report_from(declared: Declared, learned: Learned, rows: LearningRows, drawn: Drawn, made: Made, now: int) -> Report:
    """Put the document together.

    Args:
        declared: the experiment.
        learned: what its decisions are to earn.
        rows: matured decisions.
        drawn: all decisions, counted.
        made: its versions.
        now: microseconds since 1970 UTC.
    """
    record = declared.record
    allocation = record.definition.allocation
    assert allocation is not None  # noqa: S101 - who comes here has one
    phase, split = phase_of(record, None)
    variants = [variant.key for variant in record.definition.variants]
    plan = plan_of(declared, phase, split, variants)
    log = logged_of(rows, declared.time_zone)
    reward = reward_of(learned, allocation)
    counts = _totals(drawn)
    guess = past_means(log.variant, log.reward, len(log.variants), cluster=log.unit)
    always = record.definition.analysis.inference == "always_valid"
    masked = [mask.variant for mask in made.masks]
    gain = gain_of(
        log,
        alpha=plan.alpha,
        control_share=float(Fraction(allocation.control.share)),
        control_split=allocation.control.split,
        always_valid=always,
    )
    arms = arms_of(log, counts, guess, plan.alpha, masked=masked, always_valid=always)
    held = held_out(log, made)
    apart = int(np.count_nonzero(held)) >= LEAST_HELD_OUT
    keep = held if apart else np.ones(log.n, bool)
    valued = log.take(keep)
    policies = values_of(valued, guess[keep], others_of(valued, made, arms), plan.alpha)
    lines = [_line(version, drawn) for version in made.versions]
    names = {variant.key: variant.name for variant in plan.variants}
    floor = _floor(allocation, [v for v in variants if split.get(v, 0) > 0 and v not in masked])
    level = f"{100 * (1 - plan.alpha):g}%"
    started = record.started_at
    day = None if started is None else max(1, (min(now, record.ended_at or now) - started) // DAY_US + 1)
    bandit = Bandit(
        policy=allocation.policy,
        explore=float(Fraction(allocation.explore)),
        reward=reward,
        variants=list(log.variants),
        sentence=words.sentence(gain, reward, plan.currency, day=day, level=level),
        reasons=words.reasons(policies if apart else [], lines, made.masks, reward, plan.currency, names),
        gain=gain,
        arms=arms,
        days=[
            Day(date=day_text(d), decisions=sum(c.values()), counts=[c.get(v, 0) for v in log.variants])
            for d, c in sorted(drawn.by_day.items())
        ],
        starts=[VersionStart(version=v, date=day_text(d)) for v, d in sorted(drawn.starts.items())],
        segments=[
            BanditSegment(
                attribute=mix.attribute,
                label=declared.names.attribute(mix.attribute),
                level=mix.level,
                level_label=declared.names.level(mix.attribute, mix.level) or words.QUARTER_WORDS.get(mix.level, {}),
                decisions=sum(mix.counts.values()),
                counts=[mix.counts.get(v, 0) for v in log.variants],
            )
            for mix in drawn.segments
        ],
        segment_days=SEGMENT_DAYS,
        propensities=Histogram(
            edges=[index / BINS for index in range(BINS + 1)],
            counts=list(drawn.bins),
            lowest=drawn.lowest,
            floor=floor,
        ),
        policies=policies,
        valued_on="held_out" if apart else "all",
        valued_decisions=valued.n,
        versions=lines,
        live=None if made.live is None else made.live.version,
        masks=list(made.masks),
        decisions=drawn.total,
        open=rows.immature,
    )
    checks = checks_of(
        log,
        valued.n,
        drawn,
        policies,
        floor=floor,
        open_=rows.immature,
        window_days=reward.window_days,
        drift=drift_of(made),
        max_drift=allocation.gate.max_drift,
    )
    report = Report(
        plan=plan,
        srm=group_split(drawn, allocation),
        contaminated=0,
        duplicates=0,
        population=Population(
            kind="assigned",
            assigned=sum(drawn.units.values()),
            exposed=None,
            analysed=int(np.unique(log.unit).size),
            left_out={reason: n for reason, n in rows.left_out.items() if n},
            immature=0,
        ),
        checks=checks,
        metrics=[],
        verdict=None,
        summary=[bandit.sentence, *bandit.reasons],
        methods=words.methods(gain, reward, held_out=apart),
        data_time=None if rows.last_event is None else moment_text(rows.last_event),
        software=software(),
        warnings=[each.said for each in dominated_among(declared, rows)],
        bandit=bandit,
    )
    return sealed(report)


def logged_of(rows: LearningRows, time_zone: str) -> Logged:
    """Return matured decisions as the estimators take them; rows that the hash drew before are left out."""
    keep = rows.group != "hash"
    at = rows.at[keep]
    return Logged(
        variants=rows.variants,
        at=at,
        day=local_days(at, time_zone),
        unit=rows.unit[keep].astype(np.int64),
        variant=rows.variant[keep].astype(np.int64),
        uniform=rows.group[keep] == "uniform",
        version=rows.version[keep],
        p=rows.p[keep],
        reward=rows.reward[keep],
        converted=rows.converted[keep],
        columns={name: values[keep] for name, values in rows.columns.items()},
    )


def local_days(at: np.ndarray[Any, np.dtype[np.int64]], time_zone: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the local day of each moment, as whole numbers since 1970-01-01."""
    if not at.size:
        return np.empty(0, np.int64)
    offsets = changes(time_zone, int(at.min()), int(at.max()))
    place = np.searchsorted([since for since, _ in offsets], at, side="right") - 1
    shift = np.array([offset for _, offset in offsets], np.int64)[np.maximum(place, 0)]
    days: np.ndarray[Any, np.dtype[np.int64]] = (at + shift) // DAY_US
    return days


def reward_of(learned: Learned, allocation: Allocation) -> BanditReward:
    """Return what is earned, as people read it."""
    metric = learned.metric
    start, end = learned.window_us
    money = learned.counts_costs or metric.is_money
    return BanditReward(
        metric=metric.key,
        label=dict(metric.name),
        unit="money" if money else "share" if learned.is_yes_or_no else "number",
        window_days=(end - start) / DAY_US,
        attribution=allocation.reward.attribution,
    )


def held_out(log: Logged, made: Made) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which decisions no valued version has learned from, shape (n,).

    A version looks better than it is on those that it learned from: it prefers what happened to be lucky there. The
    control group is never learned from.
    """
    known = max((v.data_until for v in (made.live, made.newest) if v is not None), default=0)
    found: np.ndarray[Any, np.dtype[np.bool_]] = log.uniform | (log.at > known)
    return found


def others_of(log: Logged, made: Made, arms: Sequence[Any]) -> list[Other]:
    """Return the policies that are valued: the newest, the live, the best single variant, greedy, and even."""
    if not log.n:
        return []
    found: list[Other] = []
    policies = made.policies or {}
    for code, version in (("candidate", made.newest), ("live", made.live)):
        if version is not None and version.version in policies:
            served = drawn_by(policies[version.version], log.variants, dict(log.columns), log.p > 0, made.floors)
            found.append(Other(code, served, version=version.version, state=version.state))  # type: ignore[arg-type]
    known = [(arm.value.estimate, w) for w, arm in enumerate(arms) if arm.value.estimate is not None and not arm.masked]
    if known:
        best = max(known)[1]
        found.append(Other("best_single", single(log, best), variant=log.variants[best]))
    if made.live is not None and made.live.version in policies:
        scores = scored_by(policies[made.live.version], log)
        found.append(Other("greedy", _greedy(scores, log.p > 0), version=made.live.version))
    found.append(Other("uniform", even(log)))
    return found


def scored_by(policy: Policy, log: Logged) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a policy's scores in the log's order of variants; −∞ for variants that it does not know."""
    scores = policy.scores_batch(policy.encoder.encode_columns(dict(log.columns), log.n))
    found = np.full(log.p.shape, -np.inf)
    for w, variant in enumerate(log.variants):
        if variant in policy.variants:
            found[:, w] = scores[:, policy.variants.index(variant)]
    return found


def _greedy(
    scores: np.ndarray[Any, np.dtype[np.float64]], eligible: np.ndarray[Any, np.dtype[np.bool_]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    masked = np.where(eligible, scores, -np.inf)
    top = masked == masked.max(axis=1, keepdims=True)
    top &= eligible
    found: np.ndarray[Any, np.dtype[np.float64]] = top / np.maximum(top.sum(axis=1, keepdims=True), 1)
    return found


def group_split(drawn: Drawn, allocation: Allocation) -> Srm:
    """Check that the control group is as large as declared: its split, unlike that of the variants, never moves."""
    share = float(Fraction(allocation.control.share))
    counts = {group: drawn.units.get(group, 0) for group in ("policy", "uniform")}
    if share == 0:
        return Srm(
            p_value=None,
            observed={},
            expected={},
            status="info",
            why="no control group: the policy's split moves, so there is no split to check",
        )
    return split_check(counts, {"policy": 1 - share, "uniform": share})


def drift_of(made: Made) -> tuple[str, float] | None:
    """Return the feature that moved most, as the gate of the newest version that has one found it."""
    for version in reversed(made.versions):
        drift = version.gate.get("drift")
        if isinstance(drift, Mapping):
            moved = {str(k): float(v) for k, v in drift.items() if isinstance(v, int | float)}
            if moved:
                name = max(moved, key=lambda key: moved[key])
                return name, moved[name]
    return None


def _line(version: Version, drawn: Drawn) -> VersionLine:
    settings = version.about.get("settings")
    features = settings.get("features") if isinstance(settings, Mapping) else None
    said = version.gate.get("reasons") if version.state == "blocked" else None
    return VersionLine(
        version=version.version,
        state=version.state,
        share=version.share,
        origin=version.origin,
        policy=version.policy,
        trained_at=moment_text(version.trained_at),
        rows=version.rows,
        features=len(features) if isinstance(features, list | tuple | dict) else None,
        decisions=drawn.by_version.get(version.version, 0),
        reasons=[words.gate_words(str(code)) for code in said] if isinstance(said, list) else [],
    )


def _counted(log: LogTables, declared: Declared, learned: Learned, now: int) -> Drawn:
    definition = declared.record.definition
    allocation = definition.allocation
    assert allocation is not None  # noqa: S101 - who comes here has one
    kinds = {f.attribute: f.kind for f in allocation.features}
    numeric = [
        name
        for name in definition.frozen
        if kinds.get(name, "auto") == "numeric"
        or (kinds.get(name, "auto") == "auto" and learned.attributes.get(name) in {"number", "date"})
    ]
    return drawn_of(
        log,
        Asked(
            experiment=definition.key,
            unit_type=definition.unit_type,
            now_us=now,
            time_zone=declared.time_zone,
            excluded=learned.excluded,
            categorical=[name for name in definition.frozen if name not in numeric],
            numeric=[name for name in numeric if learned.attributes.get(name) != "date"],
        ),
    )


def _totals(drawn: Drawn) -> dict[str, int]:
    counts: dict[str, int] = {}
    for of_day in drawn.by_day.values():
        for variant, n in of_day.items():
            counts[variant] = counts.get(variant, 0) + n
    return counts


def _floor(allocation: Allocation, variants: Sequence[str]) -> float:
    """Return the least probability where all variants are eligible."""
    return float(Fraction(allocation.explore)) / max(len(variants), 1)
