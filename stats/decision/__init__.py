"""From readings to one of five decisions, by rules declared before launch; codes and numbers only, words come later.

    do_not_read      a quality check failed: no effect may be read
    roll_out         a variant meets every rule
    stop_harm        every variant that is left is worse on a decision metric or breaks a guardrail
    stop_no_effect   no variant has an effect beyond the bound declared before launch
    keep_running     none of these; with what is missing and, where it can be told, how much longer. Where nobody enters
                     any more ``Decision.stands`` says so: "waiting" for outcomes, or "over": then it is no answer, not
                     a call to go on

The first primary metric decides; further primary metrics must not be harmed. Guardrails must be *proved* within their
margin. With fixed-horizon inference nothing is concluded before the planned sample is there, its outcomes are mature
and, for rolling enrolment, whole weeks have passed. With every other kind of inference harm stops a test at any look
after the first week. A roll-out waits for the rules, with two exceptions, both at the end of a whole week where
enrolment rolls: group sequential needs no more of the plan once the stopping bound is crossed (the readings come from
sequential p-values, so "better" *is* the crossing); Bayesian needs no more of it once the expected loss of choosing the
variant is below the bound declared before launch.
"""

from stats.decision.parts import (
    WEEK_DAYS,
    Code,
    Decision,
    Direction,
    Finding,
    Inference,
    Numbers,
    Outcome,
    Progress,
    Quality,
    Reading,
    Reason,
    Rule,
    Stands,
    Status,
    VariantOutlook,
)
from stats.decision.rules import decide, read_effect

__all__ = [
    "WEEK_DAYS",
    "Code",
    "Decision",
    "Direction",
    "Finding",
    "Inference",
    "Numbers",
    "Outcome",
    "Progress",
    "Quality",
    "Reading",
    "Reason",
    "Rule",
    "Stands",
    "Status",
    "VariantOutlook",
    "decide",
    "read_effect",
]
