"""A 2^k factorial design: the effect of each factor and what factors do together, on every primary metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.definitions.analysis import Factor
from experiments.report.document import Estimate, Factorial, FactorialTerm
from experiments.report.measured import Measured
from stats.arrays import number
from stats.effects.result import EffectValue
from stats.factorial import Alias, Design, Term, effects
from stats.multiplicity import holm, interval_alpha, shorten


def factorial_of(
    measured: Sequence[Measured], factors: Sequence[Factor], variants: Sequence[str], alpha: float
) -> list[Factorial]:
    """Return main effects and interactions of each metric, at a fixed horizon; the terms of a metric are one family.

    Args:
        measured: the metrics.
        factors: which level each variant has.
        variants: in the metrics' order; those without units leave their terms without numbers.
        alpha: of each metric's family.
    """
    design = Design.of({f.key: [f.levels[v] for v in variants] for f in factors})
    return [_factorial(metric, design, alpha) for metric in measured]


def _factorial(metric: Measured, design: Design, alpha: float) -> Factorial:
    found = effects(metric.sample, design, alpha)
    p_values = found.effect.p_value
    adjusted = holm(p_values)
    strict = effects(metric.sample, design, interval_alpha(p_values, alpha)).effect
    low, high = shorten(strict.ci_low, strict.ci_high, p_values, alpha, estimate=strict.estimate)
    strict = replace(strict, ci_low=low, ci_high=high)
    terms = [
        _term(term, value, wide, aliases, number(adjusted[i]))
        for i, (term, value, wide, aliases) in enumerate(
            zip(found.terms, found.effect.values(), strict.values(), found.aliases, strict=True)
        )
    ]
    return Factorial(metric=metric.spec.name, terms=terms)


def _term(
    term: Term, value: EffectValue, wide: EffectValue, aliases: Sequence[Alias], p_adjusted: float | None
) -> FactorialTerm:
    return FactorialTerm(
        factors=list(term),
        effect=Estimate(
            estimate=value.estimate,
            ci_low=value.ci_low,
            ci_high=value.ci_high,
            ci_low_adjusted=wide.ci_low,
            ci_high_adjusted=wide.ci_high,
            why=value.why,
        ),
        p_value=value.p_value,
        p_value_adjusted=p_adjusted,
        aliases=[list(alias.term) for alias in aliases],
        why=value.why,
    )
