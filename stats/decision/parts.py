"""What goes into a decision and what comes out: findings, checks, progress; rules, reasons, outlooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Code = Literal["roll_out", "stop_harm", "stop_no_effect", "keep_running", "do_not_read"]
Direction = Literal["increase", "decrease"]
Reading = Literal["better", "worse", "unclear", "within_limit", "not_proven", "broken", "not_computed"]
Status = Literal["ok", "caution", "fail", "info"]
Stands = Literal["open", "waiting", "over"]
Outcome = Literal["winner", "also_better", "harmful", "no_effect", "unclear"]
Numbers = Mapping[str, float | int | str | None]

Inference = Literal["fixed", "group_sequential", "always_valid", "bayesian"]

WEEK_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one metric says about one variant.

    Attributes:
        metric: its name.
        variant: its key.
        role: ``primary`` metrics decide, in the order given; ``guardrail`` metrics must hold.
        direction: which way is better.
        reading: from adjusted figures (``read_effect``, ``effects.read_guardrail``).
        estimate: effect, on the scale of ``no_effect_within`` for primary and of ``limit`` for guardrail metrics.
        ci_low: lower end of the adjusted interval, same scale.
        ci_high: upper end.
        limit: guardrails: the effect at the margin, signed (−0.02 or +0.3), same scale.
        why_code: why it is not computed.
        expected_loss: Bayesian inference: what choosing the variant costs on average, same scale.
    """

    metric: str
    variant: str
    role: Literal["primary", "guardrail"]
    direction: Direction
    reading: Reading
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    limit: float | None = None
    why_code: str | None = None
    expected_loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """One quality check, such as ``Quality(code="srm", status="ok", numbers={"p_value": 0.4})``."""

    code: str
    status: Status
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the test is.

    Attributes:
        enrolment: ``once`` (one list, one send) or ``rolling``.
        inference: ``fixed`` (one look at the end), ``group_sequential``, ``always_valid`` or ``bayesian``.
        units: units in the analysis.
        planned_units: declared before launch, ``None`` where no number was.
        days: whole days since the first entry, ``None`` where time is not known (a file).
        planned_days: declared before launch.
        immature: units whose outcome windows are not over.
        days_to_mature: days until the last of them is.
        ended: nobody enters any more.
        futile: group sequential: so little is left to hope for that stopping costs little power (non-binding).
    """

    enrolment: Literal["once", "rolling"] = "once"
    inference: Inference = "fixed"
    units: int
    planned_units: int | None = None
    days: int | None = None
    planned_days: int | None = None
    immature: int = 0
    days_to_mature: int | None = None
    ended: bool = False
    futile: bool = False

    @property
    def stands(self) -> Stands:
        """``open`` while units enter, ``waiting`` when only outcomes still come, ``over`` when nothing comes any more.

        A list (``once``) whose outcomes are all in is over even if nobody has ended it, unless planned days are left.

        >>> Progress(units=900, immature=20, ended=True).stands, Progress(units=900).stands
        ('waiting', 'over')
        """
        if self.immature:
            return "waiting" if self.ended else "open"
        days_left = self.planned_days is not None and self.days is not None and self.days < self.planned_days
        return "over" if self.ended or (self.enrolment == "once" and not days_left) else "open"


@dataclass(frozen=True, slots=True)
class Rule:
    """One declared rule and what came out.

    ``code`` is one of quality, planned_sample, planned_days, whole_weeks, outcomes_mature, primary_better,
    primary_not_harmed, guardrail_within; or, in the place of what is left of the plan, bound_crossed (group sequential)
    or loss_within (Bayesian). ``subject`` names the quality check or metric. ``met`` is ``None`` where the rule was not
    declared or cannot be judged.
    """

    code: str
    met: bool | None
    numbers: Numbers
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code and its numbers. ``variant`` and ``metric`` say of what."""

    code: str
    numbers: Numbers
    variant: str | None = None
    metric: str | None = None


@dataclass(frozen=True, slots=True)
class VariantOutlook:
    """Where one variant stands: its own rules, and why it is not (or is) to be rolled out."""

    variant: str
    outcome: Outcome
    rules: tuple[Rule, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """One of five codes with everything behind it.

    Attributes:
        code: the decision.
        variant: which to roll out, or which is worst where the code is ``stop_harm``.
        reasons: why this code.
        rules: the test's own rules, then those of ``variant`` (of the best candidate where none is named).
        variants: every variant's outlook.
        more_units: about how many more units are needed, where that can be told.
        more_days: about how many more days; ``None`` where the test is over.
        stands: whether units still enter, only outcomes still come, or nothing comes any more.
    """

    code: Code
    variant: str | None
    reasons: tuple[Reason, ...]
    rules: tuple[Rule, ...]
    variants: tuple[VariantOutlook, ...]
    more_units: int | None = None
    more_days: int | None = None
    stands: Stands = "open"
