"""What a new version must pass before members meet it: a test of safety on logged decisions, and of the log itself.

Nothing here reads or writes: rows, versions and terms come in, a verdict comes out. `experiments.learning.gating` runs
it on the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from experiments.learning.as_drawn import Floats, Floors, drawn_by, drawn_evenly
from stats.ope.diagnostics import diagnostics
from stats.ope.drift import level_drift, numeric_drift
from stats.ope.safety import Safety, difference_of_groups, mixed, paired_scores, paired_test

if TYPE_CHECKING:
    from allocation.bandits.learning.settings import Settings
    from allocation.bandits.policy import Policy
    from experiments.definitions.allocation import Gate
    from experiments.learning.rows import LearningRows

LOSSES = (0.05, 0.1, 0.2)
"""Losses, as shares of what the live version earns, whose chance to be noticed is told."""
THIN_SHARE = 0.01
"""Of the logged rows, that must be effective at least."""
NEAR = 1e-6
"""How far logged probabilities may be from a sum of 1, or from what their version draws."""
CHECKED = 500
"""Decisions of a version that are looked at, whether it draws them today as it did then."""

REASONS: dict[str, str] = {
    "harm": "it would earn less than the live version, beyond chance",
    "not_better": "gate: strict asks for proof that it earns more, and there is none",
    "thin": "the log says too little about it: too few effective decisions",
    "drift": "members have changed: a feature is not distributed as it was when the live version was learned",
    "missing_probability": "decisions were logged without the probability that they were drawn with",
    "behind_control": "the live version earns less than the control group: what is learned does not hold",
}
"""Code → why a version is blocked."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found, as it is kept with the version. Amounts are in major units a decision."""

    passed: bool
    reasons: tuple[str, ...]
    """Codes of `REASONS`; empty where it passed."""
    compared_with: int
    """The live version; 0 for an even draw."""
    rows: int
    members: int
    value_live: float | None
    """What the live version earns, estimated on the same decisions."""
    difference: float | None
    """New − live."""
    std_error: float | None
    ci_low: float | None
    """One-sided bounds at 1 − alpha."""
    ci_high: float | None
    alpha: float
    effective: float
    """Decisions of its own that would say as much as the logged ones."""
    needed: float
    max_weight: float | None
    mean_weight: float | None
    drift: Mapping[str, float | None]
    """Feature → population stability index; ``None`` where there are too few decisions to tell."""
    control: Mapping[str, float | None]
    """The live version's decisions against the control group's: difference, ci_low, ci_high."""
    power: Mapping[str, float | None]
    """Loss as a share of the live version's value → probability that the gate would have noticed it."""
    noticeable: float | None
    """Loss, as a share of the live version's value, that it would have noticed with 80 % probability."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return asdict(self)

    @property
    def text(self) -> str:
        """Why it was blocked, in words."""
        return "; ".join(REASONS[reason] for reason in self.reasons)


@dataclass(frozen=True, eq=False)
class Case:
    """A version before the gate.

    Attributes:
        rows: matured decisions of policy and control group; those that the hash drew are left aside.
        new: the version.
        live: the one that it would replace; ``None`` is an even draw.
        live_version: its number, 0 for an even draw.
        live_until: last microsecond of a decision that the live one learned from; ``None`` before the first.
        logged: the versions by number that drew the rows; those of the control group need them.
        floors: what every version is drawn with.
        expected: q̂, what a model that did not see the decision expects of each variant, shape (n, K).
        features: attribute → ``numeric`` or ``categorical``: those that the policy looks at.
        without_probability: decisions that could not be among the rows because none was logged.
        half_life_days: after so long a decision counts half, as it does where the version is learned: one that has
            followed the members' tastes must not be held back for what they liked before.
    """

    rows: LearningRows
    new: Policy
    live: Policy | None
    live_version: int
    live_until: int | None
    logged: Mapping[int, Policy]
    floors: Floors
    expected: Floats
    features: Mapping[str, str]
    without_probability: int = 0
    half_life_days: float | None = None


def judge(case: Case, gate: Gate) -> Verdict:
    """Judge a version.

    Args:
        case: the version, the live one, and what was logged.
        gate: the terms, as declared.
    """
    rows = case.rows
    blocked: list[str] = []
    if case.without_probability or not _whole(rows):
        blocked.append("missing_probability")
    kept = _readable(rows)
    rows, expected = rows.take(kept), case.expected[kept]
    new = drawn_by(case.new, rows.variants, rows.columns, rows.eligible, case.floors)
    live = (
        drawn_evenly(rows.eligible, case.floors)
        if case.live is None
        else drawn_by(case.live, rows.variants, rows.columns, rows.eligible, case.floors)
    )
    at = np.arange(rows.n)
    propensity = logged_mixture(rows, case)[at, rows.variant]
    scores = paired_scores(rows.reward, rows.variant, propensity, new, live, expected)
    counted = np.ones(rows.n) if case.half_life_days is None else 0.5 ** (rows.age_days / case.half_life_days)
    test = paired_test(scores, rows.unit, gate.alpha, weight=counted)
    level = paired_scores(rows.reward, rows.variant, propensity, live, np.zeros_like(live), expected)
    value = float(np.average(level, weights=counted)) if rows.n else None
    # Of all logged decisions, whatever they count: what old ones say less is in the error of the test.
    weights = diagnostics(new[at, rows.variant] / propensity)
    needed = max(float(gate.min_effective_sample), THIN_SHARE * rows.n)
    drift = drifted(rows, case.features, case.live_until)
    control = against_control(rows, case.live_version, gate.alpha)
    if test.harmful:
        blocked.append("harm")
    if gate.strict and not test.better:
        blocked.append("not_better")
    if weights.ess < needed:
        blocked.append("thin")
    if any(index is not None and index > gate.max_drift for index in drift.values()):
        blocked.append("drift")
    if control.harmful:
        blocked.append("behind_control")
    return Verdict(
        passed=not blocked,
        reasons=tuple(blocked),
        compared_with=case.live_version,
        rows=rows.n,
        members=len(np.unique(rows.unit)),
        value_live=value,
        difference=test.difference,
        std_error=test.std_error,
        ci_low=test.ci_low,
        ci_high=test.ci_high,
        alpha=gate.alpha,
        effective=weights.ess,
        needed=needed,
        max_weight=weights.max_weight,
        mean_weight=weights.mean_weight,
        drift=drift,
        control={"difference": control.difference, "ci_low": control.ci_low, "ci_high": control.ci_high},
        power={f"{loss:g}": test.noticed(loss * value) if value and value > 0 else None for loss in LOSSES},
        noticeable=_share(test.noticeable(), value),
    )


def logged_mixture(rows: LearningRows, case: Case) -> Floats:
    """Return the probabilities that each decision was drawn with, whichever group its member is in; shape (n, K).

    The hash puts members into the control group whoever they are, so the decisions made beside one version are draws
    from a mixture of both. Weighing by it spares the large weights of variants that the version hardly draws: the
    control group drew them. A control group's decision belongs to the version that drew for the policy's decision
    before it; it could have met any of those, and the probability of each is as it should be.

    Where a version did not draw as it would today, because floors have changed since, its decisions and those beside
    them are weighed by what they were drawn with each.
    """
    beside = versions_beside(rows)
    control = rows.group == "uniform"
    mixture = rows.p.copy()
    for version in np.unique(beside):
        here = np.flatnonzero(beside == version)
        theirs, others = here[~control[here]], here[control[here]]
        checked = theirs[np.unique(np.linspace(0, len(theirs) - 1, CHECKED).astype(np.intp))] if len(theirs) else theirs
        again = _drawn_again(rows.take(checked), int(version), case)
        if again is None or (np.abs(again - rows.p[checked]) > NEAR).any():
            continue
        drawn, even = rows.p[here], drawn_evenly(rows.eligible[here], case.floors, "uniform")
        in_control = control[here]
        if len(others):
            of_control = _drawn_again(rows.take(others), int(version), case)
            assert of_control is not None  # noqa: S101 - the version is at hand: it was asked above
            drawn[in_control], even[in_control] = of_control, rows.p[others]
        mixture[here] = mixed(drawn, even, float(in_control.mean()))
    return mixture


def _drawn_again(rows: LearningRows, version: int, case: Case) -> Floats | None:
    """Return what a version would draw these decisions from today; ``None`` where it is not at hand."""
    if version == 0:
        return drawn_evenly(rows.eligible, case.floors)
    policy = case.logged.get(version)
    return None if policy is None else drawn_by(policy, rows.variants, rows.columns, rows.eligible, case.floors)


def versions_beside(rows: LearningRows) -> npt.NDArray[np.int64]:
    """Return which version each decision was made beside: its own, or of a control group's that of the one before."""
    control = rows.group == "uniform"
    if control.all():
        return np.zeros(rows.n, dtype=np.int64)
    before = np.maximum.accumulate(np.where(control, -1, np.arange(rows.n)))
    before[before < 0] = int(np.argmin(control))  # those before the first take that one's
    found: npt.NDArray[np.int64] = rows.version[before]
    return found


def against_control(rows: LearningRows, live_version: int, alpha: float) -> Safety:
    """Compare what the live version's members earned with the control group's beside them."""
    mine = versions_beside(rows) == live_version
    if live_version == 0 or not mine.any():
        return Safety(None, None, None, None, alpha, 0, 0, same=False)
    chosen = rows.take(mine)
    return difference_of_groups(chosen.reward, chosen.group == "policy", chosen.unit, alpha)


def drifted(rows: LearningRows, features: Mapping[str, str], until: int | None) -> dict[str, float | None]:
    """Return each feature's stability index: the decisions since ``until`` against those before it."""
    if until is None:
        return dict.fromkeys(features)
    old, new = rows.take(rows.at <= until), rows.take(rows.at > until)
    found: dict[str, float | None] = {}
    for name, kind in features.items():
        if kind == "numeric":
            from allocation.bandits.values import number_of

            sides = [
                np.array([np.nan if (v := number_of(raw)) is None else v for raw in side.columns[name]], dtype=float)
                for side in (old, new)
            ]
            found[name] = numeric_drift(*sides)
        else:
            found[name] = level_drift(old.columns[name], new.columns[name])
    return found


def cross_fitted(rows: LearningRows, settings: Settings) -> Floats:
    """Return q̂, shape (n, K): what a model learned from the other half of the members expects of each variant.

    Contextual policies are learned by their own model; for the others it is the mean by variant.

    Args:
        rows: matured decisions.
        settings: as the version was learned.
    """
    expected = np.zeros((rows.n, len(rows.variants)))
    half = rows.unit % 2
    for fold in (0, 1):
        others, here = rows.take(half != fold), half == fold
        if not others.n or not here.any():
            continue
        if settings.features:
            from allocation.bandits.learning.train import train

            model = train(others.rows(None), replace(settings, policy="greedy"))
            columns = {name: values[here] for name, values in rows.columns.items()}
            encoded = model.encoder.encode_columns(columns, int(here.sum()))
            expected[here] = model.scores_batch(encoded) * model.scale
        else:
            counts = np.bincount(others.variant, minlength=len(rows.variants))
            sums = np.bincount(others.variant, weights=others.reward, minlength=len(rows.variants))
            expected[here] = np.where(counts > 0, sums / np.maximum(counts, 1), others.reward.mean())
    return expected


def _readable(rows: LearningRows) -> npt.NDArray[np.bool_]:
    """Return which rows can be weighed: drawn with a probability above 0 by the policy or in the control group."""
    p = np.nan_to_num(rows.p[np.arange(rows.n), rows.variant], nan=0.0)
    readable: npt.NDArray[np.bool_] = (p > 0) & np.isin(rows.group, ("policy", "uniform"))
    return readable


def _whole(rows: LearningRows) -> bool:
    """Return whether each decision's probabilities are there, sum to 1, and the drawn one's is among them."""
    mine = np.isin(rows.group, ("policy", "uniform"))
    p = rows.p[mine]
    drawn = p[np.arange(len(p)), rows.variant[mine]]
    sums = np.abs(p.sum(axis=1) - 1.0) <= NEAR
    alike = np.abs(drawn - rows.propensity[mine]) <= NEAR
    return bool((sums & alike & (drawn > 0)).all())


def _share(loss: float | None, value: float | None) -> float | None:
    return None if loss is None or value is None or value <= 0 else loss / value
