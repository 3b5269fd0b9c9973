"""Taking out variants that break a guardrail: members stop getting what does harm before anybody looks.

The log is looked at after every update, so the bound holds at all looks together. It is that of the variant against the
control variant, by scores that are unbiased although the policy chose who got what (`stats.ope.adaptive`).

References:
    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024), Time-uniform central limit theory and asymptotic confidence
    sequences, Annals of Statistics 52(6) (arXiv:2103.06476).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from experiments.definitions import Metric
from experiments.definitions.allocation_checks import LEARNABLE
from experiments.keeping import audit
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.learning.approving import PolicyError, mask_within
from experiments.learning.plan import masked
from experiments.learning.telling import GATE
from experiments.store import Store
from experiments.store.clock import database_now

if TYPE_CHECKING:
    from experiments.learning.rows import LearningRows

LEAST = 200
"""Decisions of a variant, and of control, below which nothing is taken out."""


@dataclass(frozen=True)
class Broken:
    """A variant that breaks a guardrail."""

    variant: str
    metric: str
    harm: float
    """How much worse than control, at least: the nearer end of the always-valid interval."""
    allowed: float

    @property
    def text(self) -> str:
        """Why it is taken out, in words."""
        return f"guardrail {self.metric}: worse than control by at least {self.harm:.4g}; allowed is {self.allowed:.4g}"


def take_out_broken(store: Store, record: ExperimentRecord, until: int, now: int | None = None) -> tuple[str, ...]:
    """Look at each guardrail and mask the variants that break one, where the definition says so.

    Metrics that are no sum by decision (ratios, quantiles) are left to the report.

    Args:
        store: where masks are kept; closed while the log is read.
        record: the experiment.
        until: microseconds since 1970 UTC; nothing later is read.
        now: of the mask; by default the database's.

    Returns:
        The variants that were taken out.
    """
    allocation = record.definition.allocation
    plans = record.definition.metrics.guardrails
    if allocation is None or not allocation.mask_broken or not plans:
        return ()
    repository = Repository(store)
    metrics = repository.experiment_metrics(record)
    wanted = [(metrics[plan.metric], float(Fraction(plan.margin))) for plan in plans]
    wanted = [(metric, margin) for metric, margin in wanted if metric.type in LEARNABLE]
    found: list[Broken] = []
    for metric, margin in wanted:
        found += broken(_rows(store, record, metric, until), record.definition.control, metric, margin, alpha(record))
    gone: list[str] = []
    for each in found:
        with store.begin() as connection:
            audit.lock(connection)
            if each.variant in masked(connection, record.key):
                continue
            at = database_now(connection) if now is None else now
            try:
                mask_within(connection, record.key, each.variant, actor=GATE, reason=each.text, now=at)
            except PolicyError:  # the last one that is drawn stays
                continue
            gone.append(each.variant)
    return tuple(gone)


def alpha(record: ExperimentRecord) -> float:
    """Return the error that one comparison may have: the experiment's, shared by guardrails and variants."""
    definition = record.definition
    comparisons = len(definition.metrics.guardrails) * (len(definition.variants) - 1)
    return definition.alpha / max(1, comparisons)


def broken(rows: LearningRows, control: str, metric: Metric, margin: float, alpha: float) -> list[Broken]:
    """Return the variants whose guardrail metric is worse than control's by more than the margin, beyond chance.

    Args:
        rows: matured decisions with the metric as their reward, of all groups.
        control: the variant that is compared with.
        metric: of the guardrail, which says what is worse.
        margin: share of control's mean that is allowed.
        alpha: one-sided, of all looks together.
    """
    from stats.ope.adaptive import aipw_scores, score_mean

    if rows.n == 0 or control not in rows.variants:
        return []
    counts = np.bincount(rows.variant, minlength=len(rows.variants))
    base = rows.variants.index(control)
    if counts[base] < LEAST:
        return []
    sign = 1.0 if metric.direction == "decrease" else -1.0
    values = rows.converted.astype(np.float64) if metric.type == "proportion" else rows.reward
    scores = aipw_scores(rows.variant, values, rows.p, cluster=rows.unit)
    level = score_mean(scores[:, base], cluster=rows.unit).value
    if level is None:
        return []
    allowed = margin * abs(level)
    found = []
    for k, key in enumerate(rows.variants):
        if k == base or counts[k] < LEAST:
            continue
        worse = sign * (scores[:, k] - (1 + sign * margin * np.sign(level)) * scores[:, base])
        bound = score_mean(worse, cluster=rows.unit, alpha=2 * alpha, always_valid=True, n_star=10 * LEAST)
        if bound.ci_low is not None and bound.ci_low > 0:
            found.append(Broken(key, metric.key, bound.ci_low + allowed, allowed))
    return found


def _rows(store: Store, record: ExperimentRecord, metric: Metric, until: int) -> LearningRows:
    from experiments.learning.declared import declared
    from experiments.learning.reading import read_rows
    from experiments.sources.log import open_log

    # What is read is how much there was, whether more of it is better or less.
    about = declared(Repository(store), record, metric=metric.model_copy(update={"direction": "increase"}))
    store.close()
    with open_log(store.url) as log:
        return read_rows(log, about, until)
