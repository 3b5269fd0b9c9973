"""The effect months away, read from an experiment's first days by an index that past experiments taught and checked.

Both are measured by the pieces that measure any experiment: of past ones, early and long outcomes of units whose long
window is over; of the new one, early outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from experiments.definitions import Metric
from experiments.definitions.money import exponent
from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.lifecycle.states import LAUNCHED
from experiments.measure.cells import ColumnGroup, compute_cells
from experiments.measure.days import DAY_US, moment_text
from experiments.measure.experiment import measure_experiment
from experiments.measure.parts import MeasuredMetric, parts_of
from experiments.measure.redemption import Costs
from experiments.programme import surrogate_words as words
from experiments.programme.surrogate_asking import SurrogateOptions, check_asked, suited_metrics
from experiments.programme.surrogate_document import Foretold, PastRow, Surrogate
from experiments.report.build import declared_of
from experiments.report.inputs import Declared, phase_of, population_plan, variant_order
from experiments.sources.log import LogTables, open_log
from experiments.store import Store
from stats.moments import Moments
from stats.surrogate import Effect, checked, effect, learn

LONG = "y"
FEWEST_UNITS = 100
DOUBT = 0.01


def build_surrogate(store: Store, options: SurrogateOptions, now_us: int) -> Surrogate:
    """Learn the index from past experiments, check it on them, and foretell the effect of one.

    The store is closed for it: see `experiments.report.build.build_report`.

    Raises:
        InputError: for unknown names, or where there is nothing to learn from.
    """
    repository = Repository(store)
    metrics = suited_metrics(repository)
    declared = declared_of(repository, options.experiment)
    check_asked(options, metrics, declared.record)
    early = _different([metrics[key] for key in (options.early or sorted(metrics))])
    past = [
        declared_of(repository, record.key)
        for record in repository.experiments()
        if record.key != options.experiment
        and record.state in LAUNCHED
        and record.pinned is not None
        and record.definition.allocation is None
        and record.definition.unit_type == declared.record.definition.unit_type
    ]
    store.close()
    with open_log(store.url) as log:
        samples = [
            (one.record.key, _moments(log, one, early, metrics[options.long], options, now_us, known=True))
            for one in past
        ]
        new = _moments(log, declared, early, metrics[options.long], options, now_us, known=False)
    return _told(options, early, declared, [s for s in samples if _enough(s[1])], new, now_us)


def _different(metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics without those that differ in their window alone: early, all have the same."""
    seen, kept = set(), []
    for metric in metrics:
        what = metric.model_dump_json(include={"type", "event", "where", "value", "margin"})
        if what not in seen:
            seen.add(what)
            kept.append(metric)
    return kept


def _moments(
    log: LogTables,
    declared: Declared,
    early: Sequence[Metric],
    long: Metric,
    options: SurrogateOptions,
    now_us: int,
    *,
    known: bool,
) -> Moments:
    """Return the joint moments of the outcomes by variant, of the units whose windows are over."""
    record = declared.record
    number, split = phase_of(record, None)
    places = exponent(declared.currency)
    measured = [_within(parts_of(m, f"s{i}", "secondary", places), options.early_days) for i, m in enumerate(early)]
    if known:
        measured.append(_within(parts_of(long, LONG, "secondary", places), options.long_days))
    costs = Costs.of(record.definition, declared.currency, declared.offers)
    population = population_plan(log, declared, number, now_us)
    found = measure_experiment(log, population, measured, costs, variant_order(record, split))
    group = ColumnGroup("index", tuple(m.spec.value for m in measured))
    return compute_cells(found.table, [group], found.scans, variant="variant", variants=found.variants).totals["index"]


def _within(metric: MeasuredMetric, days: int) -> MeasuredMetric:
    """Return a metric over the first ``days``, of the units for which these are over."""
    end = days * DAY_US
    part = replace(metric.parts[0], start_us=0, end_us=end, matured_us=end)
    column = part.column
    minor = {name: decimals for name, decimals in metric.minor.items() if name == column}
    cut = {name: quantile for name, quantile in metric.winsorise.items() if name == column}
    spec = replace(metric.spec, covariates=(), denominator=None)
    return MeasuredMetric((part,), spec, cut, minor, end)


def _enough(moments: Moments) -> bool:
    return bool(np.all(np.asarray(moments.n) >= FEWEST_UNITS))


def _told(
    options: SurrogateOptions,
    early: Sequence[Metric],
    declared: Declared,
    samples: list[tuple[str, Moments]],
    new: Moments,
    now_us: int,
) -> Surrogate:
    """Learn, check and foretell, from moments."""
    if not samples:
        raise InputError(
            f"no past experiment has {FEWEST_UNITS} units in each variant whose {options.long_days} days are over: "
            "there is nothing to learn the index from; ask for fewer --long-days, or come later"
        )
    if not _enough(new):
        raise InputError(
            f"{options.experiment} has fewer than {FEWEST_UNITS} units in a variant whose {options.early_days} days "
            "are over: come later"
        )
    names = [f"s{i}" for i in range(len(early))]
    used = _varying(names, [sample for _, sample in samples])
    try:
        index = learn([sample for _, sample in samples], used, LONG)
        held = checked(samples, used, LONG, alpha=options.alpha) if len(samples) > 1 else None
    except ValueError as error:
        raise InputError(f"the index cannot be learned: {error}; name other metrics with --early") from error
    number, split = phase_of(declared.record, None)
    variants = variant_order(declared.record, split)
    doubtful = held is not None and held.p_value is not None and held.p_value < DOUBT
    verdict = words.UNCHECKED if held is None else words.DOUBTFUL if doubtful else words.HELD
    return Surrogate(
        experiment=options.experiment,
        phase=number,
        long=options.long,
        early=[early[names.index(name)].key for name in used],
        early_days=options.early_days,
        long_days=options.long_days,
        alpha=options.alpha,
        currency=declared.currency,
        computed_at=moment_text(now_us),
        slopes=[float(slope) for slope in index.slopes],
        explained=index.explained,
        units=index.units,
        effects=[_foretold(name, effect(index, new, variant=i, alpha=options.alpha)) for i, name in _others(variants)],
        past=[] if held is None else [_row(one.name, one.foretold, one.observed, one.z) for one in held.past],
        p_value=None if held is None else held.p_value,
        slope=None if held is None else held.slope,
        slope_error=None if held is None else held.slope_error,
        verdict=words.fill(verdict, experiments=len(samples), p=1.0 if held is None else held.p_value),
        assumptions=list(words.ASSUMPTIONS),
    )


def _varying(names: Sequence[str], samples: Sequence[Moments]) -> list[str]:
    """Return the early outcomes that vary and say something that those before them do not, whichever is left out."""
    kept: list[str] = []
    without = [[*samples[:i], *samples[i + 1 :]] for i in range(len(samples))] if len(samples) > 1 else []
    for name in names:
        try:
            for some in (samples, *without):
                learn(some, [*kept, name], LONG)
        except ValueError:
            continue
        kept.append(name)
    return kept


def _others(variants: Sequence[str]) -> list[tuple[int, str]]:
    return list(enumerate(variants))[1:]


def _foretold(variant: str, found: Effect) -> Foretold:
    return Foretold(variant=variant, estimate=found.estimate, ci_low=found.ci_low, ci_high=found.ci_high)


def _row(name: str, foretold: Effect, observed: Effect, z: float) -> PastRow:
    return PastRow(
        comparison=name,
        foretold=foretold.estimate,
        foretold_low=foretold.ci_low,
        foretold_high=foretold.ci_high,
        observed=observed.estimate,
        observed_low=observed.ci_low,
        observed_high=observed.ci_high,
        z=z,
    )
