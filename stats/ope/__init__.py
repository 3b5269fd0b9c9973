"""Off-policy evaluation: what another policy would have earned on logged decisions, and how sure that is."""

from stats.ope.adaptive import aipw_scores, arm_means, score_mean, widened
from stats.ope.diagnostics import Diagnostics, diagnostics
from stats.ope.estimators import dm, dr, dr_scores, dros, ips, sndr, snips, sub_gaussian, switch_dr
from stats.ope.intervals import Estimate, empirical_bernstein, wald
from stats.ope.logged import Logged, estimates

__all__ = [
    "Diagnostics",
    "Estimate",
    "Logged",
    "aipw_scores",
    "arm_means",
    "diagnostics",
    "dm",
    "dr",
    "dr_scores",
    "dros",
    "empirical_bernstein",
    "estimates",
    "ips",
    "score_mean",
    "sndr",
    "snips",
    "sub_gaussian",
    "switch_dr",
    "wald",
    "widened",
]
