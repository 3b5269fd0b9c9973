"""Where a report's experiment stands among others: experiments that share its members, and which variant is best."""

from __future__ import annotations

from dataclasses import dataclass

from api.web.language import Language
from api.web.numbers import MISSING, Numbers
from api.web.scorecard import chance_text, variant_names
from api.web.vocabulary import units_word
from experiments.report.document import Interaction, Report
from experiments.report.whys import why_text


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A section with one table of words."""

    title: str
    note: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def other_experiments(report: Report, language: Language, numbers: Numbers) -> PlainTable | None:
    """Return whether effects depend on other experiments, a row for each; all tests are in the report's JSON."""
    _ = language.gettext
    if not report.overlaps:
        return None
    rows = []
    for subject in dict.fromkeys(o.subject for o in report.overlaps):
        tests = [o for o in report.overlaps if o.subject == subject]
        title = language.text(tests[0].label) or subject
        rows.append((title, numbers.count(tests[0].units), _depends(tests, report, language, numbers)))
    shared = _("%(units)s in both", units=units_word(report.plan, language))
    return PlainTable(
        _("Other experiments"),
        _("Does the effect depend on the variant that members have there?"),
        (_("Experiment"), shared, _("Does the effect depend on it?")),
        tuple(rows),
    )


def _depends(tests: list[Interaction], report: Report, language: Language, numbers: Numbers) -> str:
    """Say for which metrics and variants it does; a Bayesian report has no p."""
    _ = language.gettext
    names, labels = variant_names(report, language), {m.name: language.text(m.label) or m.name for m in report.metrics}
    judged = [(t, t.p_value_adjusted) for t in tests if t.p_value_adjusted is not None]
    if not judged:
        return why_text(tests[0].why, language.tag) or MISSING
    with_p = report.plan.inference != "bayesian"
    found = [(t, p) for t, p in judged if p <= report.plan.alpha]
    if not found:
        least = numbers.p_value(min(p for _test, p in judged))
        return _("no sign of it (smallest adjusted p %(p)s)", p=least) if with_p else _("no sign of it")
    said = []
    for test, p_value in found:
        which = _("%(metric)s, %(variant)s", metric=labels[test.metric], variant=names.get(test.variant, test.variant))
        said.append(f"{which} (p {numbers.p_value(p_value)})" if with_p else which)
    return _("yes: %(which)s", which="; ".join(said))


def best_variant(report: Report, language: Language) -> PlainTable | None:
    """Return how likely each variant, control included, is the best on every metric; Bayesian reports only."""
    _ = language.gettext
    metrics = [m for m in report.metrics if m.chance_best and m.role == "primary"]
    if not metrics or len(report.plan.variants) < 3:
        return None
    numbers, names = Numbers(language), variant_names(report, language)
    rows = tuple(
        (names[v.key], *(chance_text(m.chance_best.get(v.key), numbers) for m in metrics)) for v in report.plan.variants
    )
    heads = (_("Variant"), *(language.text(m.label) or m.name for m in metrics))
    return PlainTable(_("Which is best"), _("Chance that a variant, control included, is the best of all"), heads, rows)
