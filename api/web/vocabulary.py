"""Words for the codes that reports and experiments carry: states, readings, decisions, reasons for leaving out."""

from __future__ import annotations

from dataclasses import dataclass

from api.web.language import Language
from experiments.report.document import CheckStatus, DecisionCode, Plan, Reading, Stands


@dataclass(frozen=True, slots=True)
class Badge:
    """A word with a glyph and a colour; never a colour alone."""

    word: str
    icon: str
    tone: str
    """good | bad | warn | acc | line | empty for neutral."""


def reading_badge(reading: Reading, language: Language) -> Badge:
    """Say how an effect reads."""
    _ = language.gettext
    return {
        "better": Badge(_("Better"), "up", "good"),
        "worse": Badge(_("Worse"), "down", "bad"),
        "unclear": Badge(_("Unclear"), "dash", ""),
        "within_limit": Badge(_("Within limit"), "ok", ""),
        "not_proven": Badge(_("Not proven"), "warn", "warn"),
        "broken": Badge(_("Limit broken"), "no", "bad"),
        "not_computed": Badge(_("Not computed"), "dash", "line"),
    }[reading]


def decision_badge(code: DecisionCode, variant: str, language: Language, *, stands: Stands = "open") -> Badge:
    """Say what to do; ``variant`` is the name of the variant concerned, ``stands`` whether anything still comes."""
    _ = language.gettext
    if code == "keep_running" and stands != "open":
        return Badge(_("Wait for outcomes"), "clock", "") if stands == "waiting" else Badge(_("No answer"), "dash", "")
    if code == "roll_out":
        word = _("Recommended: roll out %(variant)s", variant=variant) if variant else _("Recommended: roll out")
        return Badge(word, "ok", "good")
    return {
        "stop_harm": Badge(_("Stop: harm found"), "no", "bad"),
        "stop_no_effect": Badge(_("Stop: no effect that matters"), "dash", ""),
        "keep_running": Badge(_("Keep running"), "clock", ""),
        "do_not_read": Badge(_("Do not read"), "warn", "warn"),
    }[code]


def state_badge(state: str | None, language: Language) -> Badge:
    """Say where an experiment stands in its life."""
    _ = language.gettext
    states = {
        "draft": Badge(_("Draft"), "dash", "line"),
        "review": Badge(_("In review"), "dash", "line"),
        "testing": Badge(_("Testing"), "clock", "line"),
        "running": Badge(_("Running"), "clock", ""),
        "paused": Badge(_("Paused"), "stop", ""),
        "ended": Badge(_("Ended"), "stop", ""),
        "decided": Badge(_("Decided"), "ok", ""),
    }
    return states.get(state or "", Badge(state or "", "info", "line"))


def status_icon(status: CheckStatus) -> tuple[str, str]:
    """Return icon and tone of a check."""
    return {"ok": ("ok", "good"), "caution": ("warn", "warn"), "fail": ("no", "bad"), "info": ("info", "mut")}[status]


def status_word(status: CheckStatus, language: Language) -> str:
    """Say a check's status for those who do not see its icon."""
    _ = language.gettext
    return {"ok": _("Passed"), "caution": _("Caution"), "fail": _("Failed"), "info": _("For information")}[status]


def left_out_word(reason: str, language: Language) -> str:
    """Say why units are left out; an unknown code is shown as it is."""
    _ = language.gettext
    words = {
        "override": _("set to a variant by hand"),
        "excluded": _("on the exclusion list"),
        "contaminated": _("seen in two variants"),
        "conflict": _("contradicting decisions"),
        "conflicts": _("contradicting decisions"),
        "other_phase": _("entered in another phase"),
        "not_exposed": _("never exposed"),
        "opted_out": _("opted out"),
        "holdout": _("in a holdout"),
        "missing": _("no value"),
        "missing_covariate": _("no value before the experiment"),
        "immature": _("window not over"),
        "unknown_variant": _("variant not in the plan"),
        "duplicate": _("repeated row"),
        "no_variant": _("no variant"),
        "no_unit": _("no member id"),
    }
    return words.get(reason, reason.replace("_", " "))


def units_word(plan: Plan, language: Language) -> str:
    """Say what is counted: members, or units where a file or another unit type is analysed."""
    _ = language.gettext
    return _("Members") if plan.unit_type == "member" and not plan.source else _("Units")


def inference_word(inference: str, language: Language) -> str:
    """Say which kind of inference a report has."""
    _ = language.gettext
    return {
        "always_valid": _("always-valid"),
        "group_sequential": _("group sequential"),
        "bayesian": _("Bayesian"),
    }.get(inference, _("fixed horizon"))


def intervals_phrase(inference: str, level: str, language: Language) -> str:
    """Say above the scorecard what its intervals are."""
    _ = language.gettext
    if inference == "always_valid":
        return _("Change against control, %(level)s always-valid intervals", level=level)
    if inference == "group_sequential":
        return _("Change against control, %(level)s intervals that allow for the looks so far", level=level)
    if inference == "bayesian":
        return _(
            "Change against control, %(level)s credible intervals; loss: what choosing a variant costs on average, "
            "as it may be the worse one",
            level=level,
        )
    return _("Change against control, %(level)s intervals", level=level)


def over_time_phrase(inference: str, language: Language) -> str:
    """Say above the curves what surrounds them."""
    _ = language.gettext
    if inference == "always_valid":
        return _("Cumulative change against control; the band stays valid however often you look")
    if inference == "group_sequential":
        return _("Cumulative change against control at the end of each day; beyond the dashed bounds the test may stop")
    if inference == "bayesian":
        return _("Cumulative change against control, with the credible interval of each day")
    return _("Cumulative change against control, with a band that is valid at every look")


def certainty_head(plan: Plan, language: Language) -> str:
    """Name the scorecard's column of certainty: a probability or a p-value, never both."""
    _ = language.gettext
    if plan.inference == "bayesian":
        return _("Chance to win")
    return {
        "holm": _("p (Holm)"),
        "hochberg": _("p (Hochberg)"),
        "benjamini_hochberg": _("p (Benjamini–Hochberg)"),
        "dunnett": _("p (Dunnett)"),
    }.get(plan.multiplicity, _("p"))
